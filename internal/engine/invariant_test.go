package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// auditor is a journal that checks, at every commit that carries a recovery mark, that nothing below the mark is known
// to memory alone. Its commits take a while, and fail and die when a test says so.
type auditor struct {
	*storetest.Memory
	*books

	mu   sync.Mutex
	rand *rand.Rand
	fail int  // of the next commits
	dead bool // killed: nothing is written any more
}

// books has what was accepted and marked, by whichever engine.
type books struct {
	all    sync.Mutex
	owed   map[store.DeliveryKey]bool // accepted
	passed []string                   // what a mark passed
	marks  int
}

func newAuditor(seed uint64) *auditor {
	return &auditor{Memory: storetest.NewMemory(), rand: rand.New(rand.NewPCG(seed, 1)),
		books: &books{owed: map[store.DeliveryKey]bool{}}}
}

func (a *auditor) with(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Next takes a moment, in which an attempt may end between what the writer takes and the mark that it computes.
func (a *auditor) Next(last store.Seq) store.Seq {
	var wait time.Duration
	a.with(func() { wait = time.Duration(max(0, a.rand.IntN(60)-40)) * time.Millisecond })
	time.Sleep(wait)
	return a.Memory.Next(last)
}

func (a *auditor) Commit(ctx context.Context, b *store.Batch) error {
	var wait time.Duration
	var err error
	a.with(func() {
		wait = time.Duration(a.rand.IntN(4)) * time.Millisecond
		if a.fail > 0 {
			a.fail--
			err = errors.New("not now")
		}
		if a.dead {
			err = errors.New("killed")
		}
	})
	time.Sleep(wait)
	if err == nil {
		err = a.Memory.Commit(ctx, b)
	}
	if err != nil {
		return err
	}
	a.all.Lock()
	defer a.all.Unlock()
	for _, s := range b.Submissions {
		for _, e := range s.Events {
			if s.Err == nil && !e.Duplicate {
				for _, num := range e.Webhooks {
					a.owed[store.DeliveryKey{Webhook: num, Event: e.Seq}] = true
				}
			}
		}
	}
	if b.RecoverFrom != 0 {
		a.marks++
		for _, key := range a.unknown() {
			if key.Event < b.RecoverFrom {
				a.passed = append(a.passed, fmt.Sprintf("mark %d passed %+v", b.RecoverFrom, key))
			}
		}
	}
	return nil
}

// Due takes a while before and after the state that it tells of, now and then long enough for a delivery to be written
// down and settled meanwhile, and fails sometimes.
func (a *auditor) Due(ctx context.Context, tenant string, num int64, from, to time.Time, limit int,
	skip map[store.Seq]struct{}) ([]store.Due, error) {
	var before, after time.Duration
	var err error
	a.with(func() {
		if a.rand.IntN(4) == 0 {
			before = time.Duration(a.rand.IntN(3000)) * time.Millisecond
			after = time.Duration(a.rand.IntN(3000)) * time.Millisecond
		}
		if a.rand.IntN(10) == 0 {
			err = errors.New("not now")
		}
	})
	time.Sleep(before)
	list, e := a.Memory.Due(ctx, tenant, num, from, to, limit, skip)
	time.Sleep(after)
	return list, errors.Join(e, err)
}

// unknown lists accepted deliveries of which neither an outcome nor a waiting row is on record. a.all is held.
func (a *auditor) unknown() (list []store.DeliveryKey) {
	waits := map[store.DeliveryKey]bool{}
	for _, w := range a.Waiting() {
		waits[w.DeliveryKey] = true
	}
	for key := range a.owed {
		if !waits[key] && len(a.Outcomes(key)) == 0 {
			list = append(list, key)
		}
	}
	return list
}

// Whatever happens in whatever order (slow and failing commits, receivers that fail, hang and are gone, resources that
// run out, full queues, webhooks that are disabled, enabled and deleted, reads that take long and fail, retries by
// hand, stops, kills), no mark passes what only memory knows, and in the end every delivery was made, or cancelled with
// its webhook.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.IntRange(0, 13), 5, 60).Draw(rt, "steps")
		queue := rapid.SampledFrom([]int{2, 16, 8192}).Draw(rt, "queue")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			w := &world{j: newAuditor(seed), queue: queue, rand: rand.New(rand.NewPCG(seed, 2))}
			for num := range int64(3) {
				h := hook(num+1, string(rune('a'+num)))
				h.RetrySchedule = []time.Duration{time.Second, 2 * time.Second, 10 * time.Second, time.Minute}
				w.hooks = append(w.hooks, h)
			}
			w.start()
			for _, s := range steps {
				w.step(s)
			}
			w.end()
			wrong = append(w.wrong, w.j.passed...)
		})
		if len(wrong) > 0 {
			rt.Fatalf("steps %v: %d things are wrong: %s", steps, len(wrong), wrong[0])
		}
	})
}

// world is an engine, its journal and its receivers, and what a test does to them.
type world struct {
	j     *auditor
	e     *engine.Engine
	hooks []*webhook.Webhook
	queue int
	wrong []string // what the test found

	mu      sync.Mutex
	rand    *rand.Rand
	healthy bool
}

