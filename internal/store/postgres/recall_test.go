package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// TestRecall: what a clock that was ahead wrote is brought back once, and nothing else is touched.
func TestRecall(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.UnixMilli(1_700_000_000_000).UTC()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	db, other := mustOpen(t, url, ring), mustOpen(t, url, ring)
	key := store.DeliveryKey{Webhook: 7, Event: store.SeqAt(now)}
	row := func(attempts int, due time.Duration) store.Waiting {
		return store.Waiting{Tenant: "a", DeliveryKey: key, Attempts: attempts, DueAt: now.Add(due)}
	}
	retry := func(attempt int, at, pause time.Duration) store.Outcome {
		return store.Outcome{Tenant: "a", DeliveryKey: key, Attempt: attempt, Kind: store.Retry, At: now.Add(at),
			NextAt: now.Add(at + pause)}
	}
	for name, c := range map[string]struct {
		event time.Duration // of the last one, after now
		wait  []store.Waiting
		tried []store.Outcome
		due   time.Duration // after now
		n     int
		ahead time.Duration
	}{
		"nothing": {due: -1},
		"a first attempt due in an hour, and no sign": {wait: []store.Waiting{row(0, time.Hour)}, due: time.Hour},
		"the longest wait is no sign": {wait: []store.Waiting{row(0, store.LongestWait)},
			due: store.LongestWait},
		"a second is no sign": {event: time.Second, wait: []store.Waiting{row(0, time.Hour)},
			due: time.Hour},
		"an event ahead, nothing waits": {event: 2 * day, due: -1, ahead: 2 * day},
		"an event ahead by little over a second": {event: 1001 * time.Millisecond,
			wait: []store.Waiting{row(0, time.Second)}, n: 1, ahead: 1001 * time.Millisecond},
		"a first attempt": {wait: []store.Waiting{row(0, store.LongestWait+1e6)}, n: 1,
			ahead: store.LongestWait + 1e6},
		"a first attempt that is due": {event: day, wait: []store.Waiting{row(0, -time.Hour)},
			due: -time.Hour, ahead: day},
		"a retry": {tried: []store.Outcome{retry(1, -day, time.Minute), retry(2, 3*day, time.Hour)},
			due: time.Hour, n: 1, ahead: 3 * day},
		"a retry that is far by its own schedule": {tried: []store.Outcome{retry(1, -time.Hour, 3*day)},
			due: 3*day - time.Hour},
		"a retry asked for meanwhile": {event: day, tried: []store.Outcome{retry(1, day, time.Hour)},
			wait: []store.Waiting{row(1, 0)}, due: 0, ahead: day},
	} {
		run(t, db, `TRUNCATE events, outcomes, waiting`)
		s := sent(store.SeqAt(now.Add(c.event)), false)
		for _, b := range []*store.Batch{{Submissions: []*store.Submission{s}}, {Outcomes: c.tried}, {Wait: c.wait}} {
			mustCommit(t, db, b)
		}
		for again := range 2 {
			n, ahead, err := db.Recall(patient(t), now.Add(time.Duration(again)*time.Millisecond))
			want := []any{c.n * (1 - again), c.ahead}
			if again > 0 { // what is brought back gives nothing away any more; an event still does
				want[1] = max(0, c.event-time.Millisecond)
				if c.event <= aheadEvent+time.Millisecond {
					want[1] = time.Duration(0)
				}
			}
			if err != nil || n != want[0] || ahead != want[1] {
				t.Errorf("%s: Recall = %d, %v, %v, want %d, %v, nil", name, n, ahead, err, want[0], want[1])
			}
			list, err := db.Backlogs(patient(t))
			var due []store.Backlog
			if c.due >= 0 || len(c.wait)+len(c.tried) > 0 {
				due = []store.Backlog{{Webhook: 7, DueAt: now.Add(c.due)}}
			}
			if err != nil || !slices.Equal(list, due) {
				t.Errorf("%s: Backlogs = %v, %v, want %v", name, list, err, due)
			}
		}
	}
	held := row(0, 3*day)
	held.Held = true
	run(t, db, `TRUNCATE events, outcomes, waiting`)
	mustCommit(t, other, &store.Batch{Wait: []store.Waiting{held}})
	for db, want := range map[*DB]int{db: 0, other: 1} {
		if n, _, err := db.Recall(patient(t), now); err != nil || n != want {
			t.Errorf("Recall of what one node has in memory = %d, %v, want %d, nil", n, err, want)
		}
		run(t, db, `UPDATE waiting SET due_at = $1`, held.DueAt)
	}
}
