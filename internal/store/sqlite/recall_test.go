package sqlite

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// TestRecall: what a clock that was ahead wrote is brought back once, and nothing else is touched.
func TestRecall(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.UnixMilli(1_700_000_000_000).UTC()
	row := func(attempts int, due time.Duration) store.Waiting {
		return store.Waiting{DeliveryKey: store.DeliveryKey{Webhook: 7, Event: store.SeqAt(now)}, Attempts: attempts,
			DueAt: now.Add(due)}
	}
	retry := func(attempt int, at, pause time.Duration) store.Outcome {
		return store.Outcome{DeliveryKey: store.DeliveryKey{Webhook: 7, Event: store.SeqAt(now)}, Attempt: attempt,
			Kind: store.Retry,
			At:   now.Add(at), NextAt: now.Add(at + pause)}
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
		"26 hours are no sign": {wait: []store.Waiting{row(0, 26*time.Hour)},
			due: 26 * time.Hour},
		"a second is no sign": {event: time.Second, wait: []store.Waiting{row(0, time.Hour)},
			due: time.Hour},
		"an event ahead, nothing waits": {event: 2 * day, due: -1, ahead: 2 * day},
		"an event ahead by little over a second": {event: 1001 * time.Millisecond,
			wait: []store.Waiting{row(0, time.Second)}, n: 1, ahead: 1001 * time.Millisecond},
		"a first attempt": {wait: []store.Waiting{row(0, 26*time.Hour+1e6)}, n: 1,
			ahead: 26*time.Hour + 1e6},
		"a first attempt that is due": {event: day, wait: []store.Waiting{row(0, -time.Hour)},
			due: -time.Hour, ahead: day},
		"a retry": {tried: []store.Outcome{retry(1, -day, time.Minute), retry(2, 3*day, time.Hour)},
			due: time.Hour, n: 1, ahead: 3 * day},
		"a retry that is far by its own schedule": {tried: []store.Outcome{retry(1, -time.Hour, 3*day)},
			due: 3*day - time.Hour},
		"a retry asked for meanwhile": {event: day, tried: []store.Outcome{retry(1, day, time.Hour)},
			wait: []store.Waiting{row(1, 0)}, due: 0, ahead: day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, db := t.Context(), mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
			s := newSubmission(1, `{}`)
			s.Events[0].Seq = store.SeqAt(now.Add(c.event))
			for _, b := range []*store.Batch{{Submissions: []*store.Submission{s}}, {Outcomes: c.tried},
				{Wait: c.wait}} {
				if err := db.Commit(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			for again := range 2 {
				n, ahead, err := db.Recall(ctx, now.Add(time.Duration(again)*time.Millisecond))
				want := []any{c.n * (1 - again), c.ahead}
				if again > 0 { // what is brought back gives nothing away any more; an event still does
					want[1] = max(0, c.event-time.Millisecond)
					if c.event <= aheadEvent+time.Millisecond {
						want[1] = time.Duration(0)
					}
				}
				if err != nil || n != want[0] || ahead != want[1] {
					t.Errorf("Recall = %d, %v, %v, want %d, %v, nil", n, ahead, err, want[0], want[1])
				}
				list, err := db.Backlogs(ctx)
				var due []store.Backlog
				if c.due >= 0 || len(c.wait)+len(c.tried) > 0 {
					due = []store.Backlog{{Webhook: 7, DueAt: now.Add(c.due)}}
				}
				if err != nil || !slices.Equal(list, due) {
					t.Errorf("Backlogs = %v, %v, want %v", list, err, due)
				}
			}
		})
	}
}

func TestWebhookByNum(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	if err := db.CreateTenant(ctx, store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	w := newWebhook("a")
	if err := db.CreateWebhook(ctx, w); err != nil {
		t.Fatal(err)
	}
	w.DeletedAt = time.UnixMilli(1_700_000_000_000)
	if err := db.UpdateWebhook(ctx, w); err != nil {
		t.Fatal(err)
	}
	if got, err := db.WebhookByNum(ctx, w.Num); err != nil || got.ID != w.ID || !got.Deleted() {
		t.Errorf("WebhookByNum of a deleted one = %v, %v, want %s", got, err, w.ID)
	}
	if _, err := db.WebhookByNum(ctx, w.Num+1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WebhookByNum of none = %v, want ErrNotFound", err)
	}
}
