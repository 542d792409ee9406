package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// commit writes one batch.
func (w *writer) commit(t taken) error {
	failpoint.Hit(failpoint.Assemble)
	if !w.assemble(&t) {
		return nil
	}
	failpoint.Hit(failpoint.Commit)
	b := &w.batch
	began := time.Now()
	w.busy(began)
	err := w.e.cfg.Journal.Commit(w.e.commits, b)
	w.busy(time.Time{})
	w.e.metrics.committed(began, len(t.accepts), len(t.writes), err)
	if err != nil {
		w.failed(t, err)
		return err
	}
	failpoint.Hit(failpoint.Committed)
	if b.RecoverFrom != 0 {
		w.marked, w.accepted = b.RecoverFrom, !w.ledger.empty()
	}
	w.accepted = w.accepted || len(t.accepts) > 0
	w.putBack(t.back)
	w.tookRollups()
	for _, a := range t.accepts {
		if a.err = a.sub.Err; a.err != nil {
			w.e.unplace(a)
		} else {
			w.e.dispatch(a)
		}
		w.answer(a)
	}
	w.committed(t.writes)
	clear(b.Submissions)
	clear(b.Outcomes)
	failpoint.Hit(failpoint.Answered)
	return nil
}

// assemble makes the batch; false: there is nothing to write.
func (w *writer) assemble(t *taken) bool {
	b := &w.batch
	b.Submissions, b.Outcomes, b.Wait, b.Rollups = b.Submissions[:0], b.Outcomes[:0], b.Wait[:0], b.Rollups[:0]
	b.Trim, b.RecoverFrom, b.Now = nil, 0, w.e.now()
	w.place(t)
	if t.mark {
		w.beginRollups()
	}
	w.took = w.took[:0]
	w.late = w.late || t.mark && t.whole
	if w.added = !w.added || len(t.accepts) == 0; w.added { // who publishes waits for them every other time
		w.takeRollups()
		w.addSpilled(t)
		w.addLate(t)
	}
	if t.mark && t.whole {
		failpoint.Hit(failpoint.Mark)
		if m := w.ledger.mark(t.writes, w.next()); w.moves(m) {
			b.RecoverFrom = m
			w.last = max(w.last, m-1) // nothing is accepted below the mark, also when the clock goes back
		}
		failpoint.Hit(failpoint.Marked)
	}
	if len(t.accepts) == 0 && len(t.writes) == 0 && len(b.Rollups) == 0 && b.RecoverFrom == 0 {
		return false
	}
	for _, a := range t.accepts {
		for i := range a.sub.Events {
			w.last = w.next()
			a.sub.Events[i].Seq = w.last
		}
		b.Submissions = append(b.Submissions, &a.sub)
	}
	for _, x := range t.writes {
		switch {
		case x.outcome != nil:
			b.Outcomes = append(b.Outcomes, *x.outcome)
		case x.trim != nil:
			b.Trim = x.trim
		default:
			b.Wait = append(b.Wait, x.wait)
		}
	}
	return true
}

// place finds places for what the commit accepts, and puts back what a tenant has too much of: when a request has many
// deliveries, those after it wait until their rows are written. Others do not wait for all of that.
func (w *writer) place(t *taken) {
	if t.state >= writerClosing {
		w.spills = nil // the next start finds them, as it does what is in memory
	}
	if len(t.accepts) == 0 {
		return
	}
	rows := addedRows
	fan := map[string]int{}
	for i := range w.spills {
		fan[w.spills[i].tenant] = commitFan
	}
	now := t.accepts[:0:0]
	for _, a := range t.accepts {
		if fan[a.sub.Tenant] >= commitFan {
			t.back = append(t.back, a)
			continue
		}
		rows += len(a.sub.Events) // a row costs what the event does
		fan[a.sub.Tenant] += w.e.place(a, &rows)
		now = append(now, a)
	}
	t.accepts = now
}

// putBack puts requests first in line for the next commit.
func (w *writer) putBack(list []*accepted) {
	if len(list) > 0 {
		w.mu.Lock()
		w.accepts = slices.Concat(list, w.accepts)
		w.mu.Unlock()
	}
}

// spill notes that an event's spilled deliveries are to be written with the coming commits.
func (w *writer) spill(tenant string, o *owed) {
	if len(o.spilled) == 0 {
		return
	}
	for i := range w.spills {
		if s := &w.spills[i]; s.tenant == tenant {
			s.list = append(s.list, o)
			return
		}
	}
	w.spills = append(w.spills, spills{tenant, []*owed{o}})
}

