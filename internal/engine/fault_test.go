package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// unreadable fails to read what a former run left, after the first part of it.
type unreadable struct{ *storetest.Memory }

func (u unreadable) Unsettled(ctx context.Context, from store.Seq, _ int) ([]store.Unsettled, store.Seq, error) {
	if mark, _ := u.RecoverFrom(ctx); from > mark {
		return nil, 0, errors.New("a page that cannot be read")
	}
	return u.Memory.Unsettled(ctx, from, 10)
}

// A start that failed half way says so and leaves the recovery mark alone.
func TestFailedStartKeepsTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		first := mustStart(t, engine.Config{Journal: dying{m}, Sender: &receiver{}}, hook(1, "a"))
		for range 30 {
			mustAccept(t, first, newEvent())
		}
		_ = first.Stop(ended)
		hanging := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
			<-ctx.Done()
			return attempt.Result{Verdict: attempt.Local} // nothing left
		}}
		e := engine.New(engine.Config{Journal: unreadable{m}, Sender: hanging})
		if err := e.Start(t.Context(), []*webhook.Webhook{hook(1, "a")}); err == nil {
			t.Fatal("Start = nil, want an error")
		}
		time.Sleep(time.Minute)
		_ = e.Stop(ended)
		r := &receiver{}
		last := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		time.Sleep(time.Minute)
		seen := map[uuid.UUID]bool{}
		for _, q := range r.requests("a") {
			seen[q.event] = true
		}
		if len(seen) != 30 {
			t.Errorf("%d of 30 events arrived after a start that failed", len(seen))
		}
		mustStop(t, last)
	})
}

// stuck is a journal whose calls hang for ever, or fail for good, from a moment on.
type stuck struct {
	*storetest.Memory
	hang  atomic.Bool
	fatal atomic.Bool
	never chan struct{} // closed when the test ends
}

func (s *stuck) Commit(ctx context.Context, b *store.Batch) error {
	if s.hang.Load() {
		<-s.never // whatever ctx says: a disk does not listen
	}
	if s.fatal.Load() {
		return store.ErrFenced
	}
	return s.Memory.Commit(ctx, b)
}

func (s *stuck) Unclaimed(context.Context) ([]int64, error) {
	if s.hang.Load() {
		<-s.never
	}
	return nil, nil
}

func (s *stuck) Due(ctx context.Context, tenant string, num int64, from, to time.Time, limit int,
	skip map[store.Seq]struct{}) ([]store.Due, error) {
	if s.hang.Load() {
		<-s.never
	}
	return s.Memory.Due(ctx, tenant, num, from, to, limit, skip)
}

// Stop returns within its bound whatever hangs, and everybody who waits is answered.
func TestStopIsBounded(t *testing.T) {
	for _, c := range []struct {
		name                     string
		journal, receiver, fatal bool
	}{{"nothing hangs", false, false, false}, {"the journal", true, false, false}, {"a receiver", false, true, false},
		{"both", true, true, false}, {"a fatal commit", false, false, true}, {"a fatal commit and a receiver",
			false, true,
			true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &stuck{Memory: storetest.NewMemory(), never: make(chan struct{})}
				r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
					if c.receiver {
						<-j.never
					}
					return attempt.Result{Verdict: attempt.Success, Status: 204}
				}}
				e := mustStart(t, engine.Config{Journal: j, Sender: r, Retention: time.Hour}, hook(1, "a"))
				mustAccept(t, e, newEvent())
				j.hang.Store(c.journal)
				j.fatal.Store(c.fatal)
				answered := make(chan error, 10)
				for range cap(answered) {
					go func() { _, err := e.Accept(context.Background(), "firm", []event.Event{newEvent()}); answered <- err }()
				}
				time.Sleep(2 * time.Minute) // the upkeep comes by
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				err := e.Stop(ctx)
				if d := time.Since(began); d > 11*time.Second {
					t.Errorf("Stop took %v, want 5 s and the last commit's 5 s at most", d)
				}
				if hangs := c.journal || c.receiver; (err != nil) != (hangs || c.fatal) {
					t.Errorf("Stop = %v", err)
				}
				for range cap(answered) {
					if err := <-answered; (err != nil) != (c.journal || c.fatal) {
						t.Errorf("Accept = %v", err)
					}
				}
				if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); err == nil {
					t.Error("Accept after Stop = nil")
				}
				close(j.never)
			})
		})
	}
}

