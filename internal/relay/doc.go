// Package relay moves the rows of a platform's outbox (the table of outbox.Schema) to the HTTP API: in order, and each
// event once by its ID. It deletes a row only after the API said that its event is committed, and it never drops one: what
// the API refuses for good is set aside in the table, with the reason.
//
// It holds no state of its own and may be killed at any moment. Start at New.
package relay
