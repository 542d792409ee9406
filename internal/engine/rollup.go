package engine

import (
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// rollupRows is how many webhooks' numbers one commit takes: those of thousands at once would hold up everything else.
const rollupRows = 16

// count adds an outcome that is on record to the webhook's numbers. They are committed about once a second, whatever
// the number of outcomes is, so that they cost next to nothing; a node that is killed loses that much of them, and of
// the record nothing.
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

// beginRollups has the coming commits take what was counted so far, unless they have not taken what was counted before.
func (w *writer) beginRollups() {
	if len(w.rolling) == 0 {
		w.rollups, w.rolling = w.rolling, w.rollups
	}
}

// takeRollups puts a part of what is to be taken into the batch, with the totals of the tenants.
func (w *writer) takeRollups() {
	if len(w.rolling) == 0 {
		return
	}
	type total struct {
		tenant string
		minute int64
	}
	totals := map[total]*store.Rollup{}
	for key, r := range w.rolling {
		if len(w.took) == rollupRows {
			break
		}
		w.took = append(w.took, key)
		w.batch.Rollups = append(w.batch.Rollups, *r)
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

// tookRollups forgets what was committed.
func (w *writer) tookRollups() {
	for _, key := range w.took {
		delete(w.rolling, key)
	}
}