// Every method answers before Start, during and after Stop, also while commits fail for good; and nothing is left
// behind.
func TestAnyCallAtAnyTime(t *testing.T) {
	for round := range 30 {
		j := &stuck{Memory: storetest.NewMemory(), never: make(chan struct{})}
		e := engine.New(engine.Config{Journal: j, Sender: &receiver{}, Retention: time.Hour})
		var wg sync.WaitGroup
		call := func(f func(i int)) {
			wg.Go(func() {
				for i := range 20 {
					f(i)
					runtime.Gosched()
				}
			})
		}
		for range 3 {
			call(func(int) { _, _ = e.Accept(context.Background(), "firm", []event.Event{newEvent()}) })
			call(func(int) {
				last, _ := j.LastSeq(context.Background())
				_ = e.RetryNow(context.Background(), store.DeliveryKey{Webhook: 1, Event: last})
			})
			call(func(i int) { w := hook(int64(i%3+1), "a"); w.Version = int64(i + 1); _ = e.SetWebhook(w) })
			call(func(int) { _, _, _ = e.Test(context.Background(), hook(1, "a"), newEvent()) })
		}
		wg.Go(func() { _ = e.Start(context.Background(), []*webhook.Webhook{hook(1, "a")}) })
		call(func(i int) {
			if i == 5+round/2 {
				j.fatal.Store(round%3 == 0)
			}
			if i == 10 {
				_ = e.Stop(ended)
			}
		})
		wg.Go(func() { _ = e.Stop(ended) })
		wg.Wait()
		if err := e.Start(context.Background(), nil); !errors.Is(err, engine.ErrStopping) {
			t.Errorf("Start after Stop = %v, want ErrStopping", err)
		}
		for _, err := range []error{
			func() error { _, err := e.Accept(context.Background(), "firm", []event.Event{newEvent()}); return err }(),
			e.RetryNow(context.Background(), store.DeliveryKey{Webhook: 1, Event: 1}),
			func() error { _, _, err := e.Test(context.Background(), hook(1, "a"), newEvent()); return err }(),
		} {
			if err == nil {
				t.Error("a call after Stop = nil, want an error")
			}
		}
	}
}

// A machine that lacks resources costs no attempt: none is on record, and all arrive when there are some again.
func TestLackOfOurResourcesIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		until := time.Now().Add(time.Hour)
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			if time.Now().Before(until) {
				return attempt.Result{Verdict: attempt.Local, Class: attempt.ClassLocal,
					Err: errors.New("too many open files")}
			}
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		w := hook(1, "a")
		w.RetrySchedule = nil // a first failure would be the last
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, w)
		mustAccept(t, e, newEvent())
		time.Sleep(2 * time.Hour)
		if o := outcomes(t, m, 1); len(o) != 1 || o[0].Kind != store.Delivered || o[0].Attempt != 1 {
			t.Errorf("outcomes = %+v, want one, delivered by attempt 1", o)
		}
		if n := len(r.requests("a")); n > 4000 {
			t.Errorf("%d tries in an hour, want about one a second", n)
		}
		mustStop(t, e)
	})
}

// A 410 whose webhook cannot be disabled does not go round and round.
func TestGoneThatCannotBeDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			return attempt.Result{Verdict: attempt.Gone, Status: 410, Class: attempt.ClassHTTPStatus}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r, Disable: func(context.Context, int64,
			string) error {
			return errors.New("no")
		}}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		time.Sleep(time.Hour)
		if n := len(r.requests("a")); n < 2 || n > 61 {
			t.Errorf("%d requests in an hour, want at most one a minute", n)
		}
		mustStop(t, e)
	})
}

// What outcomes hold while commits fail is bounded, and so are the attempts that nobody could record.
func TestOutcomesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		full := make(chan struct{}) // closed by the test
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			<-full
			return attempt.Result{Verdict: attempt.Success, Status: 200,
				Response: bytes.Repeat([]byte("x"), attempt.MaxKept)}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		for range 2500 {
			mustAccept(t, e, newEvent())
		}
		m.Fail(fmt.Errorf("test: %w", store.ErrFull))
		close(full)
		time.Sleep(time.Minute)
		n := len(r.requests("a"))
		if most := 16<<20/attempt.MaxKept + 64; n > most {
			t.Errorf("%d attempts were made while nothing could be recorded, want at most %d", n, most)
		}
		m.Fail(nil)
		time.Sleep(time.Minute)
		if n := len(r.requests("a")); n != 2500 || len(m.Waiting()) != 0 {
			t.Errorf("%d requests, %d waiting, want 2500, none", n, len(m.Waiting()))
		}
		mustStop(t, e)
	})
}

// slowTrim takes a minute for each step of removal, and an hour to look for other nodes' deliveries.
type slowTrim struct{ *storetest.Memory }

