// Package failpoint names the places of the protocol at which a test can stop, delay or kill a node: before and after
// each hand-over between accept, writer, commit, worker, settle, due, mark and takeover. It never does anything in a
// program that was built without the tag failpoints, where Hit is empty and costs nothing. Start at Points.
package failpoint

// Point is a place in the protocol.
type Point string

// The points, in the order of the way of the data.
const (
	Submit       Point = "accept-submit"   // a submission is about to be handed to the writer
	Submitted    Point = "accept-handed"   // it is in the writer's hands
	Assemble     Point = "commit-assemble" // the writer took what waits; nothing is in the batch yet
	Commit       Point = "commit-before"   // the batch is complete
	Committed    Point = "commit-after"    // the batch is committed and flushed; nobody knows yet
	Answered     Point = "commit-answered" // publishers are answered, deliveries dispatched
	Attempt      Point = "attempt-before"  // a worker took a delivery
	Attempted    Point = "attempt-after"   // the receiver was asked; the outcome is not handed over yet
	Settle       Point = "settle-before"   // the outcome is about to be handed to the writer
	Settled      Point = "settle-handed"   // it is in the writer's hands
	Mark         Point = "mark-before"     // the recovery mark is about to be computed
	Marked       Point = "mark-after"      // it is in the batch
	Due          Point = "due-before"      // waiting deliveries are about to be read
	Dued         Point = "due-after"       // they are read, and not in memory yet
	Recover      Point = "recover-before"  // unsettled deliveries are about to be looked for
	Recovered    Point = "recover-after"   // they are in memory
	Takeover     Point = "takeover-before" // a dead node's work is about to be taken over
	TakenOver    Point = "takeover-after"  // it is free for all; not committed yet
	TakeoverDone Point = "takeover-done"   // it is committed
)

// Points lists all of them.
func Points() []Point {
	return []Point{Submit, Submitted, Assemble, Commit, Committed, Answered, Attempt, Attempted, Settle, Settled, Mark,
		Marked, Due, Dued, Recover, Recovered, Takeover, TakenOver, TakeoverDone}
}

// Setting is the environment's variable that says what happens at which points, separated by commas:
//
//	POINT=kill:N            the process is killed when the point is reached for the Nth time
//	POINT=kill:N:OTHER:M    the same, counting from when OTHER was reached for the Mth time
//	POINT=delay:N:DURATION  from the Nth time on, whoever reaches the point waits there
const Setting = "QHOOK_TEST_FAILPOINTS"
