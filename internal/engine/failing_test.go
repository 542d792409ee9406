package engine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

var errUnreadable = errors.New("a page that cannot be read")

// flaky is a journal that fails to answer what a test names.
type flaky struct {
	*storetest.Memory
	fails atomic.Value // string: the method
}

func newFlaky(fails string) *flaky {
	f := &flaky{Memory: storetest.NewMemory()}
	f.fails.Store(fails)
	return f
}

func (f *flaky) err(method string) error {
	if f.fails.Load() == method {
		return errUnreadable
	}
	return nil
}

func (f *flaky) Commit(ctx context.Context, b *store.Batch) error {
	if b.Trim != nil && f.err("Trim") != nil || f.err("Commit") != nil {
		return errUnreadable
	}
	return f.Memory.Commit(ctx, b)
}

func (f *flaky) Due(ctx context.Context, tenant string, num int64, from, to time.Time, limit int,
	skip map[store.Seq]struct{}) ([]store.Due, error) {
	if err := f.err("Due"); err != nil {
		return nil, err
	}
	return f.Memory.Due(ctx, tenant, num, from, to, limit, skip)
}

func (f *flaky) NextDue(ctx context.Context, tenant string, num int64, from time.Time,
	skip map[store.Seq]struct{}) (time.Time, bool, error) {
	if err := f.err("NextDue"); err != nil {
		return time.Time{}, false, err
	}
	return f.Memory.NextDue(ctx, tenant, num, from, skip)
}

func (f *flaky) LastSeq(ctx context.Context) (store.Seq, error) {
	seq, err := f.Memory.LastSeq(ctx)
	return seq, errors.Join(err, f.err("LastSeq"))
}

func (f *flaky) RecoverFrom(ctx context.Context) (store.Seq, error) {
	seq, err := f.Memory.RecoverFrom(ctx)
	return seq, errors.Join(err, f.err("RecoverFrom"))
}

func (f *flaky) Recall(ctx context.Context, now time.Time) (int, time.Duration, error) {
	n, ahead, err := f.Memory.Recall(ctx, now)
	return n, ahead, errors.Join(err, f.err("Recall"))
}

func (f *flaky) Unsettled(ctx context.Context, from store.Seq, limit int) ([]store.Unsettled, store.Seq, error) {
	list, next, err := f.Memory.Unsettled(ctx, from, limit)
	return list, next, errors.Join(err, f.err("Unsettled"))
}

func (f *flaky) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	list, err := f.Memory.Backlogs(ctx)
	return list, errors.Join(err, f.err("Backlogs"))
}

func (f *flaky) Unclaimed(context.Context) ([]int64, error) { return nil, f.err("Unclaimed") }

func (f *flaky) Attempts(ctx context.Context, tenant string, key store.DeliveryKey) (int, error) {
	n, err := f.Memory.Attempts(ctx, tenant, key)
	return n, errors.Join(err, f.err("Attempts"))
}

// A start says what the journal could not answer.
func TestStartSaysWhatFailed(t *testing.T) {
	for _, method := range []string{"LastSeq", "RecoverFrom", "Recall", "Unsettled", "Backlogs", "a webhook"} {
		synctest.Test(t, func(t *testing.T) {
			w := hook(1, "a")
			if method == "a webhook" {
				w.URL = "://"
			}
			e := engine.New(engine.Config{Journal: newFlaky(method), Sender: &receiver{}})
			err := e.Start(t.Context(), []*webhook.Webhook{w})
			if err == nil || errors.Is(err, engine.ErrStopping) ||
				errors.Is(err, errUnreadable) == (method == "a webhook") {
				t.Errorf("Start while %s fails = %v", method, err)
			}
			_ = e.Stop(ended)
		})
	}
}

// Recovery that cannot write what does not fit its queue fails, and one that can goes on to the last event.
func TestRecoveryOfMoreThanFits(t *testing.T) {
	for _, fails := range []string{"Commit", ""} {
		synctest.Test(t, func(t *testing.T) {
			j := newFlaky("")
			first := mustStart(t, engine.Config{Journal: dying{j}, Sender: &receiver{}, QueueLength: 5000},
				hook(1, "a"))
			evs := make([]event.Event, 100)
			for range 22 {
				for i := range evs {
					evs[i] = newEvent()
				}
				mustAccept(t, first, evs...)
			}
			_ = first.Stop(ended)
			var sent atomic.Int64
			count := senderFunc(func(context.Context) attempt.Result {
				sent.Add(1)
				return attempt.Result{Verdict: attempt.Success, Status: 204}
			})
			j.fails.Store(fails)
			e := engine.New(engine.Config{Journal: j, Sender: count, QueueLength: 100})
			if err := e.Start(t.Context(), []*webhook.Webhook{hook(1, "a")}); errors.Is(err,
				errUnreadable) != (fails != "") {
				t.Errorf("Start while %q fails = %v", fails, err)
			}
			time.Sleep(time.Minute)
			if n := sent.Load(); fails == "" && n != 2200 {
				t.Errorf("%d of 2200 deliveries were made", n)
			}
			_ = e.Stop(ended)
		})
	}
}

