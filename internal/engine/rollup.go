package engine

import (
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// count adds an outcome that is on record to the webhook's numbers. They are committed about once a second with the mark,
// whatever the number of webhooks and outcomes is, so that they cost next to nothing; a node that is killed loses up to a
// second of them, and of the record nothing.
func (w *writer) count(o *store.Outcome) {
	if w.e.cfg.NoRollups {
		return
	}
	at := o.At.Add(o.Duration)
	key := rollupKey{o.Webhook, at.Unix() / 60}
	r := w.rollups[key]
	if r == nil {
		r = &store.Rollup{Tenant: o.Tenant, Webhook: o.Webhook, At: at.UTC().Truncate(time.Minute)}
		w.rollups[key] = r
	}
	r.Add(o)
}

// takeRollups puts what was counted into the batch, with the totals of the tenants.
func (w *writer) takeRollups() {
	type total struct {
		tenant string
		minute int64
	}
	var totals map[total]*store.Rollup
	for key, r := range w.rollups {
		w.batch.Rollups = append(w.batch.Rollups, *r)
		if totals == nil {
			totals = map[total]*store.Rollup{}
		}
		t := totals[total{r.Tenant, key.minute}]
		if t == nil {
			t = &store.Rollup{Tenant: r.Tenant, At: r.At}
			totals[total{r.Tenant, key.minute}] = t
		}
		t.Sum(&r.Counts)
	}
	for _, t := range totals {
		w.batch.Rollups = append(w.batch.Rollups, *t)
	}
}
