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
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// busy is a receiver that once asks for a wait, and takes everything then; begun counts requests.
func busy(wait time.Duration, begun *atomic.Int64) *receiver {
	return &receiver{answer: func(context.Context, string, int) attempt.Result {
		if begun.Add(1) == 1 {
			return attempt.Result{Verdict: attempt.Failure, Status: 503, Class: attempt.ClassHTTPStatus, RetryAfter: wait}
		}
		return attempt.Result{Verdict: attempt.Success, Status: 200}
	}}
}

func events(n int) (list []event.Event) {
	for range n {
		list = append(list, newEvent())
	}
	return list
}

// TestRetryAfterBindsTheWebhook: while the receiver's wait lasts nothing at all is sent to the webhook, whatever waits
// and whatever comes; others go on; and then all of it arrives, having cost no attempt.
func TestRetryAfterBindsTheWebhook(t *testing.T) {
	for _, wait := range []time.Duration{time.Second, time.Minute, time.Hour, 30 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var begun atomic.Int64
			m, r := storetest.NewMemory(), busy(wait, &begun)
			e := mustStart(t, engine.Config{Journal: m, Sender: r, Concurrency: 1, QueueLength: 100}, hook(1, "a"))
			mustAccept(t, e, newEvent())
			synctest.Wait()
			for range 10 {
				mustAccept(t, e, events(100)...)
			}
			bound := min(wait, engine.MaxRetryAfter)
			time.Sleep(bound - time.Millisecond)
			synctest.Wait()
			if n := begun.Load(); n != 1 {
				t.Fatalf("%d requests within a wait of %v, want the 1 that it answered", n, wait)
			}
			time.Sleep(4 * 24 * time.Hour)
			if n := len(r.requests("a")); n != 1002 {
				t.Errorf("%d requests in all, want 1002: one more for each event but the first", n)
			}
			mustStop(t, e)
		})
	}
}

// TestRetryAfterAndChanges: a webhook that waits is deleted without waiting, and waits no longer once it goes elsewhere;
// what else is changed changes nothing.
func TestRetryAfterAndChanges(t *testing.T) {
	for what, change := range map[string]func(*webhook.Webhook){
		"deleted":   func(w *webhook.Webhook) { w.DeletedAt = time.Now() },
		"elsewhere": func(w *webhook.Webhook) { w.URL += "b" },
		"described": func(w *webhook.Webhook) { w.Description = "new" },
	} {
		synctest.Test(t, func(t *testing.T) {
			var begun atomic.Int64
			m, r := storetest.NewMemory(), busy(time.Hour, &begun)
			w := hook(1, "a")
			e := mustStart(t, engine.Config{Journal: m, Sender: r, Concurrency: 1}, w)
			mustAccept(t, e, newEvent())
			synctest.Wait()
			mustAccept(t, e, events(20)...)
			changed := *w
			changed.Version++
			change(&changed)
			if err := e.SetWebhook(&changed); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			want, waiting := map[string]int64{"deleted": 1, "elsewhere": 21, "described": 1}[what], len(m.Waiting())
			if n := begun.Load(); n != want || what == "deleted" && waiting != 0 {
				t.Errorf("%s: %d requests, %d wait, want %d", what, n, waiting, want)
			}
			mustStop(t, e)
		})
	}
}

// TestRetryAfterIsKept: a wait that a receiver asks for is kept once for the next start and for other nodes, however
// many attempts are answered so, unless it is short; and an engine that is told of one keeps it.
func TestRetryAfterIsKept(t *testing.T) {
	for wait, want := range map[time.Duration]int{time.Second: 0, time.Minute: 1, 30 * time.Hour: 1} {
		synctest.Test(t, func(t *testing.T) {
			var kept []time.Time
			keep := func(_ context.Context, _ int64, _ string, until time.Time) error {
				kept = append(kept, until)
				return nil
			}
			r := &receiver{answer: func(context.Context, string, int) attempt.Result {
				time.Sleep(time.Millisecond)
				return attempt.Result{Verdict: attempt.Failure, Status: 429, Class: attempt.ClassHTTPStatus, RetryAfter: wait}
			}}
			m, began := storetest.NewMemory(), time.Now()
			e := mustStart(t, engine.Config{Journal: m, Sender: r, Concurrency: 8, Hold: keep}, hook(1, "a"))
			mustAccept(t, e, events(8)...)
			time.Sleep(min(wait, engine.MaxRetryAfter) / 2)
			mustStop(t, e)
			if len(kept) != want || want > 0 && kept[0].Sub(began) != min(wait, engine.MaxRetryAfter)+time.Millisecond {
				t.Errorf("%v: kept %v, begun at %v, want %d", wait, kept, began, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		m, w := storetest.NewMemory(), hook(1, "a")
		w.HeldUntil = time.Now().Add(time.Hour)
		e := mustStart(t, engine.Config{Journal: m, Sender: busy(time.Hour, &begun)}, w, hook(2, "b"))
		other := *hook(2, "b")
		other.HeldUntil = w.HeldUntil
		if err := e.SetWebhook(&other); err != nil { // another node's receiver asked for it
			t.Fatal(err)
		}
		mustAccept(t, e, events(20)...)
		time.Sleep(time.Hour - time.Millisecond)
		synctest.Wait()
		if n := begun.Load(); n != 0 {
			t.Errorf("%d requests within the waits, want 0", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if begun.Load() == 0 {
			t.Error("no request after the waits")
		}
		mustStop(t, e)
	})
}

// TestBeingHeldIsNoChange: a webhook whose attempts all fail is as slow after a wait that was told of as before.
func TestBeingHeldIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			begun.Add(1)
			time.Sleep(time.Second)
			return attempt.Result{Verdict: attempt.Failure, Status: 503, Class: attempt.ClassHTTPStatus}
		}}
		m, w := storetest.NewMemory(), hook(1, "a")
		e := mustStart(t, engine.Config{Journal: m, Sender: r, Concurrency: 8}, w)
		mustAccept(t, e, events(100)...)
		time.Sleep(10 * time.Second)
		held := *w
		held.HeldUntil = time.Now().Add(time.Hour)
		if err := e.SetWebhook(&held); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Millisecond)
		before := begun.Load()
		time.Sleep(500 * time.Millisecond)
		if n := begun.Load() - before; n != 1 {
			t.Errorf("%d attempts at once after the wait, want 1", n)
		}
		mustStop(t, e)
	})
}
