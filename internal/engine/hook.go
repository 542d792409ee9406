package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// conf is a webhook as the engine uses it; replaced whole when the webhook changes.
type conf struct {
	webhook *webhook.Webhook
	target  *attempt.Target
	origin  *origin // of the target
	wants   []bool  // by index of the event type in the catalogue
}

// open tells whether attempts are made now.
func (c *conf) open() bool { return c.webhook.Enabled && !c.webhook.Deleted() }

// hook is a webhook's bounded queue and its workers.
type hook struct {
	e      *Engine
	num    int64
	tenant string
	conf   atomic.Pointer[conf]
	coming atomic.Bool  // later's timer is set
	warned atomic.Int64 // Unix seconds of the last line in the log about a refused target

	mu       sync.Mutex
	queue    []*delivery             // from head on, those that no worker has taken
	head     int                     //
	active   map[store.Seq]*delivery // queued, under way, or waiting for their commit; nil value: held back by RetryNow
	reserved int                     // places promised to events that are being committed
	workers  int
	pace     pace
	loaded   time.Time              // waiting deliveries due before are in memory; new ones that are not lower it
	backlog  bool                   // more waiting deliveries are due than fit
	gone     map[store.Seq]struct{} // left memory while what waits is being read; nil: it is not
	mean     int64                  // size of those read last, bytes; 0: none was read yet
	timer    *time.Timer            // fires when the next waiting delivery is due
	timerAt  time.Time              // zero: no timer is set
	stopped  bool
}

func (e *Engine) newHook(w *webhook.Webhook, m matcher) (*hook, error) {
	h := &hook{e: e, num: w.Num, tenant: w.Tenant}
	return h, h.configure(w, m)
}

