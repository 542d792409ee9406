package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
)

// Seq orders accepted events: the acceptance time in Unix milliseconds, shifted left by SeqShift, plus a counter. So a
// range of time is a range of Seq, and new rows always go to the right edge of the tables.
type Seq int64

// SeqShift is the number of counter bits in a Seq.
const SeqShift = 20

// NextSeq is a Seq of the time, or of the first moment after last.
func NextSeq(last Seq, now time.Time) Seq { return max(last+1, SeqAt(now)) }

// SeqAt is the smallest Seq of a time.
func SeqAt(t time.Time) Seq { return Seq(t.UnixMilli() << SeqShift) }

// Time is when the event was accepted, UTC.
func (s Seq) Time() time.Time { return time.UnixMilli(int64(s) >> SeqShift).UTC() }

// DeliveryKey names a delivery: one event owed to one webhook.
type DeliveryKey struct {
	Webhook int64 // webhook.Webhook.Num
	Event   Seq
}

// Submission is one publisher's request: its events are accepted all or none, and with them its change.
type Submission struct {
	Tenant string
	Events []Submitted
	Change *Change // of the platform's objects; nil: none
	// Err is set by Commit: nil, or a *ConflictError, or ErrVersion when the change does not hold; then nothing of this
	// submission was written.
	Err error
}

// Submitted is one event of a submission.
type Submitted struct {
	Seq       Seq
	Event     event.Event // complete: with ID and Time
	IDGiven   bool        // the publisher gave the ID: it may be a repetition and is looked up; else it is a UUIDv7 of about Seq.Time()
	TimeGiven bool        // the publisher gave the time: a repetition must have the same
	Webhooks  []int64     // the webhooks that it matched, ascending
	// Those of them whose delivery does not fit the queue: a waiting row is written at once, due at Seq.Time() or, if
	// that is earlier, at the batch's Now.
	Spilled []int64
	// Set by Commit. Duplicate: the tenant has an event with this ID and the same content; nothing was written for
	// this one, and Stored* are what the first one was answered with.
	Duplicate      bool
	StoredTime     time.Time
	StoredWebhooks int
}

// OutcomeKind is what an attempt came to.
type OutcomeKind string

// The outcomes.
const (
	Delivered OutcomeKind = "delivered"
	Retry     OutcomeKind = "retry"
	Exhausted OutcomeKind = "exhausted"
	Cancelled OutcomeKind = "cancelled"
)

// Outcome is the record of one attempt, or (Sent false, Kind Cancelled) of a decision to make none.
type Outcome struct {
	Tenant string
	DeliveryKey
	Attempt  int // 1 for the first
	Kind     OutcomeKind
	At       time.Time // when the attempt began; milliseconds
	Duration time.Duration
	Sent     bool      // a request left for the receiver
	Status   int       // HTTP status; 0 when there was no response
	Class    string    // error class, one of attempt's; empty when delivered
	Response []byte    // the start of the response body
	KeyID    string    // the signing key that signed it; empty when unsigned
	NextAt   time.Time // Kind Retry: when the next attempt is due; else zero
	Timings  Timings   // of the request
	Stored   bool      // the delivery has a waiting row: Retry updates it, any other kind deletes it
}

// Waiting is a delivery written down because it has to wait.
type Waiting struct {
	Tenant string
	DeliveryKey
	Attempts int       // made so far
	DueAt    time.Time // milliseconds
	Held     bool      // it stays in this node's memory: no other node takes it while this one lives
}

// Due is a waiting delivery with its event.
type Due struct {
	Waiting
	Event event.Event
}

// Backlog says that a webhook has waiting deliveries, and when the earliest is due.
type Backlog struct {
	Webhook int64
	DueAt   time.Time
}

// Unsettled is an accepted event with the webhooks whose delivery has neither an outcome nor a waiting row.
type Unsettled struct {
	Seq      Seq
	Tenant   string
	Event    event.Event
	Webhooks []int64
}

// Trim asks to remove old events with their outcomes, at most Limit events after After and before Before; an event
// with a waiting delivery is passed over. Some of the rollups of hours before Before go with them.
type Trim struct {
	After, Before Seq
	Limit         int
	Minutes       time.Time // some of the rollups of minutes before it are removed too
	// Set by Commit.
	Next    Seq // go on after this
	Done    bool
	Removed int
}

