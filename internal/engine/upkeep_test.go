package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// watched is a journal that notes the batches it is given, and does with them what a test says.
type watched struct {
	*storetest.Memory
	before    func(b *store.Batch) error // nil: nothing
	unclaimed []int64
	attempts  func() // while Attempts is asked

	mu      sync.Mutex
	batches []noted
}

// noted is a batch in short.
type noted struct {
	at                          time.Time
	events, outcomes, waits     int
	spilled                     int
	mark                        store.Seq
	trim                        *store.Trim
	after, past                 store.Seq // of the trim
	submissions, rollups, bytes int
}

func (j *watched) Commit(ctx context.Context, b *store.Batch) error {
	n := noted{at: time.Now(), outcomes: len(b.Outcomes), waits: len(b.Wait), mark: b.RecoverFrom, trim: b.Trim,
		submissions: len(b.Submissions), rollups: len(b.Rollups)}
	for _, s := range b.Submissions {
		n.events += len(s.Events)
		for _, e := range s.Events {
			n.bytes += len(e.Event.Data) + 512
			n.spilled += len(e.Spilled)
		}
	}
	if b.Trim != nil {
		n.after, n.past = b.Trim.After, b.Trim.Before
	}
	j.mu.Lock()
	j.batches = append(j.batches, n)
	before := j.before
	j.mu.Unlock()
	if before != nil {
		if err := before(b); err != nil {
			return err
		}
	}
	return j.Memory.Commit(ctx, b)
}

func (j *watched) Unclaimed(context.Context) ([]int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.unclaimed
	j.unclaimed = nil
	return list, nil
}

func (j *watched) Attempts(ctx context.Context, tenant string, key store.DeliveryKey) (int, error) {
	if j.attempts != nil {
		j.attempts()
	}
	return j.Memory.Attempts(ctx, tenant, key)
}

func (j *watched) set(before func(b *store.Batch) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = before
}

// notedSince gives the batches since the last call.
func (j *watched) notedSince() []noted {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.batches
	j.batches = nil
	return list
}

// While nothing is accepted the recovery mark is written once a minute; after something was, within a second and then
// no more, whether it is owed to anybody or not.
func TestAnIdleEngineWritesOnceAMinute(t *testing.T) {
	for _, matched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j := &watched{Memory: storetest.NewMemory()}
			w, commits := hook(1, "a"), 3 // the event, the outcome, the mark
			if !matched {
				w.EventTypes, commits = []string{"qap.investor.created"}, 2
			}
			e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}, NoRollups: true}, w)
			time.Sleep(10*time.Minute + time.Second/2)
			if n := len(j.notedSince()); n < 9 || n > 11 {
				t.Errorf("%d commits in ten minutes without an event, want one a minute", n)
			}
			mustAccept(t, e, newEvent())
			time.Sleep(30 * time.Second)
			list := j.notedSince()
			marks := 0
			for _, b := range list {
				if b.mark != 0 {
					marks++
				}
			}
			if marks != 1 || len(list) != commits {
				t.Errorf("%d commits and %d marks after an event, matched %v, want %d and 1", len(list), marks,
					matched, commits)
			}
			mustStop(t, e)
		})
	}
}

// While a delivery is under way the mark stays below it, and moves when it is late: its row is written after LateAfter,
// once.
func TestLateDeliveryIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result { return hangs(ctx) }}
		e := mustStart(t, engine.Config{Journal: j, Sender: r, LateAfter: 5 * time.Second}, hook(1, "a"))
		began := time.Now()
		mustAccept(t, e, newEvent())
		last, _ := j.LastSeq(t.Context())
		time.Sleep(14 * time.Second)
		rows := 0
		for _, b := range j.notedSince() {
			if rows += b.waits; b.waits > 0 {
				if late := b.at.Sub(began); late < 5*time.Second || late > 7*time.Second {
					t.Errorf("the row is written after %v, want 5 s", late)
				}
			}
			if (b.mark > last) && rows == 0 {
				t.Error("the mark passed a delivery that only memory knows")
			}
		}
		if mark, _ := j.RecoverFrom(t.Context()); rows != 1 || mark <= last {
			t.Errorf("%d rows are written, the mark is %d after it, want one and a mark above", rows, mark-last)
		}
		mustStop(t, e)
	})
}