// configure takes over a changed webhook.
func (h *hook) configure(w *webhook.Webhook, m matcher) error {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	wants, err := m.wants(w.EventTypes)
	if err != nil {
		return fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	c, was := &conf{webhook: w, target: t, wants: wants}, h.conf.Load()
	if was != nil && was.origin.key == t.Origin() {
		c.origin = was.origin
	} else {
		c.origin = h.e.places.origin(t.Origin())
	}
	h.conf.Store(c)
	if was != nil && was.webhook.URL != w.URL {
		h.mu.Lock()
		h.pace.held = time.Time{} // it was another who asked for it
		h.mu.Unlock()
	}
	h.holdUntil(w.HeldUntil)
	if was != nil && was.origin != c.origin {
		h.e.places.drop(h, was.origin)
	}
	return nil
}

// holdUntil has the webhook wait as its receiver asked, here or of another node; zero: it did not.
func (h *hook) holdUntil(t time.Time) {
	if t.IsZero() {
		return
	}
	wait := t.Sub(h.e.now())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pace.hold(wait)
}

// matcher has what lists of patterns match, by their text: most webhooks of a start have the same.
type matcher map[string][]bool

// wants tells for each event type of the catalogue whether a pattern matches it. It is shared and never changed.
func (m matcher) wants(patterns []string) ([]bool, error) {
	text := strings.Join(patterns, " ")
	if list, ok := m[text]; ok {
		return list, nil
	}
	types := event.Catalogue()
	list := make([]bool, len(types))
	for _, s := range patterns {
		p, err := event.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		for i := range types {
			list[i] = list[i] || p.Match(types[i].Name)
		}
	}
	m[text] = list
	return list, nil
}

// reconfigured does what follows from a change: what a disabled webhook has queued is written down, and what waits is
// looked at with the new settings.
func (h *hook) reconfigured() {
	if w := h.conf.Load().webhook; !w.Enabled && !w.Deleted() {
		h.holdQueue()
	}
	h.mu.Lock()
	h.backlog = true
	h.pace.reset(&h.e.paced)
	h.mu.Unlock()
	h.again()
	h.kick() // it may have waited for a place at a target that it has no longer
}

// reserve promises a place in the queue. False: it is full, or the webhook is disabled. While there is a backlog, new
// events get half of the queue and the backlog the rest: so both move, and when the backlog is gone nothing is spilled.
func (h *hook) reserve(size int64) bool {
	if !h.conf.Load().open() {
		return false
	}
	h.mu.Lock()
	limit := h.e.cfg.QueueLength
	if h.backlog {
		limit = (limit + 1) / 2
	}
	if h.pace.holding() > 0 {
		limit = min(limit, slowLoad) // enough to go on with
	}
	ok := !h.stopped && len(h.active)+h.reserved < limit && h.e.memory.take(h, size)
	if ok {
		h.reserved++
	}
	h.mu.Unlock()
	return ok
}

func (h *hook) unreserve(size int64) {
	h.mu.Lock()
	h.reserved--
	h.mu.Unlock()
	h.e.memory.give(h, size)
}

// push fills a reserved place.
func (h *hook) push(d *delivery) {
	h.mu.Lock()
	h.reserved--
	ask := h.enqueue(d)
	h.mu.Unlock()
	if ask {
		h.askWorker()
	}
}

// enqueue adds d and tells whether a worker should be asked for; h.mu is held, and d's size is taken off the memory
// already.
func (h *hook) enqueue(d *delivery) bool {
	if h.active == nil {
		h.active = map[store.Seq]*delivery{}
	}
	h.active[d.key.Event] = d
	h.queue = append(h.queue, d)
	return h.wantsWorker()
}

// wantsWorker tells whether a worker more would have something to do now; h.mu is held.
func (h *hook) wantsWorker() bool {
	if h.stopped || h.head == len(h.queue) || h.workers >= h.pace.workers(h.e.cfg.Concurrency) {
		return false
	}
	return !h.pace.resting(h)
}

// next takes a delivery out of the queue; nil: there is none, or no more workers should go on. h.mu is held.
func (h *hook) next() *delivery {
	if h.stopped || h.head == len(h.queue) || h.workers > h.pace.workers(h.e.cfg.Concurrency) || h.pace.resting(h) {
		return nil
	}
	d := h.queue[h.head]
	h.queue[h.head] = nil
	if h.head++; h.head == len(h.queue) {
		h.queue, h.head = h.queue[:0], 0
	} else if h.head >= 1024 && h.head*2 >= len(h.queue) {
		n := copy(h.queue, h.queue[h.head:])
		clear(h.queue[n:])
		h.queue, h.head = h.queue[:n], 0
	}
	return d
}

// committed notes that a row of the delivery is on record, and forgets it if it leaves.
func (h *hook) committed(d *delivery, leaves bool) {
	h.mu.Lock()
	d.place = committed
	h.mu.Unlock()
	if leaves {
		h.forget(d)
	}
}

// forget drops a delivery that the journal has all of.
func (h *hook) forget(d *delivery) {
	h.mu.Lock()
	h.drop(d)
	refill := h.backlog && len(h.active) <= h.e.cfg.QueueLength/2
	h.mu.Unlock()
	h.e.memory.give(h, d.weight())
	if refill {
		h.e.ready.add(h)
	}
}

// drop takes the delivery out of memory. A read under way may bring it as it was, so that is passed over. h.mu is held.
func (h *hook) drop(d *delivery) {
	delete(h.active, d.key.Event)
	if h.gone != nil {
		h.gone[d.key.Event] = struct{}{}
	}
}

// wrote looks again at the waiting deliveries when the row may have changed when the next one is due.
func (h *hook) wrote(x *writing) {
	due := x.wait.DueAt
	if x.outcome != nil {
		if due = x.outcome.NextAt; x.outcome.Kind != store.Retry {
			return
		}
	}
	switch w := h.conf.Load().webhook; {
	case x.delivery != nil && !x.leaves: // it is in memory
	case w.Deleted():
		h.again() // to be cancelled, whenever it is due
	case w.Enabled:
		h.dueAt(due)
	}
}

// dueAt makes sure that the waiting deliveries are looked at then.
func (h *hook) dueAt(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Before(h.loaded) {
		h.loaded = at
	}
	if h.stopped || (!h.timerAt.IsZero() && !at.Before(h.timerAt)) {
		return
	}
	wait := at.Sub(h.e.now())
	if wait <= 0 {
		h.backlog = true
		h.e.ready.add(h)
		return
	}
	h.timerAt = at
	if h.timer != nil {
		h.timer.Reset(wait)
		return
	}
	h.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		h.timerAt = time.Time{}
		h.mu.Unlock()
		h.e.ready.add(h)
	})
}

// again has all waiting deliveries looked at, those too that are due before what was read last.
func (h *hook) again() {
	h.mu.Lock()
	h.loaded = time.Time{}
	h.mu.Unlock()
	h.e.ready.add(h)
}

// stop keeps workers from taking more.
func (h *hook) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.timer != nil {
		h.timer.Stop()
	}
	h.pace.stop()
}

// release drops what is queued; the journal has it.
func (h *hook) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue, h.head, h.active = nil, 0, nil
}