// What the journal cannot answer for a while is asked again, costs no delivery, and is in the log; without a failure
// nothing is.
func TestUnreadableForAWhile(t *testing.T) {
	for method, says := range map[string]string{
		"Due": "waiting deliveries could not be read", "NextDue": "waiting deliveries could not be read",
		"Unclaimed": "the deliveries of other nodes could not be read", "Trim": "old events could not be removed", "": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newFlaky("")
			var log bytes.Buffer
			r := &receiver{answer: func(_ context.Context, _ string, n int) attempt.Result {
				if n == 1 {
					return failed
				}
				return attempt.Result{Verdict: attempt.Success, Status: 204}
			}}
			w := hook(1, "a")
			w.RetrySchedule = []time.Duration{time.Second}
			e := mustStart(t, engine.Config{Journal: j, Sender: r, QueueLength: 2, Concurrency: 1, Retention: 2 * time.Minute,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}, w)
			j.fails.Store(method)
			for range 10 {
				mustAccept(t, e, newEvent())
			}
			time.Sleep(70 * time.Second)
			j.fails.Store("")
			time.Sleep(10 * time.Second)
			if n := len(j.Waiting()); n != 0 || len(r.requests("a")) != 20 {
				t.Errorf("after %s failed: %d deliveries wait, %d requests, want none and 20", method, n,
					len(r.requests("a")))
			}
			time.Sleep(4 * time.Minute)
			if n := j.Events(); n != 0 {
				t.Errorf("after %s failed: %d events are kept", method, n)
			}
			synctest.Wait()
			said := strings.Count(log.String(), says)
			j.fails.Store(method)
			mustStop(t, e)
			list := strings.Split(strings.TrimSpace(log.String()), "\n")
			for _, line := range list {
				if line != "" && (says == "" || !strings.Contains(line, says) && !strings.Contains(line, "nothing could be written")) {
					t.Errorf("while %q failed the log says %s", method, line)
				}
			}
			if says != "" && (said == 0 || said > 80) {
				t.Errorf("while %s failed the log says so %d times, want at most one a second", method, said)
			}
			if n := strings.Count(log.String(), says); says != "" && n != said {
				t.Errorf("while %s failed a stop says so %d times", method, n-said)
			}
		})
	}
}

// Whoever waits for a row that could not be written is told at once.
func TestRetryNowSaysWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newFlaky("")
		w := hook(1, "a")
		w.RetrySchedule = nil
		r := &receiver{answer: func(context.Context, string, int) attempt.Result { return failed }}
		e := mustStart(t, engine.Config{Journal: j, Sender: r, NoRollups: true}, w)
		mustAccept(t, e, newEvent())
		time.Sleep(time.Second)
		last, _ := j.LastSeq(t.Context())
		for method, want := range map[string]error{"Commit": errUnreadable, "Attempts": errUnreadable} {
			j.fails.Store(method)
			began := time.Now()
			err := e.RetryNow(t.Context(), store.DeliveryKey{Webhook: 1, Event: last})
			if !errors.Is(err, want) || time.Since(began) != 0 {
				t.Errorf("RetryNow while %s fails = %v after %v", method, err, time.Since(began))
			}
		}
		j.fails.Store("")
		for key, want := range map[store.DeliveryKey]error{
			{Webhook: 9, Event: last}: store.ErrNotFound, {Webhook: 1, Event: last + 1}: nil, {Webhook: 1,
				Event: last}: nil,
		} {
			if err := e.RetryNow(t.Context(), key); !errors.Is(err, want) {
				t.Errorf("RetryNow(%v) = %v, want %v", key, err, want)
			}
		}
		time.Sleep(time.Second)
		if n := len(r.requests("a")); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		mustStop(t, e)
	})
}

// While nothing can be written, outcomes that come do not make the journal be asked more often.
func TestFailedCommitsDoNotGoWithTheOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &watched{Memory: storetest.NewMemory()}
		var n atomic.Int64
		s := senderFunc(func(context.Context) attempt.Result {
			time.Sleep(time.Duration(n.Add(1)) * 20 * time.Millisecond)
			return attempt.Result{Verdict: attempt.Success, Status: 204}
		})
		e := mustStart(t, engine.Config{Journal: j, Sender: s, NoRollups: true, Concurrency: 500}, hook(1, "a"))
		for range 450 {
			mustAccept(t, e, newEvent())
		}
		j.set(func(*store.Batch) error { return errUnreadable })
		j.notedSince()
		time.Sleep(8 * time.Second)
		if n := len(j.notedSince()); n < 30 || n > 33 {
			t.Errorf("%d commits in 8 s, want four a second", n)
		}
		j.set(nil)
		time.Sleep(3 * time.Second)
		mustStop(t, e)
	})
}