// Late deliveries are written a bounded number at a time, however many an event has, so that no commit is large, and at
// once one after the other.
func TestLateDeliveriesAreWrittenInParts(t *testing.T) {
	for _, c := range []struct{ events, webhooks int }{{200, 1}, {2, 100}, {1, 200}} {
		t.Run(fmt.Sprintf("%d events of %d webhooks", c.events, c.webhooks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &watched{Memory: storetest.NewMemory()}
				hooks, hanging := crowd(c.webhooks)
				e := mustStart(t, engine.Config{Journal: j, Sender: hanging, LateAfter: 5 * time.Second}, hooks...)
				for range c.events {
					mustAccept(t, e, newEvent())
				}
				time.Sleep(8 * time.Second)
				var parts []int
				for _, b := range j.notedSince() {
					if b.waits > 0 {
						parts = append(parts, b.waits)
					}
				}
				if !slices.Equal(parts, []int{64, 64, 64, 8}) {
					t.Errorf("late deliveries are written %v at a time, want 64, 64, 64, 8", parts)
				}
				mustStop(t, e)
			})
		})
	}
}

// crowd is so many webhooks whose receiver hangs.
func crowd(n int) (hooks []*webhook.Webhook, hanging *receiver) {
	for num := range n {
		hooks = append(hooks, hook(int64(num+1), "a"))
	}
	return hooks, &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result { return hangs(ctx) }}
}

// An event of many webhooks without room has some of their rows in its commit and the others after it, a bounded number
// at a time; its tenant's next event waits for them.
func TestSpilledDeliveriesAreWrittenInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		hooks, hanging := crowd(200)
		e := mustStart(t, engine.Config{Journal: j, Sender: hanging, QueueLength: 1}, hooks...)
		mustAccept(t, e, newEvent()) // takes all the room
		j.notedSince()
		mustAccept(t, e, newEvent())
		mustAccept(t, e, newEvent())
		time.Sleep(time.Second)
		events, rows := 0, 0
		for _, b := range j.notedSince() {
			if b.spilled > 64+b.events || b.waits > 64 {
				t.Errorf("a commit of %d events has %d of their rows and %d others", b.events, b.spilled, b.waits)
			}
			if rows += b.waits; b.events > 0 && rows != events*200 {
				t.Errorf("event %d was accepted when there were %d rows of those before", events+1, rows)
			}
			events, rows = events+b.events, rows+b.spilled
		}
		if n := len(j.Waiting()); events != 2 || n != 400 {
			t.Errorf("%d deliveries of %d events wait, want 400 of 2", n, events)
		}
		mustStop(t, e)
	})
}

// While the rows of spilled deliveries cannot be written, their tenant's publishers are told so at once, and the rows
// come when there is room again.
func TestSpilledDeliveriesOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		hooks, hanging := crowd(600)
		e := mustStart(t, engine.Config{Journal: j, Sender: hanging, QueueLength: 1}, hooks...)
		mustAccept(t, e, newEvent())
		j.set(func(b *store.Batch) error {
			if len(b.Wait) > 0 {
				return store.ErrFull
			}
			return nil
		})
		mustAccept(t, e, newEvent())
		for range 5 {
			began := time.Now()
			_, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()})
			if took := time.Since(began); !errors.Is(err, store.ErrFull) || took > 0 {
				t.Errorf("Accept = %v after %v, want ErrFull at once", err, took)
			}
		}
		j.set(nil)
		time.Sleep(time.Second)
		if n := len(j.Waiting()); n != 600 {
			t.Errorf("%d deliveries wait, want 600", n)
		}
		mustStop(t, e)
	})
}

// What a stop leaves of spilled deliveries without rows, the next start finds.
func TestStopBeforeSpilledDeliveriesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		hooks, hanging := crowd(2000)
		e := mustStart(t, engine.Config{Journal: j, Sender: hanging, QueueLength: 1, LateAfter: time.Second}, hooks...)
		mustAccept(t, e, newEvent())
		time.Sleep(3 * time.Second) // its deliveries have their rows, and do not hold the mark back
		began := time.Now()
		j.set(func(b *store.Batch) error {
			if len(b.Wait) > 0 && time.Since(began) < 10*time.Second {
				time.Sleep(time.Second)
			}
			return nil
		})
		mustAccept(t, e, newEvent())
		last, _ := j.LastSeq(t.Context())
		mustStop(t, e)
		rows := 0
		for _, w := range j.Waiting() {
			if w.DeliveryKey.Event == last {
				rows++
			}
		}
		if rows >= 2000 {
			t.Fatalf("%d deliveries wait, want some to be left", rows)
		}
		e = mustStart(t, engine.Config{Journal: j, Sender: hanging, QueueLength: 1}, hooks...)
		mustStop(t, e)
		keys := map[store.DeliveryKey]bool{}
		for _, w := range j.Waiting() {
			keys[w.DeliveryKey] = true
		}
		for num := range int64(2000) {
			for _, o := range outcomes(t, j.Memory, num+1) {
				keys[o.DeliveryKey] = true
			}
		}
		if len(keys) != 4000 {
			t.Errorf("%d deliveries are on record, want 4000", len(keys))
		}
	})
}

