// Package live tells those who watch of attempts as they are put on record. It keeps nothing, and it never holds the
// teller up: who does not keep pace misses some and is told how many. Start at Hub.
package live

import (
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Attempt is one that was put on record.
type Attempt struct {
	store.Outcome
	EventID   uuid.UUID
	EventType string
	Missed    int // before this one
}

// buffered is how many attempts a watcher may be behind.
const buffered = 256

// Hub connects those who tell with those who watch. The zero Hub is ready.
type Hub struct {
	watching atomic.Int32 // so that telling costs nothing while nobody watches

	mu       sync.Mutex
	watchers map[*Watcher]struct{}
}

// Watcher is somebody who watches the attempts of one tenant.
type Watcher struct {
	// C gives the attempts; only the hub sends to it, and nobody closes it.
	C <-chan Attempt

	hub    *Hub
	tenant string
	want   func(*Attempt) bool
	c      chan Attempt
	missed int // guarded by the hub's lock
}

// Watch begins to watch; Close ends it.
func (h *Hub) Watch(tenant string, want func(*Attempt) bool) *Watcher {
	c := make(chan Attempt, buffered)
	w := &Watcher{C: c, hub: h, tenant: tenant, want: want, c: c}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[*Watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	h.watching.Add(1)
	return w
}

// Close ends the watching; safe to call twice.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if _, ok := w.hub.watchers[w]; ok {
		delete(w.hub.watchers, w)
		w.hub.watching.Add(-1)
	}
}

// Tell tells of an attempt. It never waits.
func (h *Hub) Tell(o *store.Outcome, ev *event.Event) {
	if h.watching.Load() == 0 {
		return
	}
	h.Pass(&Attempt{Outcome: *o, EventID: ev.ID, EventType: ev.Type})
}

// Watched tells whether anybody watches.
func (h *Hub) Watched() bool { return h.watching.Load() > 0 }

// Pass hands an attempt to those who want it.
func (h *Hub) Pass(a *Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w.tenant != a.Tenant || !w.want(a) {
			continue
		}
		one := *a
		one.Missed += w.missed
		select {
		case w.c <- one:
			w.missed = 0
		default:
			w.missed += 1 + a.Missed
		}
	}
}