// addSpilled adds waiting rows for deliveries that have no place in memory, of one tenant; its next turn comes after
// the others'.
func (w *writer) addSpilled(t *taken) {
	if len(w.spills) == 0 {
		return
	}
	s := w.spills[0]
	w.spills = w.spills[1:]
	for n := min(addedRows, commitRows-len(t.writes)); n > 0 && len(s.list) > 0; n-- {
		o := s.list[0]
		h := o.spilled[0]
		key := store.DeliveryKey{Webhook: h.num, Event: o.seq}
		row := store.Waiting{Tenant: s.tenant, DeliveryKey: key, DueAt: w.e.firstDue(o.seq)}
		t.writes = append(t.writes, writing{wait: row, hook: h, spilled: o})
		if o.spilled = o.spilled[1:]; len(o.spilled) == 0 {
			s.list = s.list[1:]
		}
	}
	if len(s.list) > 0 {
		w.spills = append(w.spills, s)
	}
}

// moves tells whether the mark is worth writing: while nothing is accepted, a flush a minute is enough.
func (w *writer) moves(m store.Seq) bool {
	return m > w.marked && (w.accepted || m.Time().Sub(w.marked.Time()) >= time.Minute)
}

// addLate adds waiting rows for deliveries that take long, so that one slow webhook does not hold the mark back.
func (w *writer) addLate(t *taken) {
	if !w.late {
		return
	}
	var list []*delivery
	list, w.late = w.ledger.late(store.SeqAt(w.e.now().Add(-w.e.cfg.LateAfter)), addedRows)
	var rows []writing
	for _, d := range list {
		if row, ok := d.hook.late(d); ok {
			rows = append(rows, writing{wait: row, hook: d.hook, delivery: d})
		}
	}
	// Before the rows that came later: one of them may be the outcome of a delivery that was handed over meanwhile.
	t.writes = slices.Concat(rows, t.writes)
}

// next is a Seq greater than every one given so far.
func (w *writer) next() store.Seq { return w.e.cfg.Journal.Next(w.last) }

// committed does what follows from rows that are on record.
func (w *writer) committed(list []writing) {
	var size int64
	for i := range list {
		x := &list[i]
		size += x.size()
		if x.delivery != nil {
			w.ledger.settle(x.delivery)
			x.hook.committed(x.delivery, x.leaves)
		}
		if x.spilled != nil {
			w.ledger.wrote(x.spilled)
		}
		if x.hook != nil {
			x.hook.wrote(x)
		}
		if o := x.outcome; o != nil {
			w.count(o)
			if w.e.cfg.Settled != nil {
				w.e.cfg.Settled(o, x.delivery.event)
			}
		}
		if x.done != nil {
			x.done <- nil
		}
	}
	w.ease(size)
}

// fatal tells whether nothing can be written after err.
func fatal(err error) bool { return errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrFenced) }

// answered tells whether somebody waits for the row, who is told when it could not be written.
func (x writing) answered() bool { return x.done != nil && x.outcome == nil }

// failed answers the publishers, and whoever waits for a row, with the error and keeps the other rows for the next try.
func (w *writer) failed(t taken, err error) {
	err = fmt.Errorf("commit to the journal: %w", err)
	broken := fatal(err)
	t.accepts = append(t.accepts, t.back...)
	var keep []writing
	w.mu.Lock()
	if broken {
		w.broken = err
	}
	for _, x := range slices.Concat(t.writes, w.writes) { // those too whose turn would come only after what is kept
		switch {
		case x.answered():
			x.done <- err
		case x.trim == nil:
			keep = append(keep, x)
		}
	}
	w.writes = keep
	w.mu.Unlock()
	for _, a := range t.accepts {
		w.e.unplace(a)
		a.err = err
	}
	if broken {
		w.e.log.Error("nothing can be written any more", "error", err)
		w.e.cfg.Broken(err)
	} else {
		w.e.log.Warn("nothing could be written", "events_refused", len(t.accepts), "rows_kept", len(keep), "error", err)
	}
	for _, a := range t.accepts {
		w.answer(a)
	}
	if !broken && len(t.accepts) == 0 && t.state < writerClosing {
		w.pause()
	}
}

// pause gives the disk a moment when only what is kept is left to write.
func (w *writer) pause() {
	t := time.NewTimer(retryWriteAfter)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-w.e.running.Done():
			return
		case <-w.wake:
			w.mu.Lock()
			news := len(w.accepts) > 0 || slices.ContainsFunc(w.writes, writing.answered)
			w.mu.Unlock()
			if news {
				return
			}
		}
	}
}
