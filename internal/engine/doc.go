// Package engine is the way of the data: accept, dispatch, settle, due, recover. Accept validates nothing and decides
// which webhooks an event is owed to; the writer commits everything that waits in one transaction; each webhook's queue
// feeds its own workers; what an attempt came to goes back to the writer; what has to wait is read back when it is due.
//
// The engine sees a store.Journal and a Sender. It never builds a request, never speaks SQL, and never answers a
// publisher before the commit. Start at Engine.Accept.
package engine
