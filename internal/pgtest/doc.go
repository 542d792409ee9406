// Package pgtest gives tests a real PostgreSQL: a server of their own in a temporary folder, which they may stop, kill and
// start again, and fresh databases on it. Only tests import it. It never touches a server that it did not start, but for
// the databases that it makes and drops on the one that QHOOK_TEST_DATABASE names.
//
// Start at Shared for a database, at Start for a server to be killed.
package pgtest
