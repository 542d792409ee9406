package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// writing is one row, other than an event, that waits for the next commit.
type writing struct {
	outcome *store.Outcome
	wait    store.Waiting // if outcome is nil and trim is nil
	trim    *store.Trim
	hook    *hook     // told when it is committed; may be nil
	settled *delivery // leaves the hook's memory then; may be nil
	done    chan error
}

// writer commits everything that waits in one transaction, as often as the disk allows: the batch is what arrived
// while the last commit ran. It is the one place that writes to the journal.
type writer struct {
	e *Engine

	mu      sync.Mutex
	accepts []*accepted
	writes  []writing
	mark    bool // move the recovery mark with the next commit
	closed  bool
	broken  error
	wake    chan struct{} // capacity 1: sent to by whoever adds something; never closed
	last    store.Seq     // the last one given; only the writer's goroutine uses it after Start
	marked  store.Seq     // the recovery mark last committed
	batch   store.Batch
	rollups map[rollupKey]*store.Rollup // counted since the last commit that took them; only the writer's goroutine uses it
	began   time.Time                   // of the commit under way; zero: none is
}

// rollupKey is a webhook's minute.
type rollupKey struct{ webhook, minute int64 }

func newWriter(e *Engine) *writer {
	return &writer{e: e, wake: make(chan struct{}, 1), rollups: map[rollupKey]*store.Rollup{}}
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) submit(a *accepted) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.broken != nil:
		return w.broken
	case w.closed:
		return ErrStopping
	case !w.began.IsZero() && time.Since(w.began) > stalledAfter:
		return fmt.Errorf("the commit under way takes long: %w", store.ErrAway)
	}
	w.accepts = append(w.accepts, a)
	w.poke()
	return nil
}

// answer tells the publisher what became of the submission.
func (w *writer) answer(a *accepted) {
	close(a.done)
	w.e.gate.Release(a.size)
}

// busy notes when the commit under way began.
func (w *writer) busy(since time.Time) {
	w.mu.Lock()
	w.began = since
	w.mu.Unlock()
}

func (w *writer) write(x writing) {
	w.mu.Lock()
	w.writes = append(w.writes, x)
	w.mu.Unlock()
	w.poke()
}

// hold writes a waiting row for a queued delivery and then forgets it.
func (w *writer) hold(h *hook, d *delivery) {
	h.mu.Lock()
	had := d.stored
	d.stored = true
	h.mu.Unlock()
	if had {
		h.settled(d)
		return
	}
	w.write(writing{wait: store.Waiting{Tenant: d.tenant, DeliveryKey: d.key, Attempts: d.attempts, DueAt: d.key.Event.Time()}, hook: h, settled: d})
}

// wait writes a waiting row and returns after the commit.
func (w *writer) wait(ctx context.Context, h *hook, row store.Waiting) error {
	done := make(chan error, 1)
	w.mu.Lock()
	if w.closed || w.broken != nil {
		w.mu.Unlock()
		return ErrStopping
	}
	w.writes = append(w.writes, writing{wait: row, hook: h, done: done})
	w.mu.Unlock()
	w.poke()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets the writer finish what waits and end.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mark = true
	w.mu.Unlock()
	w.poke()
}

func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if n := len(w.writes); n > 0 {
		return fmt.Errorf("%d outcomes could not be written; their deliveries will be made again", n)
	}
	return nil
}

func (w *writer) run() {
	for {
		w.mu.Lock()
		accepts, writes, mark, closed := w.accepts, w.writes, w.mark, w.closed
		w.accepts, w.writes, w.mark = nil, nil, false
		w.mu.Unlock()
		if len(accepts) == 0 && len(writes) == 0 && !mark {
			switch {
			case closed && len(w.rollups) == 0:
				return
			case closed:
				mark = true
			default:
				<-w.wake
				continue
			}
		}
		err := w.commit(accepts, writes, mark)
		if fatal(err) || err != nil && closed {
			return // when closed, nobody waits any more: what is not written will be done again
		}
	}
}

