package engine

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// loadLimit is how many waiting deliveries of one webhook are read at a time, so that the others get their turn.
const loadLimit = 256

// readyList is the hooks to look at, each once, first come first served.
type readyList struct {
	mu   sync.Mutex
	list []*hook
	in   map[*hook]struct{}
	wake chan struct{} // capacity 1: sent to by add; never closed
}

func (r *readyList) add(h *hook) {
	r.mu.Lock()
	if r.in == nil {
		r.in = map[*hook]struct{}{}
	}
	if _, ok := r.in[h]; !ok {
		r.in[h] = struct{}{}
		r.list = append(r.list, h)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *readyList) take() *hook {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return nil
	}
	h := r.list[0]
	r.list = r.list[1:]
	delete(r.in, h)
	return h
}

// due reads the waiting deliveries whose time has come, a bounded number of each webhook in turn.
func (e *Engine) due() {
	for {
		h := e.ready.take()
		if h == nil {
			select {
			case <-e.running.Done():
				return
			case <-e.ready.wake:
			}
			continue
		}
		if e.running.Err() != nil {
			return
		}
		if err := e.load(e.running, h); err != nil && e.running.Err() == nil {
			e.log.Error("waiting deliveries could not be read", "webhook", h.conf.Load().webhook.ID, "error", err)
			time.AfterFunc(tick, func() { e.ready.add(h) })
		}
	}
}

// load brings due deliveries into the hook's queue.
func (e *Engine) load(ctx context.Context, h *hook) error {
	c := h.conf.Load()
	now := e.now()
	if c.webhook.Deleted() {
		now = farFuture // all of them are cancelled
	} else if !c.webhook.Enabled {
		return nil // held; enabling it comes back here
	}
	h.mu.Lock()
	room := e.cfg.QueueLength - len(h.active) - h.reserved
	if room <= 0 || e.room.Load() <= 0 {
		h.backlog = true // settled comes back here
		stuck := len(h.active) == 0
		h.mu.Unlock()
		if stuck { // the memory is others'; nothing of this hook will settle
			time.AfterFunc(tick/10, func() { e.ready.add(h) })
		}
		return nil
	}
	from := h.loaded
	if !c.webhook.Deleted() {
		h.loaded = now // before the read, so that what is written during it lowers it again
	}
	skip := h.skip(from)
	h.mu.Unlock()

	limit := min(room, loadLimit)
	found, err := e.cfg.Journal.Due(ctx, h.tenant, h.num, from, now, limit, skip)
	if err != nil {
		h.mu.Lock()
		h.loaded = from
		h.mu.Unlock()
		return fmt.Errorf("read due deliveries: %w", err)
	}
	h.mu.Lock()
	for i := range found {
		f := &found[i]
		if _, ok := h.active[f.DeliveryKey.Event]; ok {
			continue
		}
		e.room.Add(-weight(&f.Event))
		h.enqueue(&delivery{key: f.DeliveryKey, tenant: f.Tenant, event: &f.Event, attempts: f.Attempts, stored: true, due: f.DueAt})
	}
	more := len(found) == limit
	if more && found[limit-1].DueAt.Before(h.loaded) {
		h.loaded = found[limit-1].DueAt
	}
	h.backlog = more
	again := more && len(h.active) <= e.cfg.QueueLength/2
	h.mu.Unlock()
	if again {
		e.ready.add(h)
	}
	if !more && !c.webhook.Deleted() {
		return e.schedule(ctx, h)
	}
	return nil
}

// adopt looks at the waiting deliveries that other nodes wrote or left behind.
func (e *Engine) adopt() {
	nums, err := e.cfg.Journal.Unclaimed(e.running)
	if err != nil {
		if e.running.Err() == nil {
			e.log.Warn("the deliveries of other nodes could not be read", "error", err)
		}
		return
	}
	for _, num := range nums {
		if h := e.table.Load().byNum[num]; h != nil {
			h.again()
		}
	}
}

// schedule sets the hook's timer to the earliest delivery that waits and is not in memory.
func (e *Engine) schedule(ctx context.Context, h *hook) error {
	h.mu.Lock()
	from := h.loaded
	skip := h.skip(from)
	h.mu.Unlock()
	at, ok, err := e.cfg.Journal.NextDue(ctx, h.tenant, h.num, from, skip)
	if err != nil {
		return fmt.Errorf("read the next due delivery: %w", err)
	}
	if ok {
		h.dueAt(at)
	}
	return nil
}
