package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is one attempt as the receiver sees it.
type request struct {
	path  string
	event uuid.UUID
	at    time.Time
}

// receiver is a Sender whose answers a test decides on.
type receiver struct {
	mu     sync.Mutex
	seen   []request
	answer func(ctx context.Context, path string,
		n int) attempt.Result // n counts the requests of one path and event from 1
}

func (r *receiver) Send(ctx context.Context, t *attempt.Target, e *event.Event) attempt.Result {
	at := time.Now()
	u := t.Preview(e, at).URL
	path := u[strings.LastIndexByte(u, '/')+1:]
	r.mu.Lock()
	r.seen = append(r.seen, request{path, e.ID, at})
	n := 0
	for _, s := range r.seen {
		if s.path == path && s.event == e.ID {
			n++
		}
	}
	answer := r.answer
	r.mu.Unlock()
	res := attempt.Result{Verdict: attempt.Success, Status: 204}
	if answer != nil {
		res = answer(ctx, path, n)
	}
	res.At, res.Sent, res.Duration = at, true, time.Since(at)
	return res
}

func (r *receiver) requests(path string) []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []request
	for _, s := range r.seen {
		if s.path == path {
			out = append(out, s)
		}
	}
	return out
}

var failed = attempt.Result{Verdict: attempt.Failure, Status: 500, Class: attempt.ClassHTTPStatus}

func hook(num int64, path string) *webhook.Webhook {
	return &webhook.Webhook{Num: num, ID: uuid.NewString(), Tenant: "firm", URL: "https://receiver.example/" + path,
		Method:     webhook.POST,
		EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true, Timeout: 15 * time.Second,
		RetrySchedule: webhook.DefaultRetrySchedule(), Version: 1}
}

func mustStart(t *testing.T, cfg engine.Config, hooks ...*webhook.Webhook) *engine.Engine {
	t.Helper()
	e := engine.New(cfg)
	if err := e.Start(t.Context(), hooks); err != nil {
		t.Fatalf("Start: %v", err)
	}
	synctest.Wait()
	return e
}

func mustStop(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func newEvent() event.Event {
	typ, _ := event.Lookup("qap.investor.updated")
	return typ.Example(time.Now())
}

func mustAccept(t *testing.T, e *engine.Engine, evs ...event.Event) []engine.Receipt {
	t.Helper()
	r, err := e.Accept(t.Context(), "firm", evs)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return r
}

// outcomes gives the recorded outcomes of the only event's delivery to a webhook.
func outcomes(t *testing.T, m *storetest.Memory, num int64) []store.Outcome {
	t.Helper()
	last, err := m.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m.Outcomes(store.DeliveryKey{Webhook: num, Event: last})
}

func TestDeliveryCostsNoWaitingRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := storetest.NewMemory(), &receiver{}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"), hook(2, "b"))
		got := mustAccept(t, e, newEvent())
		if got[0].Deliveries != 2 {
			t.Errorf("deliveries = %d, want 2", got[0].Deliveries)
		}
		synctest.Wait()
		for num := range int64(2) {
			if o := outcomes(t, m, num+1); len(o) != 1 || o[0].Kind != store.Delivered || o[0].Stored {
				t.Errorf("outcomes of webhook %d = %+v, want one, delivered, never stored as waiting", num+1, o)
			}
		}
		mustStop(t, e)
	})
}

func TestRetriesSurviveAWeekendAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(context.Context, string, int) attempt.Result { return failed }}
		w := hook(1, "a")
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, w)
		mustAccept(t, e, newEvent())
		time.Sleep(100 * time.Hour)
		seen := r.requests("a")
		if len(seen) != len(w.RetrySchedule)+1 {
			t.Fatalf("%d requests, want %d", len(seen), len(w.RetrySchedule)+1)
		}
		for i, d := range w.RetrySchedule {
			got := seen[i+1].at.Sub(seen[i].at)
			if got < d*9/10 || got > d*11/10+time.Second {
				t.Errorf("delay %d = %v, want %v ± 10 %%", i, got, d)
			}
		}
		o := outcomes(t, m, 1)
		if len(o) != len(seen) || o[len(o)-1].Kind != store.Exhausted {
			t.Errorf("%d outcomes, the last %q, want %d, exhausted", len(o), o[len(o)-1].Kind, len(seen))
		}
		if total := seen[len(seen)-1].at.Sub(seen[0].at); total < 65*time.Hour || total > 85*time.Hour {
			t.Errorf("the last attempt came after %v, want about 75 h", total)
		}
		if w := m.Waiting(); len(w) != 0 {
			t.Errorf("%d deliveries wait, want none", len(w))
		}
		mustStop(t, e)
	})
}