// A stop tries once to write what is left, and says what was lost.
func TestStopWritesOnce(t *testing.T) {
	for _, fails := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j := &watched{Memory: storetest.NewMemory()}
			var log bytes.Buffer
			r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result {
				<-ctx.Done()
				return attempt.Result{Class: attempt.ClassCancelled}
			}}
			e := mustStart(t, engine.Config{Journal: j, Sender: r, NoRollups: true,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}, hook(1, "a"))
			mustAccept(t, e, newEvent())
			time.Sleep(5500 * time.Millisecond)
			if fails {
				j.set(func(*store.Batch) error { time.Sleep(time.Millisecond); return errUnreadable })
			}
			j.notedSince()
			_ = e.Stop(ended)
			if n := len(j.notedSince()); n < 1 || n > 2 {
				t.Errorf("%d commits by a stop, failing %v", n, fails)
			}
			if said := strings.Contains(log.String(), "outcomes could not be written"); said != fails {
				t.Errorf("the log says that something was lost: %v, want %v: %s", said, fails, &log)
			}
		})
	}
}

// What an attempt came to is in the debug log when there was an error, and else not.
func TestAttemptsInTheLog(t *testing.T) {
	for _, err := range []error{nil, errors.New("no route")} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r := &receiver{answer: func(context.Context, string, int) attempt.Result {
				res := failed
				res.Err = err
				return res
			}}
			w := hook(1, "a")
			w.RetrySchedule = nil
			e := mustStart(t, engine.Config{Journal: storetest.NewMemory(), Sender: r,
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, w)
			mustAccept(t, e, newEvent())
			synctest.Wait()
			if n := strings.Count(log.String(), "attempt failed"); (n == 1) != (err != nil) {
				t.Errorf("the log of an attempt with error %v: %s", err, &log)
			}
			mustStop(t, e)
		})
	}
}

// What was waiting for long is worked on by as many as may be when it is read back.
func TestBacklogHasAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r := &receiver{answer: func(ctx context.Context, _ string, _ int) attempt.Result { return hangs(ctx) }}
		w := hook(1, "a")
		w.Enabled = false
		e := mustStart(t, engine.Config{Journal: m, Sender: r, Concurrency: 8}, w)
		for range 100 {
			mustAccept(t, e, newEvent())
		}
		open := *w
		open.Enabled, open.Version = true, 2
		if err := e.SetWebhook(&open); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(r.requests("a")); n != 8 {
			t.Errorf("%d requests are under way, want 8", n)
		}
		_ = e.Stop(ended)
	})
}

// A change takes of what waits for a commit as much as it holds, and never so much that it has no chance.
func TestChangesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &stuck{Memory: storetest.NewMemory(), never: make(chan struct{})}
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}}, hook(1, "a"))
		j.hang.Store(true)
		c := store.Change{Report: &store.Report{Content: make([]byte, 20<<20)}}
		refused := make(chan error, 3)
		for range cap(refused) { // two of 16 MiB are half of what there is
			go func() { refused <- e.Change(context.Background(), "firm", &c, nil) }()
		}
		synctest.Wait()
		if n := len(refused); n != 1 {
			t.Fatalf("%d of three changes are answered, want one: two wait", n)
		}
		if err := <-refused; !errors.Is(err, engine.ErrBusy) {
			t.Errorf("the third change = %v, want ErrBusy", err)
		}
		time.Sleep(11 * time.Second)
		_ = e.Stop(ended)
		close(j.never)
	})
}

// A test of a webhook is one request, whether it is enabled or not, and is on no record.
func TestOfAWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := storetest.NewMemory(), &receiver{}
		e := mustStart(t, engine.Config{Journal: m, Sender: r})
		w := hook(1, "a")
		w.Enabled = false
		res, p, err := e.Test(t.Context(), w, newEvent())
		if err != nil || res.Status != 204 || p.URL != w.URL || len(r.requests("a")) != 1 || m.Events() != 0 {
			t.Errorf("Test = %+v, %+v, %v, %d requests, %d events on record", res, p, err,
				len(r.requests("a")), m.Events())
		}
		w.URL = "://"
		if _, _, err := e.Test(t.Context(), w, newEvent()); err == nil {
			t.Error("Test of a webhook without a URL = nil")
		}
		mustStop(t, e)
	})
}