// Old events are removed in steps, each from where the last ended, at most half a minute long, and the next round goes
// on there.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		reg := prometheus.NewRegistry()
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}, Retention: 3 * time.Minute, NoRollups: true,
			Registerer: reg})
		evs := make([]event.Event, 100)
		for range 80 {
			for i := range evs {
				evs[i] = newEvent()
			}
			mustAccept(t, e, evs...)
		}
		time.Sleep(2 * time.Minute)
		if n := j.Events(); n != 8000 {
			t.Fatalf("%d events are left before the retention is over, want 8000", n)
		}
		j.set(func(b *store.Batch) error {
			if b.Trim != nil {
				time.Sleep(time.Second)
			}
			return nil
		})
		j.notedSince()
		time.Sleep(3*time.Minute + 45*time.Second)
		var next store.Seq
		var rounds []int
		var before time.Time
		for _, b := range j.notedSince() {
			if b.trim == nil {
				continue
			}
			if gap := b.at.Sub(before); gap > 25*time.Second {
				rounds = append(rounds, 0)
			} else if gap < time.Second+20*time.Millisecond {
				t.Errorf("a step begins %v after the last, want a second and a pause", gap)
			}
			rounds[len(rounds)-1]++
			if b.after != next {
				t.Errorf("a step begins at %d, want %d", b.after, next)
			}
			if next = b.trim.Next; b.trim.Done {
				next = 0
			}
			if b.trim.Limit != 200 || b.past.Time().Sub(b.at.Add(-3*time.Minute)).Abs() > time.Millisecond ||
				b.trim.Minutes.Sub(b.at.Add(-store.MinutesKept)).Abs() > time.Millisecond {
				t.Errorf("a step at %v is %+v", b.at, *b.trim)
			}
			before = b.at
		}
		if n, most := j.Events(), slices.Max(rounds); n != 0 || rounds[0] != 1 || most < 28 || most > 31 {
			t.Errorf("%d events are left, the rounds had %v steps, want none, and half a minute of steps", n, rounds)
		}
		if n := value(t, reg, "qhook_events_removed_total"); n != 8000 {
			t.Errorf("%v events are counted as removed, want 8000", n)
		}
		mustStop(t, e)
	})
}

// Without a retention events are kept for ever.
func TestNoRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}, NoRollups: true}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		time.Sleep(10 * time.Minute)
		for _, b := range j.notedSince() {
			if b.trim != nil {
				t.Fatal("something is to be removed")
			}
		}
		mustStop(t, e)
	})
}

// value is a counter's or a gauge's, of all its labels; of a histogram, how many were observed, and
// of the rows of commits, their sum.
func value(t *testing.T, reg *prometheus.Registry, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for i, l := range m.GetLabel() {
				if i < len(labels) && l.GetValue() != labels[i] {
					continue metrics
				}
			}
			if sum += m.GetCounter().GetValue() + m.GetGauge().GetValue(); name == "qhook_commit_rows" {
				sum += m.GetHistogram().GetSampleSum()
			} else {
				sum += float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// What an operator watches adds up.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		reg := prometheus.NewRegistry()
		r := &receiver{answer: func(_ context.Context, path string, n int) attempt.Result {
			time.Sleep(time.Second)
			if n == 1 {
				return failed
			}
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		w := hook(1, "a")
		w.RetrySchedule = []time.Duration{10 * time.Second}
		e := mustStart(t, engine.Config{Journal: j, Sender: r, Registerer: reg, QueueLength: 2, Concurrency: 1,
			NoRollups: true}, w)
		is := func(when string, want float64, name string, labels ...string) {
			t.Helper()
			if got := value(t, reg, "qhook_"+name, labels...); got != want {
				t.Errorf("%s: %s%v = %v, want %v", when, name, labels, got, want)
			}
		}
		mustAccept(t, e, newEvent(), newEvent(), newEvent())
		synctest.Wait()
		is("under way", 3, "events_accepted_total")
		is("under way", 1, "deliveries_spilled_total")
		is("under way", 1, "attempts_in_flight")
		time.Sleep(time.Minute)
		is("done", 0, "attempts_in_flight")
		is("done", 3, "outcomes_total", "delivered")
		is("done", 3, "outcomes_total", "retry")
		is("done", 3, "attempt_failures_total")
		is("done", 3, "attempt_failures_total", attempt.ClassHTTPStatus)
		is("done", 3, "delivery_latency_seconds")
		is("done", 6, "attempt_duration_seconds")
		is("done", 7, "commit_rows") // a request and six outcomes
		is("done", 0, "commit_errors_total")
		for reason, err := range map[string]error{"full": store.ErrFull, "other": errors.New("no")} {
			j.Fail(err)
			_, _ = e.Accept(t.Context(), "firm", []event.Event{newEvent()})
			is(reason, 1, "commit_errors_total", reason)
		}
		j.Fail(store.ErrBroken)
		_, _ = e.Accept(t.Context(), "firm", []event.Event{newEvent()})
		is("broken", 1, "commit_errors_total", "broken")
		is("at last", 3, "commit_errors_total")
		_ = e.Stop(ended)
	})
}

// What other nodes left behind is looked at within a second; webhooks that nobody knows are passed over.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		r := &receiver{}
		e := mustStart(t, engine.Config{Journal: j, Sender: r}, hook(1, "a"))
		other := mustStart(t, engine.Config{Journal: j, Sender: r}, hook(1, "a"))
		time.Sleep(10 * time.Second)
		ev := newEvent()
		s := store.Submission{Tenant: "firm",
			Events: []store.Submitted{{Seq: j.Next(0), Event: ev, Webhooks: []int64{1},
				Spilled: []int64{1}}}}
		if err := j.Memory.Commit(t.Context(), &store.Batch{Submissions: []*store.Submission{&s}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if n := len(r.requests("a")); n != 0 {
			t.Fatalf("%d requests before anybody said so", n)
		}
		mustStop(t, other)
		j.mu.Lock()
		j.unclaimed = []int64{77, 1}
		j.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		if n := len(r.requests("a")); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		mustStop(t, e)
	})
}

