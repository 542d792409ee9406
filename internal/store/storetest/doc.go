// Package storetest is the conformance suite of the store's contract: every concrete store passes Run. Memory is a
// journal without a disk for tests of what uses one; it passes RunJournal. It is for tests only. Start at Run.
package storetest