// commit writes one batch.
func (w *writer) commit(accepts []*accepted, writes []writing, mark bool) error {
	b := &w.batch
	b.Submissions, b.Outcomes, b.Wait, b.Rollups, b.Trim, b.RecoverFrom = b.Submissions[:0], b.Outcomes[:0], b.Wait[:0], b.Rollups[:0], nil, 0
	if mark {
		w.takeRollups()
		if m := w.e.settledBelow(w.next()); m != w.marked {
			b.RecoverFrom = m
			w.last = max(w.last, m-1) // nothing is accepted below the mark, also when the clock goes back
		} else if len(accepts) == 0 && len(writes) == 0 && len(b.Rollups) == 0 {
			return nil
		}
	}
	for _, a := range accepts {
		w.e.place(a)
		for i := range a.sub.Events {
			w.last = w.next()
			a.sub.Events[i].Seq = w.last
		}
		b.Submissions = append(b.Submissions, &a.sub)
	}
	for _, x := range writes {
		switch {
		case x.outcome != nil:
			b.Outcomes = append(b.Outcomes, *x.outcome)
		case x.trim != nil:
			b.Trim = x.trim
		default:
			b.Wait = append(b.Wait, x.wait)
		}
	}
	began := time.Now()
	w.busy(began)
	err := w.e.cfg.Journal.Commit(w.e.commits, b)
	w.busy(time.Time{})
	w.e.metrics.committed(began, len(accepts), len(writes), err)
	if err != nil {
		w.failed(accepts, writes, err)
		return err
	}
	if b.RecoverFrom != 0 {
		w.marked = b.RecoverFrom
	}
	if len(b.Rollups) > 0 {
		clear(w.rollups)
	}
	for _, a := range accepts {
		if a.err = a.sub.Err; a.err != nil {
			w.e.unplace(a)
		} else {
			w.e.dispatch(a)
		}
		w.answer(a)
	}
	for i := range writes {
		w.committed(&writes[i])
		if o := writes[i].outcome; o != nil {
			w.count(o)
			if w.e.cfg.Settled != nil {
				w.e.cfg.Settled(o, writes[i].settled.event)
			}
		}
	}
	clear(b.Submissions)
	clear(b.Outcomes)
	return nil
}

// next is a Seq greater than every one given so far.
func (w *writer) next() store.Seq { return w.e.cfg.Journal.Next(w.last) }

func (w *writer) committed(x *writing) {
	if x.settled != nil {
		x.hook.settled(x.settled)
	}
	if x.hook != nil {
		if x.outcome == nil {
			if x.trim == nil && x.hook.conf.Load().open() {
				x.hook.dueAt(x.wait.DueAt)
			}
		} else if x.outcome.Kind == store.Retry {
			if x.hook.conf.Load().webhook.Deleted() {
				x.hook.dueAt(w.e.now())
			} else {
				x.hook.dueAt(x.outcome.NextAt)
			}
		}
	}
	if x.done != nil {
		x.done <- nil
	}
}

// fatal tells whether nothing can be written after err.
func fatal(err error) bool { return errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrFenced) }

// failed answers the publishers with the error and keeps the other rows for the next try.
func (w *writer) failed(accepts []*accepted, writes []writing, err error) {
	err = fmt.Errorf("commit to the journal: %w", err)
	broken := fatal(err)
	keep := writes[:0:0]
	for _, x := range writes {
		if x.done != nil {
			x.done <- err
		} else if x.trim == nil {
			keep = append(keep, x)
		}
	}
	w.mu.Lock()
	if broken {
		w.broken = err
		accepts = append(accepts, w.accepts...)
		w.accepts = nil
	}
	w.writes = append(keep, w.writes...)
	w.mu.Unlock()
	for _, a := range accepts {
		w.e.unplace(a)
		a.err = err
	}
	if broken {
		w.e.log.Error("nothing can be written any more", "error", err)
		w.e.cfg.Broken(err)
	} else {
		w.e.log.Warn("nothing could be written", "events_refused", len(accepts), "outcomes_kept", len(keep), "error", err)
	}
	for _, a := range accepts {
		w.answer(a)
	}
	if !broken && len(accepts) == 0 {
		// Only what is kept is left to write: give the disk a moment.
		t := time.NewTimer(retryWriteAfter)
		defer t.Stop()
		select {
		case <-t.C:
		case <-w.wake:
		}
	}
}