// A start says what it found, and nothing when there is nothing.
func TestStartSaysWhatItFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		var set atomic.Int64
		m.Clock.Step = func() time.Duration { return time.Duration(set.Load()) }
		start := func(j store.Journal) (*engine.Engine, *bytes.Buffer) {
			var log bytes.Buffer
			l := slog.New(slog.NewTextHandler(&log, nil))
			return mustStart(t, engine.Config{Journal: j, Sender: &receiver{}, Logger: l}, hook(1, "a"),
				hook(2, "b")), &log
		}
		e, log := start(dying{m})
		if log.Len() > 0 {
			t.Errorf("the first start says %q", log)
		}
		set.Store(int64(time.Hour))
		time.Sleep(10 * time.Hour) // the clock follows
		mustAccept(t, e, newEvent(), newEvent(), newEvent())
		_ = e.Stop(ended)
		m.Clock = store.Clock{}
		e, log = start(m)
		for _, want := range []string{"count=6", "ahead="} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the start says %q, want %q", log, want)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("the start says %d things, want 2: %s", n, log)
		}
		time.Sleep(2 * time.Hour)
		mustStop(t, e)
	})
}

// A publisher that gets no answer from the journal is told after five seconds that it is away.
func TestAcceptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stuck{Memory: storetest.NewMemory(), never: make(chan struct{})}
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}}, hook(1, "a"))
		j.hang.Store(true)
		began := time.Now()
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, store.ErrAway) ||
			time.Since(began) != 5*time.Second {
			t.Errorf("Accept = %v after %v, want ErrAway after 5 s", err, time.Since(began))
		}
		began = time.Now()
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, store.ErrAway) ||
			time.Since(began) != 0 {
			t.Errorf("Accept while a commit takes long = %v after %v, want ErrAway at once", err, time.Since(began))
		}
		_ = e.Stop(ended)
		close(j.never)
	})
}

// Rows that could not be written are tried again four times a second, and a publisher does not wait for that.
func TestFailedCommitIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		answer := make(chan struct{}) // closed by the test
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			<-answer
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		e := mustStart(t, engine.Config{Journal: j, Sender: r, NoRollups: true}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		refuse := errors.New("not now")
		j.set(func(*store.Batch) error { return refuse })
		close(answer)
		synctest.Wait()
		j.notedSince()
		time.Sleep(10*time.Second + 1)
		if n := len(j.notedSince()); n < 40 || n > 51 {
			t.Errorf("%d commits in 10 s, want 40 and at most one for each mark", n)
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		if _, err := e.Accept(t.Context(), "firm", []event.Event{newEvent()}); !errors.Is(err, refuse) ||
			time.Since(began) != 0 {
			t.Errorf("Accept = %v after %v, want the error at once", err, time.Since(began))
		}
		j.set(nil)
		began = time.Now()
		mustAccept(t, e, newEvent())
		if d := time.Since(began); d != 0 {
			t.Errorf("Accept took %v while rows are to be tried again", d)
		}
		time.Sleep(time.Second)
		mustStop(t, e)
		if n := len(j.Waiting()); n != 0 {
			t.Errorf("%d deliveries wait", n)
		}
	})
}

