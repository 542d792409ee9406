package engine

import (
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// firstDue is when a delivery that was never tried is due: when it was accepted, and never later than now, wherever its
// number comes from.
func (e *Engine) firstDue(seq store.Seq) time.Time {
	if at, now := seq.Time(), e.now().UTC().Truncate(time.Millisecond); at.After(now) {
		return now
	} else {
		return at
	}
}

// late gives the waiting row of a delivery that takes long; false: a row of it is on its way already, or nobody needs
// one.
func (h *hook) late(d *delivery) (store.Waiting, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.place != inMemory || h.active[d.key.Event] != d {
		return store.Waiting{}, false
	}
	d.place, d.row, d.due = handedOver, true, h.e.firstDue(d.key.Event)
	return store.Waiting{Tenant: d.tenant, DeliveryKey: d.key, Attempts: d.attempts, DueAt: d.due, Held: true}, true
}

// putBack writes a waiting row for a delivery that is in memory, due at a time, and then forgets it. One that has its
// row and is due as the row says needs no other.
func (h *hook) putBack(d *delivery, due time.Time) {
	h.mu.Lock()
	has := d.row && d.place == committed && d.due.Equal(due)
	d.row = true
	if d.place == inMemory {
		d.place = handedOver
	}
	h.mu.Unlock()
	if has {
		h.forget(d)
		h.dueAt(due) // the webhook may have been enabled meanwhile, and what waits read without this one
		return
	}
	row := store.Waiting{Tenant: d.tenant, DeliveryKey: d.key, Attempts: d.attempts, DueAt: due}
	h.e.writer.write(writing{wait: row, hook: h, delivery: d, leaves: true})
}

// rowDue is when the delivery's waiting row says, or would say, that it is due.
func (h *hook) rowDue(d *delivery) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.row {
		return d.due
	}
	return h.e.firstDue(d.key.Event)
}

// holdQueue writes down what is queued for a webhook that was disabled, and forgets it.
func (h *hook) holdQueue() {
	h.mu.Lock()
	taken := append([]*delivery(nil), h.queue[h.head:]...)
	clear(h.queue)
	h.queue, h.head = h.queue[:0], 0
	h.mu.Unlock()
	for _, d := range taken {
		h.putBack(d, h.rowDue(d))
	}
}

// shed forgets queued deliveries that have their row on record, from the end of the queue, until about so many bytes
// are free for others. They are read again when there is room.
func (h *hook) shed(bytes int64) {
	h.mu.Lock()
	var gone []*delivery
	kept := h.queue[:h.head]
	rest := h.queue[h.head:]
	for i := len(rest) - 1; i > 0 && bytes > 0; i-- { // the first one stays: it is the webhook's turn that others wait for
		if d := rest[i]; d.row && d.place == committed {
			gone = append(gone, d)
			h.drop(d)
			bytes -= d.weight()
			rest[i] = nil
		}
	}
	for _, d := range rest {
		if d != nil {
			kept = append(kept, d)
		}
	}
	clear(h.queue[len(kept):])
	h.queue = kept
	if len(gone) > 0 {
		h.backlog = true
		h.loaded = time.Time{}
	}
	h.mu.Unlock()
	for _, d := range gone {
		h.e.memory.give(h, d.weight())
	}
	if len(gone) > 0 {
		h.e.ready.add(h)
	}
}

// hold keeps the delivery from being loaded; false if it is in memory already, or the engine has stopped.
func (h *hook) hold(ev store.Seq) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.active[ev]; ok || h.stopped {
		return false
	}
	if h.active == nil {
		h.active = map[store.Seq]*delivery{}
	}
	h.active[ev] = nil
	return true
}

func (h *hook) unhold(ev store.Seq) {
	h.mu.Lock()
	if h.active[ev] == nil { // else it came into memory, right after it was accepted
		delete(h.active, ev)
	}
	h.loaded = time.Time{} // its row may have been passed over meanwhile
	h.mu.Unlock()
	h.dueAt(h.e.now())
}

// skip is what Due passes over from a time on: the deliveries in memory that have a waiting row, and those that
// RetryNow holds back. h.mu is held.
func (h *hook) skip(from time.Time) map[store.Seq]struct{} {
	out := map[store.Seq]struct{}{}
	for seq, d := range h.active {
		if d == nil || d.row && !d.due.Before(from) {
			out[seq] = struct{}{}
		}
	}
	return out
}
