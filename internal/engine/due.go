package engine

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// loadLimit is how many waiting deliveries of one webhook are read at a time, so that the others get their turn.
const loadLimit = 256

// slowLoad is the same of a webhook that is paced: thousands of them cost little.
const slowLoad = 8

// firstLoad is the same while it is not known how large they are.
const firstLoad = 32

var farFuture = time.UnixMilli(math.MaxInt64 >> store.SeqShift).UTC()

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
			e.later(h, tick)
		}
	}
}

// load brings due deliveries into the hook's queue.
func (e *Engine) load(ctx context.Context, h *hook) error {
	c := h.conf.Load()
	// Finer times than rows have would miss what is due in this millisecond.
	now := e.now().UTC().Truncate(time.Millisecond)
	if c.webhook.Deleted() {
		now = farFuture // all of them are cancelled
	} else if !c.webhook.Enabled {
		return nil // held; enabling it comes back here
	}
	h.mu.Lock()
	limit := h.room()
	if limit <= 0 {
		h.backlog = true // forget comes back here
		stuck := len(h.active) == 0
		h.mu.Unlock()
		if stuck { // the memory is others', and nothing of this hook will settle
			e.later(h, tick/10)
		}
		return nil
	}
	from := h.loaded
	if !c.webhook.Deleted() {
		h.loaded = now // before the read, so that what is written during it lowers it again
	}
	skip := h.skip(from)
	h.gone = map[store.Seq]struct{}{}
	h.mu.Unlock()

	failpoint.Hit(failpoint.Due)
	found, err := e.cfg.Journal.Due(ctx, h.tenant, h.num, from, now, limit, skip)
	if err != nil {
		h.mu.Lock()
		if from.Before(h.loaded) { // else somebody asked for an even earlier look meanwhile
			h.loaded = from
		}
		h.gone = nil
		h.mu.Unlock()
		return fmt.Errorf("read due deliveries: %w", err)
	}
	failpoint.Hit(failpoint.Dued)
	more := h.take(found, limit)
	if !more && !c.webhook.Deleted() {
		return e.schedule(ctx, h)
	}
	return nil
}

// room is how many waiting deliveries can be read now: as many as fit the queue and the webhook's part of the memory,
// going by the size of those that were read last. h.mu is held.
func (h *hook) room() int {
	n := min(h.e.cfg.QueueLength-len(h.active)-h.reserved, loadLimit)
	if h.pace.slow() || h.pace.holding() > 0 {
		if n = min(n, slowLoad); h.head < len(h.queue) {
			return 0 // it has enough to do
		}
	}
	mean := h.mean
	if mean == 0 {
		mean, n = weight(&event.Event{}), min(n, firstLoad)
	}
	if !h.e.memory.would(h, mean) {
		return 0
	}
	return min(n, max(1, int(h.e.memory.part(h)/mean)))
}

// take queues what was read, as far as there is memory for it, and tells whether more may be due.
func (h *hook) take(found []store.Due, limit int) (more bool) {
	h.mu.Lock()
	more = len(found) == limit
	next := h.loaded // where the next read begins
	if more {
		next = found[limit-1].DueAt
	}
	var sum int64
	taken, ask := 0, false
	for i := range found {
		f := &found[i]
		_, here := h.active[f.DeliveryKey.Event]
		if _, gone := h.gone[f.DeliveryKey.Event]; here || gone {
			continue
		}
		d := stored(h, f)
		sum += d.weight()
		h.mean = sum / int64(taken+1)
		if !h.e.memory.take(h, d.weight()) {
			more, next = true, f.DueAt
			break
		}
		taken++
		ask = h.enqueue(d)
	}
	if next.Before(h.loaded) {
		h.loaded = next
	}
	h.backlog, h.gone = more, nil
	again := more && taken > 0 && len(h.active) <= h.e.cfg.QueueLength/2
	stuck := more && len(h.active) == 0
	h.mu.Unlock()
	if ask {
		h.askWorker()
	}
	if again {
		h.e.ready.add(h)
	} else if stuck {
		h.e.later(h, tick/10)
	}
	return more
}

// later has the hook looked at after a while, unless it will be already: each call that had its own timer would go on
// for as long as what it waits for lasts, and all that come meanwhile beside it.
func (e *Engine) later(h *hook, d time.Duration) {
	if h.coming.Swap(true) {
		return
	}
	time.AfterFunc(d, func() {
		h.coming.Store(false)
		e.ready.add(h)
	})
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