func (s slowTrim) Unclaimed(ctx context.Context) ([]int64, error) {
	select {
	case <-time.After(time.Hour):
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

// Nothing periodic waits for another.
func TestUpkeepIsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := slowTrim{storetest.NewMemory()}
		e := mustStart(t, engine.Config{Journal: m, Sender: &receiver{}, Retention: time.Minute}, hook(1, "a"))
		for range 3000 { // 5 minutes
			mustAccept(t, e, newEvent())
			time.Sleep(100 * time.Millisecond)
		}
		last, _ := m.LastSeq(t.Context())
		mark, _ := m.RecoverFrom(t.Context())
		if late := last.Time().Sub(mark.Time()); late > 3*time.Second {
			t.Errorf("the mark is %v behind", late)
		}
		if n := m.Events(); n > 1500 {
			t.Errorf("%d events are kept, want those of about a minute or two", n)
		}
		mustStop(t, e)
	})
}

// One webhook or tenant in trouble, whatever the sizes: the others' deliveries are made at once.
func TestNobodyStarves(t *testing.T) {
	for _, c := range []struct {
		name   string
		hooks  int // in trouble
		size   int // of an event's data
		events int
		answer func(ctx context.Context) attempt.Result
	}{
		{"one hangs, large events", 1, 250 << 10, 300, hangs},
		{"one hangs, small events", 1, 1 << 10, 6000, hangs},
		{"five hang", 5, 2 << 10, 4000, hangs},
		{"40 take a second", 40, 4 << 10, 1000, takesASecond},
		{"200 fail at once", 200, 1 << 10, 300, failsAtOnce},
		{"one fails at once", 1, 8 << 10, 5000, failsAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := storetest.NewMemory()
				r := &receiver{answer: func(ctx context.Context, path string, _ int) attempt.Result {
					if path == "good" {
						return attempt.Result{Verdict: attempt.Success, Status: 204}
					}
					return c.answer(ctx)
				}}
				hooks := []*webhook.Webhook{hook(1, "good")}
				hooks[0].Tenant = "other"
				for i := range c.hooks {
					w := hook(int64(i+2), "bad")
					hooks = append(hooks, w)
				}
				same := hook(int64(c.hooks+2), "good") // of the same tenant
				e := mustStart(t, engine.Config{Journal: m, Sender: r}, append(hooks, same)...)
				data := []byte(`{"x":"` + strings.Repeat("a", c.size) + `"}`)
				for i := range c.events {
					ev := newEvent()
					ev.Data = data
					mustAccept(t, e, ev)
					if i%20 == 0 {
						other := newEvent()
						other.Data = data
						if _, err := e.Accept(t.Context(), "other", []event.Event{other}); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
						if n, want := len(r.requests("good")), (i+1)+(i/20+1); n != want {
							t.Fatalf("after %d events the good webhooks had %d of %d requests", i+1, n, want)
						}
					}
					time.Sleep(10 * time.Millisecond)
				}
				_ = e.Stop(ended)
			})
		})
	}
}

func hangs(ctx context.Context) attempt.Result {
	select {
	case <-time.After(15 * time.Second):
	case <-ctx.Done():
	}
	return attempt.Result{Class: attempt.ClassTimeout}
}

func takesASecond(ctx context.Context) attempt.Result {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return attempt.Result{Verdict: attempt.Success, Status: 200}
}

func failsAtOnce(context.Context) attempt.Result { return failed }

// A clock that is set, in either direction and by however much, delays nothing, while serving and over a restart.
func TestClockThatIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, time.Hour, -time.Hour, 40 * 24 * time.Hour,
		-40 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := storetest.NewMemory()
				var set atomic.Int64
				m.Clock.Step = func() time.Duration { return time.Duration(set.Load()) }
				r := &receiver{answer: func(_ context.Context, _ string, n int) attempt.Result {
					if n == 1 {
						return failed
					}
					return attempt.Result{Verdict: attempt.Success, Status: 204}
				}}
				w := hook(1, "a")
				w.RetrySchedule = []time.Duration{time.Minute, time.Minute}
				open := func() *engine.Engine {
					return mustStart(t, engine.Config{Journal: m, Sender: r, QueueLength: 2, Concurrency: 1}, w)
				}
				e := open()
				events := 0
				publish := func() {
					for range 20 { // most are spilled
						mustAccept(t, e, newEvent())
						events++
					}
				}
				publish()
				set.Store(int64(step))
				publish()
				time.Sleep(3 * time.Minute)
				if n := len(r.requests("a")); n != 2*events {
					t.Errorf("%d requests after the step, want %d", n, 2*events)
				}
				publish()
				mustStop(t, e)
				m.Clock = store.Clock{} // the clock was right all the time before, and is again
				e = open()
				publish()
				time.Sleep(3 * time.Minute)
				if n := len(r.requests("a")); n != 2*events {
					t.Errorf("%d requests after the restart, want %d", n, 2*events)
				}
				mustStop(t, e)
			})
		})
	}
}
