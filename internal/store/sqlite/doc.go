// Package sqlite keeps the product's data in one SQLite file. One connection writes, a few read; every commit is
// flushed. It never decides what happens to a delivery. Start at Open; the hot path is DB.Commit.
package sqlite
