// Package postgres keeps everything in one PostgreSQL database that any number of nodes share, with pgx and no ORM. It
// passes the suite in storetest and never decides what happens to a delivery. Start at Open; what is one node's own is
// in node.go, the hot path in commit.go.
package postgres
