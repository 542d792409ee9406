package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
)

// slow is a journal whose commits and reads of what is due take as long as a test says.
type slow struct {
	*storetest.Memory
	commit, before, after atomic.Int64 // nanoseconds; before and after the state that Due tells of
}

func (s *slow) Commit(ctx context.Context, b *store.Batch) error {
	time.Sleep(time.Duration(s.commit.Load()))
	return s.Memory.Commit(ctx, b)
}

func (s *slow) Due(ctx context.Context, tenant string, num int64, from, to time.Time, limit int,
	skip map[store.Seq]struct{}) ([]store.Due, error) {
	time.Sleep(time.Duration(s.before.Load()))
	list, err := s.Memory.Due(ctx, tenant, num, from, to, limit, skip)
	time.Sleep(time.Duration(s.after.Load()))
	return list, err
}

// What is queued for a webhook that is disabled and then deleted, while its rows are on their way, is cancelled.
func TestDeletedWhileRowsAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &slow{Memory: storetest.NewMemory()}
		e := mustStart(t, engine.Config{Journal: j, Sender: senderFunc(hangs), Concurrency: 1}, hook(1, "a"))
		const n = 10
		var evs []event.Event
		for range n {
			evs = append(evs, newEvent())
		}
		mustAccept(t, e, evs...)
		j.commit.Store(int64(5 * time.Second))
		h := hook(1, "a")
		h.Enabled, h.Version = false, 2
		if err := e.SetWebhook(h); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		gone := *h
		gone.DeletedAt, gone.Version = time.Now(), 3
		if err := e.SetWebhook(&gone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		j.commit.Store(0)
		time.Sleep(time.Minute)
		if w := j.Waiting(); len(w) > 0 {
			t.Errorf("%d deliveries of a deleted webhook wait, %+v for one", len(w), w[0])
		}
		mustStop(t, e)
	})
}

// A read of what is due that takes long brings nothing back that was settled meanwhile.
func TestSlowReadMakesNoDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &slow{Memory: storetest.NewMemory()}
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			time.Sleep(10 * time.Second)
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		e := mustStart(t, engine.Config{Journal: j, Sender: r, LateAfter: 2 * time.Second}, hook(1, "a"))
		j.before.Store(int64(5 * time.Second)) // its row is written within them
		j.after.Store(int64(10 * time.Second)) // it is delivered within them
		mustAccept(t, e, newEvent())
		h := hook(1, "a")
		h.Version = 2
		if err := e.SetWebhook(h); err != nil { // has what waits read
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(r.requests("a")); n != 1 {
			t.Errorf("%d requests for one delivery, want 1", n)
		}
		mustAccept(t, e, newEvent())
		mustStop(t, e)
	})
}

// fenced is a journal that another node has taken over, which only Lease tells.
type fenced struct {
	*storetest.Memory
	asked atomic.Int64
}

func (f *fenced) Lease(ctx context.Context) error {
	if f.asked.Add(1) > 1000 {
		<-ctx.Done()
	}
	return store.ErrFenced
}

// A node that was taken over does not go round and round until its next commit tells it.
func TestFencedNodeIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fenced{Memory: storetest.NewMemory()}
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}}, hook(1, "a"))
		mustAccept(t, e, newEvent(), newEvent())
		time.Sleep(100 * time.Millisecond)
		if n := j.asked.Load(); n > 10 {
			t.Errorf("the lease was asked for %d times", n)
		}
		_ = e.Stop(ended)
	})
}
