package engine

import (
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// place is where a delivery stands with the journal. It only ever goes forward.
type place uint8

const (
	inMemory   place = iota // only memory and the event's own row know of it
	handedOver              // a row of it, an outcome or a waiting row, is in the writer's hands
	committed               // a row of it is on record
)

// owed is an accepted event with the deliveries of it that are not committed.
type owed struct {
	seq        store.Seq
	deliveries []*delivery
	spilled    []*hook // whose deliveries are not in memory and have no row yet
	open       int     // of all of them, those that are not committed
	settling   int     // of those, the ones with a row in the batch that is being made
	late       int     // so many of the deliveries were given by late
}

// newOwed makes the deliveries of an event to the webhooks.
func newOwed(seq store.Seq, tenant string, ev *event.Event, hooks []*hook) *owed {
	list, made := make([]*delivery, len(hooks)), make([]delivery, len(hooks))
	for i, h := range hooks {
		made[i] = delivery{key: store.DeliveryKey{Webhook: h.num, Event: seq}, tenant: tenant, hook: h, event: ev}
		list[i] = &made[i]
	}
	return &owed{seq: seq, deliveries: list}
}

// ledger has what only memory knows of, in the order of acceptance. The recovery mark is computed from it and from the
// batch that carries the mark, and from nothing else. Only the writer's goroutine uses it.
type ledger struct {
	list []*owed // from head on
	head int
}

// enter notes an accepted event; its Seq is greater than those before.
func (l *ledger) enter(o *owed) {
	o.open = len(o.deliveries) + len(o.spilled)
	for _, d := range o.deliveries {
		d.owed = o
	}
	l.list = append(l.list, o)
}

// settle notes that a row of the delivery is committed.
func (l *ledger) settle(d *delivery) {
	o := d.owed
	if o == nil {
		return // it was never in the ledger, or is no longer
	}
	d.owed = nil
	l.wrote(o)
}

// wrote notes that a row of one delivery more is committed.
func (l *ledger) wrote(o *owed) {
	if o.open--; o.open == 0 {
		o.deliveries = nil
	}
	l.trim()
}

// trim drops what is committed from the front.
func (l *ledger) trim() {
	for l.head < len(l.list) && l.list[l.head].open == 0 {
		l.list[l.head] = nil
		l.head++
	}
	switch {
	case l.head == len(l.list):
		l.list, l.head = l.list[:0], 0
	case l.head >= 1024 && l.head*2 >= len(l.list):
		n := copy(l.list, l.list[l.head:])
		clear(l.list[n:])
		l.list, l.head = l.list[:n], 0
	}
}

// mark is the recovery mark of a batch with these rows: every event below it is committed, or is with the batch. next
// is the smallest Seq that an event accepted later can have.
func (l *ledger) mark(writes []writing, next store.Seq) store.Seq {
	for i := range writes {
		if d := writes[i].delivery; d != nil && d.owed != nil && !d.counted {
			d.counted = true
			d.owed.settling++
		}
		if o := writes[i].spilled; o != nil {
			o.settling++
		}
	}
	for _, o := range l.list[l.head:] {
		if o.open > o.settling {
			next = o.seq
			break
		}
	}
	for i := range writes {
		if d := writes[i].delivery; d != nil && d.counted {
			d.counted = false
			d.owed.settling--
		}
		if o := writes[i].spilled; o != nil {
			o.settling--
		}
	}
	return next
}

// late gives up to limit deliveries of events accepted before the Seq that were not given before; more tells whether
// there are others.
func (l *ledger) late(before store.Seq, limit int) (list []*delivery, more bool) {
	for _, o := range l.list[l.head:] {
		if o.seq >= before {
			break
		}
		for ; o.late < len(o.deliveries); o.late++ {
			d := o.deliveries[o.late]
			if d.owed == nil {
				continue
			}
			if len(list) == limit {
				return list, true
			}
			list = append(list, d)
		}
	}
	return list, false
}

// empty tells whether everything is committed.
func (l *ledger) empty() bool { return l.head == len(l.list) }
