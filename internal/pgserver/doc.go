// Package pgserver runs a real PostgreSQL in a temporary folder, for tests (pgtest) and measurements (bench): started,
// stopped, killed and started again as they like. It never touches a server that it did not start, but for the
// databases that its users make and drop on one that they name.
//
// Start at Start.
package pgserver
