// Package ui is the dashboard: pages rendered on the server, over the same operations as the HTTP API. Whatever a page
// shows or does is a call of the API, made within the process with the caller's own key; the package sees no store and
// no engine, and it decides nothing about who may do what. Everything that comes from outside is shown inert. Start at
// New.
package ui
