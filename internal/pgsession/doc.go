// Package pgsession decides what every session with a PostgreSQL has: nothing that correctness rests on comes from a
// role, a database, a server's settings or the environment. What cannot be had is refused with a sentence. It runs no
// statement of the product's. Start at Config.
package pgsession
