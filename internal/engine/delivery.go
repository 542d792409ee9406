package engine

import (
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// delivery is one event owed to one webhook, in memory.
type delivery struct {
	key      store.DeliveryKey
	tenant   string
	hook     *hook
	event    *event.Event
	attempts int // made so far

	// Guarded by the hook's lock.
	place place
	row   bool      // it has a waiting row, or one is on its way to the journal before any outcome
	due   time.Time // of that row

	// Only the writer's goroutine uses these.
	owed    *owed // its event's entry in the ledger; nil: it is not in the ledger
	counted bool  // by the mark that is being computed
}

// weight is what a delivery holds in memory, bytes, roughly.
func (d *delivery) weight() int64 { return weight(d.event) }

// weight is what an event costs in memory, bytes, roughly.
func weight(ev *event.Event) int64 { return int64(len(ev.Data)) + 512 }

// stored is a delivery that was read from its waiting row.
func stored(h *hook, f *store.Due) *delivery {
	return &delivery{key: f.DeliveryKey, tenant: f.Tenant, hook: h, event: &f.Event, attempts: f.Attempts,
		place: committed, row: true, due: f.DueAt}
}
