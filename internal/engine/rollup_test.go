package engine_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
)

// counting is a journal that adds up what it is given to count, and refuses what has numbers in it when it is told to.
type counting struct {
	*storetest.Memory
	mu      sync.Mutex
	refuse  int
	commits int // that had numbers in them
	sums    map[int64]store.Counts
}

func (c *counting) Commit(ctx context.Context, b *store.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b.Rollups) > 0 {
		if c.refuse > 0 {
			c.refuse--
			return errors.New("not now")
		}
		c.commits++
	}
	if err := c.Memory.Commit(ctx, b); err != nil {
		return err
	}
	for _, r := range b.Rollups {
		s := c.sums[r.Webhook]
		s.Sum(&r.Counts)
		c.sums[r.Webhook] = s
	}
	return nil
}

func TestRollups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &counting{Memory: storetest.NewMemory(), sums: map[int64]store.Counts{}, refuse: 1}
		var first atomic.Int64 // attempts of webhook 2
		r := &receiver{answer: func(_ context.Context, path string, n int) attempt.Result {
			time.Sleep(15 * time.Millisecond)
			if path == "two" && n == 1 { // two of three fail, so that the webhook is not paced
				if first.Add(1)%3 != 0 {
					return failed
				}
			}
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		again := hook(2, "two")
		again.RetrySchedule = []time.Duration{7 * time.Second}
		e := mustStart(t, engine.Config{Journal: j, Sender: r}, hook(1, "one"), again)
		time.Sleep(50 * time.Millisecond) // the commit that is refused, at the second, is to carry numbers and nothing else
		for range 20 {
			mustAccept(t, e, newEvent())
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		mustAccept(t, e, newEvent())
		time.Sleep(50 * time.Millisecond) // its numbers are committed at the end
		mustStop(t, e)

		one := store.Counts{Delivered: 21}
		one.Latency[4] = 21 // 10 to 20 ms
		two := store.Counts{Delivered: 21, Retried: 14}
		two.Latency[4], two.Latency[12] = 7, 14 // 5 to 10 s
		total := one
		total.Sum(&two)
		for num, want := range map[int64]store.Counts{1: one, 2: two, 0: total} {
			if got := j.sums[num]; got != want {
				t.Errorf("the numbers of webhook %d = %+v, want %+v", num, got, want)
			}
		}
		if j.commits > 15 || j.refuse != 0 {
			t.Errorf("%d commits had numbers in them and %d were not refused, want about one a second, and 0",
				j.commits, j.refuse)
		}
	})
}
