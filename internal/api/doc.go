// Package api is the HTTP API: requests in, domain calls, JSON and problem documents out, and the OpenAPI 3.1 document
// that comes from the same code. It decides who may call what; it never delivers, stores or dials anything itself, and
// it shows no secret that it was given. Start at New.
package api