// start starts an engine; one that cannot write what it has to is stopped, and another tries.
func (w *world) start() {
	for {
		e := engine.New(engine.Config{Journal: w.j, Sender: senderFunc(w.answer), QueueLength: w.queue,
			QueueBytes: 64 << 10,
			Attempts:   8, Concurrency: 4, LateAfter: 2 * time.Second,
			Disable: func(_ context.Context, num int64, _ string) error { return w.set(num, false) }})
		w.mu.Lock()
		w.e = e
		hooks := slices.Clone(w.hooks)
		w.mu.Unlock()
		if e.Start(context.Background(), hooks) == nil {
			return
		}
		w.stop(0)
	}
}

// stop stops the engine within a time.
func (w *world) stop(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	_ = w.e.Stop(ctx) // what could not be written is made again
}

// roll is a random number below n.
func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

func (w *world) errorf(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

type senderFunc func(ctx context.Context) attempt.Result

func (f senderFunc) Send(ctx context.Context, _ *attempt.Target, _ *event.Event) attempt.Result {
	at := time.Now()
	r := f(ctx)
	r.At = at
	return r
}

func (w *world) answer(ctx context.Context) attempt.Result {
	w.mu.Lock()
	n, healthy := w.rand.IntN(100), w.healthy
	w.mu.Unlock()
	time.Sleep(time.Duration(n*7919) * time.Microsecond) // up to 0.8 s, over the marks
	switch {
	case healthy || n < 50:
		return attempt.Result{Sent: true, Verdict: attempt.Success, Status: 204}
	case n < 70:
		r := failed
		r.Sent = true
		return r
	case n < 80:
		select {
		case <-time.After(5 * time.Second):
			return attempt.Result{Sent: true, Class: attempt.ClassTimeout}
		case <-ctx.Done():
			return attempt.Result{Sent: true, Class: attempt.ClassCancelled}
		}
	case n < 95:
		return attempt.Result{Verdict: attempt.Local, Class: attempt.ClassLocal}
	case n < 98:
		panic("an answer that nobody thought of")
	}
	return attempt.Result{Sent: true, Verdict: attempt.Gone, Status: 410}
}

func (w *world) set(num int64, enabled bool) error {
	w.mu.Lock()
	c := *w.hooks[num-1]
	c.Enabled, c.Version = enabled, c.Version+1
	w.hooks[num-1] = &c
	e := w.e
	w.mu.Unlock()
	return e.SetWebhook(&c)
}

func (w *world) accept(n int) {
	evs := make([]event.Event, n)
	for i := range evs {
		evs[i] = newEvent()
		evs[i].ID = uuid.Nil
	}
	w.mu.Lock()
	e := w.e
	w.mu.Unlock()
	_, _ = e.Accept(context.Background(), "firm", evs) // it may fail: then nothing was accepted
}

func (w *world) step(s int) {
	switch s {
	case 0, 1, 2:
		w.accept(1 + s*7)
	case 3:
		n := 1 + w.roll(3)
		w.j.with(func() { w.j.fail = n })
	case 4:
		time.Sleep(time.Second)
	case 5:
		time.Sleep(30 * time.Second)
	case 6, 7:
		_ = w.set(int64(1+w.roll(3)), s == 7)
	case 8:
		w.j.all.Lock()
		var keys []store.DeliveryKey
		for key := range w.j.owed {
			keys = append(keys, key)
		}
		w.j.all.Unlock()
		for _, key := range keys[:min(3, len(keys))] {
			_ = w.e.RetryNow(context.Background(), key)
		}
	case 9:
		w.stop(time.Second)
		w.start()
	case 10:
		w.kill()
	case 11:
		for range 4 {
			go w.accept(3)
		}
	case 12:
		w.mu.Lock()
		c := *w.hooks[2]
		c.DeletedAt = time.Now()
		w.hooks[2] = &c
		w.mu.Unlock()
		_ = w.set(3, w.roll(2) == 0)
	case 13:
		w.accept(60) // of which not all that have no place get their rows at once
	}
}

// kill has another engine go on with what is on record.
func (w *world) kill() {
	dead := w.j
	w.j = newAuditor(uint64(w.roll(1 << 30)))
	dead.with(func() { dead.dead = true })
	w.j.Memory, w.j.books = dead.Memory, dead.books
	w.stop(0)
	w.start()
}

// end lets everything be delivered and looks whether it was.
func (w *world) end() {
	w.mu.Lock()
	w.healthy = true
	w.mu.Unlock()
	w.j.with(func() { w.j.fail = 0 })
	time.Sleep(20 * time.Second) // answers under way are over; one of them may be a 410
	for num := range int64(3) {
		if err := w.set(num+1, true); err != nil {
			w.errorf("SetWebhook: %v", err)
		}
	}
	time.Sleep(20 * time.Minute)
	if err := w.e.Stop(context.Background()); err != nil {
		w.errorf("Stop: %v", err)
	}
	w.j.all.Lock()
	defer w.j.all.Unlock()
	if list := w.j.unknown(); len(list) > 0 {
		w.errorf("%d deliveries are known to nobody: %v", len(list), list[0])
	}
	if list := w.j.Waiting(); len(list) > 0 {
		w.errorf("%d deliveries still wait after 20 minutes of health: %+v", len(list), list[0])
	}
	for key := range w.j.owed {
		list := w.j.Outcomes(key)
		if len(list) == 0 {
			continue // told above
		}
		gone := w.hooks[key.Webhook-1].Deleted()
		if k := list[len(list)-1].Kind; k != store.Delivered && k != store.Exhausted &&
			(k != store.Cancelled || !gone) {
			w.errorf("%+v ended %s", key, k)
		}
	}
	if len(w.j.owed) > 0 && w.j.marks == 0 {
		w.errorf("no mark was written")
	}
}
