package engine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// delivery is one event owed to one webhook, in memory.
type delivery struct {
	key      store.DeliveryKey
	tenant   string
	event    *event.Event
	attempts int       // made so far
	stored   bool      // it has a waiting row, or one is in the writer's hands; guarded by the hook's lock
	due      time.Time // of the waiting row that was read, or that was written because the delivery was late
}

// conf is a webhook as the engine uses it; replaced whole when the webhook changes.
type conf struct {
	webhook *webhook.Webhook
	target  *attempt.Target
	wants   []bool // by index of the event type in the catalogue
}

// hook is a webhook's bounded queue and its workers.
type hook struct {
	e      *Engine
	num    int64
	tenant string
	conf   atomic.Pointer[conf]

	mu       sync.Mutex
	queue    []*delivery             // from head on, those that no worker has taken
	head     int                     //
	active   map[store.Seq]*delivery // queued, under way, or waiting for their commit; nil value: held back by RetryNow
	reserved int                     // places promised to events that are being committed
	workers  int
	loaded   time.Time   // waiting deliveries due before are in memory; new ones that are not lower it
	backlog  bool        // more waiting deliveries are due than fit
	timer    *time.Timer // fires when the next waiting delivery is due
	timerAt  time.Time   // zero: no timer is set
	stopped  bool
}

func (e *Engine) newHook(w *webhook.Webhook) (*hook, error) {
	h := &hook{e: e, num: w.Num, tenant: w.Tenant, active: map[store.Seq]*delivery{}}
	return h, h.configure(w)
}

// configure takes over a changed webhook.
func (h *hook) configure(w *webhook.Webhook) error {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	c := &conf{webhook: w, target: t}
	types := event.Catalogue()
	c.wants = make([]bool, len(types))
	for _, s := range w.EventTypes {
		p, err := event.ParsePattern(s)
		if err != nil {
			return fmt.Errorf("prepare webhook %s: %w", w.ID, err)
		}
		for i := range types {
			c.wants[i] = c.wants[i] || p.Match(types[i].Name)
		}
	}
	h.conf.Store(c)
	if !w.Enabled && !w.Deleted() {
		h.holdQueue()
	}
	h.mu.Lock()
	h.backlog, h.loaded = true, time.Time{}
	h.mu.Unlock()
	h.e.ready.add(h)
	return nil
}

// open tells whether attempts are made now.
func (c *conf) open() bool { return c.webhook.Enabled && !c.webhook.Deleted() }

// reserve promises a place in the queue. False: it is full, or the webhook is disabled. While there is a backlog, new
// events get half of the queue and the backlog the rest: so both move, and when the backlog is gone nothing is spilled.
func (h *hook) reserve(size int64) bool {
	if !h.conf.Load().open() {
		return false
	}
	if h.e.room.Add(-size) < 0 {
		h.e.room.Add(size)
		return false
	}
	h.mu.Lock()
	limit := h.e.cfg.QueueLength
	if h.backlog {
		limit = (limit + 1) / 2
	}
	ok := !h.stopped && len(h.active)+h.reserved < limit
	if ok {
		h.reserved++
	}
	h.mu.Unlock()
	if !ok {
		h.e.room.Add(size)
	}
	return ok
}

func (h *hook) unreserve(size int64) {
	h.mu.Lock()
	h.reserved--
	h.mu.Unlock()
	h.e.room.Add(size)
}

// push fills a reserved place.
func (h *hook) push(d *delivery) {
	h.mu.Lock()
	h.reserved--
	h.enqueue(d)
	h.mu.Unlock()
}

// enqueue adds d and sees to it that a worker comes; h.mu is held, and d's size is taken off the room already.
func (h *hook) enqueue(d *delivery) {
	h.active[d.key.Event] = d
	h.queue = append(h.queue, d)
	if h.workers < h.e.cfg.Concurrency && !h.stopped {
		h.workers++
		h.e.workers.Go(h.work)
	}
}

// work attempts deliveries until the queue is empty.
func (h *hook) work() {
	for {
		owns := h.e.cfg.Journal.Lease(h.e.attempts) == nil
		h.mu.Lock()
		if !owns || h.stopped || h.head == len(h.queue) {
			h.workers--
			h.mu.Unlock()
			return
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
		h.mu.Unlock()
		h.e.attempt(h, d)
	}
}

// settled forgets a delivery whose outcome is committed.
func (h *hook) settled(d *delivery) {
	h.mu.Lock()
	delete(h.active, d.key.Event)
	refill := h.backlog && len(h.active) <= h.e.cfg.QueueLength/2
	h.mu.Unlock()
	h.e.room.Add(weight(d.event))
	if refill {
		h.e.ready.add(h)
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

// hold keeps the delivery from being loaded; false if it is in memory already.
func (h *hook) hold(ev store.Seq) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.active[ev]; ok {
		return false
	}
	h.active[ev] = nil
	return true
}

func (h *hook) unhold(ev store.Seq) {
	h.mu.Lock()
	delete(h.active, ev)
	h.loaded = time.Time{} // its row may have been passed over meanwhile
	h.mu.Unlock()
	h.dueAt(h.e.now())
}

// again has all waiting deliveries looked at, those too that are due before what was read last.
func (h *hook) again() {
	h.mu.Lock()
	h.loaded = time.Time{}
	h.mu.Unlock()
	h.e.ready.add(h)
}

// holdQueue writes down what is queued for a webhook that was disabled, and forgets it.
func (h *hook) holdQueue() {
	h.mu.Lock()
	taken := append([]*delivery(nil), h.queue[h.head:]...)
	clear(h.queue)
	h.queue, h.head = h.queue[:0], 0
	h.mu.Unlock()
	for _, d := range taken {
		h.e.writer.hold(h, d)
	}
}

// oldest is the smallest Seq of the deliveries that only memory knows of, as far as late: those accepted before
// `late` are handed to the writer for a waiting row. False: there is none.
func (h *hook) oldest(late store.Seq) (store.Seq, bool) {
	h.mu.Lock()
	var least store.Seq
	var rows []*delivery
	for seq, d := range h.active {
		if d == nil || d.stored {
			continue
		}
		if least == 0 || seq < least {
			least = seq
		}
		if seq < late {
			d.stored, d.due = true, seq.Time()
			rows = append(rows, d)
		}
	}
	h.mu.Unlock()
	for _, d := range rows {
		h.e.writer.write(writing{wait: store.Waiting{Tenant: d.tenant, DeliveryKey: d.key, Attempts: d.attempts, DueAt: d.key.Event.Time(), Held: true}})
	}
	return least, least != 0
}

// skip is what Due passes over from a time on: the deliveries in memory that have a waiting row, and those that RetryNow
// holds back. h.mu is held.
func (h *hook) skip(from time.Time) map[store.Seq]struct{} {
	out := map[store.Seq]struct{}{}
	for seq, d := range h.active {
		if d == nil || d.stored && !d.due.Before(from) {
			out[seq] = struct{}{}
		}
	}
	return out
}

// stop keeps workers from taking more.
func (h *hook) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// release drops what is queued; the journal has it.
func (h *hook) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue, h.head, h.active = nil, 0, nil
}