// Retries by hand are bounded, and those who are too many are told to come later; a place is given back.
func TestRetriesByHandAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		r := &receiver{answer: func(context.Context, string, int) attempt.Result { return failed }}
		w := hook(1, "a")
		w.RetrySchedule = nil
		e := mustStart(t, engine.Config{Journal: j, Sender: r}, w, hook(2, "b"))
		mustAccept(t, e, newEvent())
		synctest.Wait()
		for range 2 {
			open := make(chan struct{}) // closed below
			j.attempts = func() { <-open }
			busy, other, ended := 0, 0, make(chan error, 300)
			for i := range cap(ended) {
				go func() {
					ended <- e.RetryNow(context.Background(), store.DeliveryKey{Webhook: 1, Event: store.Seq(i + 1)})
				}()
			}
			synctest.Wait()
			close(open)
			for range cap(ended) {
				switch err := <-ended; {
				case errors.Is(err, engine.ErrBusy):
					busy++
				case err != nil:
					other++
				}
			}
			if busy != 300-64 || other != 0 { // a quarter of 256: a webhook has half of half
				t.Errorf("%d of 300 retries of one webhook were told to come later, and %d failed, want %d and none",
					busy, other,
					300-64)
			}
		}
		mustStop(t, e)
	})
}

// A second Start does nothing, and a webhook that cannot be used is told about.
func TestStartTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		e := mustStart(t, engine.Config{Journal: m, Sender: &receiver{}}, hook(1, "a"))
		if err := e.Start(t.Context(), nil); err != nil {
			t.Errorf("a second Start = %v", err)
		}
		if got := mustAccept(t, e, newEvent()); got[0].Deliveries != 1 {
			t.Error("the webhooks were forgotten")
		}
		for _, f := range []func(w *webhook.Webhook){
			func(w *webhook.Webhook) { w.URL = "://" },
			func(w *webhook.Webhook) { w.EventTypes = []string{"a..b"} },
		} {
			for num := int64(1); num < 3; num++ { // one that is there, and a new one
				w := hook(num, "a")
				f(w)
				if err := e.SetWebhook(w); err == nil {
					t.Errorf("SetWebhook(%s, %v) = nil, want an error", w.URL, w.EventTypes)
				}
			}
		}
		mustStop(t, e)
	})
}

// A webhook whose attempts all fail gets one at a time, about 100 a second where it is the only one; the first success
// ends that.
func TestFailingWebhookIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		until := time.Now().Add(5 * time.Second)
		r := &receiver{answer: func(context.Context, string, int) attempt.Result {
			if time.Now().Before(until) {
				return failed
			}
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		}}
		e := mustStart(t, engine.Config{Journal: m, Sender: r}, hook(1, "a"))
		for range 1000 {
			mustAccept(t, e, newEvent())
		}
		time.Sleep(5 * time.Second)
		n := len(r.requests("a"))
		if n < 400 || n > 700 {
			t.Errorf("%d requests in five seconds of failures, want about 100 a second", n)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(r.requests("a")) - n; n < 300 {
			t.Errorf("%d requests in the tenth of a second after, want the rest of them", n)
		}
		mustStop(t, e)
	})
}

// Webhooks at an origin that nobody reaches are paced after their first attempt; where it is reached, after their
// fifth.
func TestManyWebhooksAtAnOriginThatIsDown(t *testing.T) {
	for _, c := range []struct {
		reached     bool
		least, most int
	}{{false, 200, 200 + 2*64}, {true, 1000, 1000 + 2*64}} {
		synctest.Test(t, func(t *testing.T) {
			hooks, _ := crowd(200)
			var made atomic.Int64
			s := senderFunc(func(context.Context) attempt.Result {
				made.Add(1)
				return attempt.Result{Class: attempt.ClassConnectionLost, Sent: c.reached}
			})
			e := mustStart(t, engine.Config{Journal: storetest.NewMemory(), Sender: s}, hooks...)
			for range 6 {
				mustAccept(t, e, newEvent())
			}
			synctest.Wait() // no time passes
			if n := int(made.Load()); n < c.least || n > c.most {
				t.Errorf("reached %v: %d attempts before the first pause, want %d to %d", c.reached, n, c.least, c.most)
			}
			mustStop(t, e)
		})
	}
}