func TestRetryAfterIsNeverUndercut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(_ context.Context, _ string, n int) attempt.Result {
			if n == 1 {
				return attempt.Result{Verdict: attempt.Failure, Status: 429, Class: attempt.ClassHTTPStatus,
					RetryAfter: time.Hour}
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		time.Sleep(2 * time.Hour)
		seen := r.requests("a")
		if len(seen) != 2 || seen[1].at.Sub(seen[0].at) < time.Hour {
			t.Errorf("requests = %v, want the second an hour after the first", seen)
		}
		mustStop(t, e)
	})
}

func TestGoneDisablesAndHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		gone := true
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			if gone {
				return attempt.Result{Verdict: attempt.Gone, Status: 410, Class: attempt.ClassHTTPStatus}
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		w := hook(1, "a")
		var e *engine.Engine
		change := func(enabled bool) error {
			c := *w
			c.Enabled, c.Version = enabled, w.Version+1
			w = &c
			return e.SetWebhook(w)
		}
		e = engine.New(engine.Config{Journal: m, Sender: r,
			Disable: func(context.Context, int64, string) error { return change(false) }})
		if err := e.Start(t.Context(), []*webhook.Webhook{w}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustAccept(t, e, newEvent())
		time.Sleep(time.Hour)
		mustAccept(t, e, newEvent())
		time.Sleep(24 * time.Hour)
		if n := len(r.requests("a")); n != 1 || w.Enabled {
			t.Fatalf("%d requests, enabled %v, want 1 and a disabled webhook", n, w.Enabled)
		}
		if n := len(m.Waiting()); n != 2 {
			t.Errorf("%d deliveries are held, want 2", n)
		}
		gone = false
		if err := change(true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(m.Waiting()); n != 0 {
			t.Errorf("%d deliveries wait after the webhook was enabled, want none", n)
		}
		mustStop(t, e)
	})
}

func TestHangingWebhookHoldsBackOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(ctx context.Context, path string, _ int) attempt.Result {
			if path == "slow" {
				select {
				case <-time.After(15 * time.Second):
				case <-ctx.Done():
				}
				return failed
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r, QueueLength: 16, Concurrency: 4}, hook(1, "slow"),
			hook(2, "good"))
		for range 200 {
			at := time.Now()
			id := mustAccept(t, e, newEvent())[0].ID
			synctest.Wait()
			seen := r.requests("good")
			if last := seen[len(seen)-1]; last.event != id || last.at.Sub(at) > time.Millisecond {
				t.Fatalf("event %v arrived at the good webhook after %v", id, last.at.Sub(at))
			}
		}
		if n := len(r.requests("slow")); n != 4 {
			t.Errorf("%d requests are under way at the slow one, want 4", n)
		}
		mustStop(t, e)
	})
}

func TestSpillArrivesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		open := make(chan struct{}) // closed by the test
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			<-open
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r, QueueLength: 8, Concurrency: 2}, hook(1, "a"))
		want := map[uuid.UUID]bool{}
		for range 300 {
			want[mustAccept(t, e, newEvent())[0].ID] = true
		}
		if n := len(m.Waiting()); n < 300-8 {
			t.Errorf("%d deliveries are spilled, want at least %d", n, 300-8)
		}
		close(open)
		time.Sleep(time.Minute)
		seen := r.requests("a")
		for _, s := range seen {
			delete(want, s.event)
		}
		if len(seen) != 300 || len(want) != 0 || len(m.Waiting()) != 0 {
			t.Errorf("%d requests, %d events missing, %d waiting, want 300, 0, 0", len(seen), len(want),
				len(m.Waiting()))
		}
		mustStop(t, e)
	})
}

func TestSameIDAtOnceIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := storetest.NewMemory(), &receiver{}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		ev := newEvent()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got, err := e.Accept(context.Background(), "firm", []event.Event{ev})
				if err != nil || got[0].Deliveries != 1 || got[0].ID != ev.ID {
					t.Errorf("Accept = %+v, %v, want one delivery", got, err)
				}
			})
		}
		wg.Wait()
		other := ev
		other.ObjectID = "another"
		var conflict *store.ConflictError
		if _, err := e.Accept(t.Context(), "firm", []event.Event{other}); !errors.As(err, &conflict) ||
			conflict.ID != ev.ID {
			t.Errorf("Accept of other content = %v, want a conflict", err)
		}
		time.Sleep(time.Minute)
		if n := len(r.requests("a")); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		mustStop(t, e)
	})
}

func TestFullDiskKeepsOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		go1 := make(chan struct{}) // closed by the test
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			<-go1
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		m.Fail(fmt.Errorf("test: %w", store.ErrFull))
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, store.ErrFull) {
			t.Errorf("Accept = %v, want ErrFull", err)
		}
		close(go1)
		time.Sleep(time.Minute)
		m.Fail(nil)
		time.Sleep(time.Second)
		if o := outcomes(t, m, 1); len(o) != 1 || len(r.requests("a")) != 1 {
			t.Errorf("%d outcomes of %d requests, want 1 of 1", len(o), len(r.requests("a")))
		}
		mustAccept(t, e, newEvent())
		mustStop(t, e)
	})
}

func TestBrokenDiskEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := storetest.NewMemory(), &receiver{}
		var broken error
		e := mustStart(t, engine.Config{Journal: m, Sender: r, Broken: func(err error) { broken = err }}, hook(1, "a"))
		m.Fail(store.ErrBroken)
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, store.ErrBroken) {
			t.Errorf("Accept = %v, want ErrBroken", err)
		}
		m.Fail(nil)
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); err == nil {
			t.Error("Accept after a failed flush = nil, want an error")
		}
		if !errors.Is(broken, store.ErrBroken) {
			t.Errorf("Broken got %v, want ErrBroken", broken)
		}
		if err := e.Stop(context.Background()); !errors.Is(err, store.ErrBroken) {
			t.Errorf("Stop = %v, want ErrBroken", err)
		}
	})
}

func TestRecoveryMakesUnsettledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		dead := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
			<-ctx.Done()
			return attempt.Result{Class: attempt.ClassCancelled}
		}}
		first := mustStart(t, engine.Config{Journal: dying{m}, Sender: dead, QueueLength: 64}, hook(1, "a"))
		for range 100 {
			mustAccept(t, first, newEvent())
		}
		r := &receiver{}
		second := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		time.Sleep(time.Minute)
		if n := len(r.requests("a")); n != 100 {
			t.Errorf("%d requests after the restart, want 100", n)
		}
		mustStop(t, second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = first.Stop(ctx)
	})
}

// dying commits events but no outcomes, like a process that is killed before it gets to them.
type dying struct{ store.Journal }

func (d dying) Commit(ctx context.Context, b *store.Batch) error {
	c := *b
	c.Outcomes, c.RecoverFrom = nil, 0
	return d.Journal.Commit(ctx, &c)
}

func TestDeletedWebhookCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(context.Context, string, int) attempt.Result { return failed }}
		w := hook(1, "a")
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, w)
		mustAccept(t, e, newEvent())
		time.Sleep(time.Second)
		gone := *w
		gone.Version, gone.DeletedAt = 2, time.Now()
		if err := e.SetWebhook(&gone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		o := outcomes(t, m, 1)
		if len(o) != 2 || o[1].Kind != store.Cancelled || o[1].Sent || len(m.Waiting()) != 0 {
			t.Errorf("outcomes = %+v, want a retry and a cancellation", o)
		}
		if got := mustAccept(t, e, newEvent()); got[0].Deliveries != 0 {
			t.Errorf("a deleted webhook matched")
		}
		mustStop(t, e)
	})
}

func TestRetryNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(_ context.Context, _ string, n int) attempt.Result {
			if n < 3 {
				return failed
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		}}
		w := hook(1, "a")
		w.RetrySchedule = []time.Duration{time.Hour}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, w)
		mustAccept(t, e, newEvent())
		synctest.Wait()
		last, _ := m.LastSeq(t.Context())
		for range 2 { // the waiting one, and then the exhausted one
			if err := e.RetryNow(t.Context(), store.DeliveryKey{Webhook: 1, Event: last}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		o := outcomes(t, m, 1)
		if len(o) != 3 || o[1].Kind != store.Exhausted || o[2].Kind != store.Delivered || len(m.Waiting()) != 0 {
			t.Errorf("outcomes = %+v, want retry, exhausted, delivered", o)
		}
		mustStop(t, e)
	})
}

func TestStopIsBoundedAndOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
			<-ctx.Done()
			return attempt.Result{Class: attempt.ClassCancelled}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		synctest.Wait()
		began := time.Now()
		mustStop(t, e)
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("Stop took %v, want about 10 s", d)
		}
		if o := outcomes(t, m, 1); len(o) != 1 || o[0].Kind != store.Retry || o[0].Class != attempt.ClassCancelled {
			t.Errorf("outcomes = %+v, want a retry, cancelled", o)
		}
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, engine.ErrStopping) {
			t.Errorf("Accept after Stop = %v, want ErrStopping", err)
		}
		mustStop(t, e)
	})
}

func TestSlowDeliveriesDoNotHoldBackTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
			<-ctx.Done()
			return attempt.Result{Class: attempt.ClassCancelled}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		time.Sleep(30 * time.Second)
		mark, _ := m.RecoverFrom(t.Context())
		last, _ := m.LastSeq(t.Context())
		if mark <= last || len(m.Waiting()) != 1 {
			t.Errorf("mark = %d, waiting %d, want a mark above %d and a waiting row", mark, len(m.Waiting()), last)
		}
		mustStop(t, e)
	})
}