// Batch is everything that one transaction writes.
type Batch struct {
	// Now is when it was put together, by the journal's time: no first attempt is due later. Zero: not told.
	Now         time.Time
	Submissions []*Submission
	Outcomes    []Outcome
	// Wait is inserted, or replaces the row of the same delivery.
	Wait []Waiting
	// RecoverFrom, unless 0, replaces the stored mark: every event below it is settled or waiting.
	RecoverFrom Seq
	// Rollups are added to those of their minute and their hour.
	Rollups []Rollup
	Trim    *Trim
}

// Journal is the append-only record of accepted events and outcomes; the engine's store.
type Journal interface {
	// Now is the time that what is stored is compared with; all nodes of a store agree on it.
	Now() time.Time
	// Next is a Seq for an event that is accepted now, greater than last; no two nodes are given the same.
	Next(last Seq) Seq
	// Lease returns at once while no other node can take this one's work over, and else waits until none can. Errors:
	// ErrFenced, another has; ctx's.
	Lease(ctx context.Context) error
	// Unclaimed lists webhooks with waiting deliveries that are due and that no node has in memory: what other nodes
	// wrote or left behind.
	Unclaimed(ctx context.Context) ([]int64, error)
	// Commit writes the batch in one transaction and flushes it: after nil it survives a power cut.
	// A submission in conflict is left out and says so in its Err; the rest is written.
	// An outcome of kind Retry also writes the delivery's waiting row, due at NextAt, with Attempt attempts.
	// Within the batch, submissions come before Wait, and Wait before Outcomes: an outcome settles a row of Wait.
	// Errors: ErrFull, nothing was written and a later call may succeed; ErrBroken, it is unknown what was
	// written and the process must end; ErrFenced, nothing was written and never will be, since another node has taken
	// this one's work over; any other, nothing was written.
	Commit(ctx context.Context, b *Batch) error
	// Due takes the webhook's waiting deliveries due at from or later and at to or before, earliest first, up to limit.
	// Those in skip are passed over (they are under way already) and do not count. What one node took no other gets.
	Due(ctx context.Context, tenant string, webhook int64, from, to time.Time, limit int,
		skip map[Seq]struct{}) ([]Due, error)
	// NextDue tells when the earliest of the webhook's waiting deliveries is due that is due at from or later, not in
	// skip and not another node's; false: there is none.
	NextDue(ctx context.Context, tenant string, webhook int64, from time.Time, skip map[Seq]struct{}) (time.Time,
		bool, error)
	// Backlogs lists the webhooks with waiting deliveries that no other node has in memory, and when the earliest is
	// due; its cost goes with their number, not with the webhooks'.
	Backlogs(ctx context.Context) ([]Backlog, error)
	// Recall brings back what was written while the clock was ahead: a waiting delivery that was never tried is due now
	// at the latest, and one whose last attempt lies after now comes due after as long as its outcome says. n is how
	// many rows it changed, ahead how far the clock was; 0: there is no sign that it was. It may be called again, and
	// changes nothing then.
	Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error)
	// Attempts is the largest attempt number on record for the delivery; 0 when there is none.
	Attempts(ctx context.Context, tenant string, key DeliveryKey) (int, error)
	// LastSeq is the largest Seq stored; 0 when there is none.
	LastSeq(ctx context.Context) (Seq, error)
	// RecoverFrom is the stored mark; when none was stored, one below which there is nothing to recover.
	RecoverFrom(ctx context.Context) (Seq, error)
	// Unsettled looks at up to limit events from from on, in order, and lists those with unsettled deliveries.
	// next is where to go on; 0: that was all.
	Unsettled(ctx context.Context, from Seq, limit int) (found []Unsettled, next Seq, err error)
}

// ConflictError says that the tenant has an event with this ID and other content.
type ConflictError struct{ ID uuid.UUID }

// Error names the event.
func (e *ConflictError) Error() string {
	return "event " + e.ID.String() + " exists with other content"
}
