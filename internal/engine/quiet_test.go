package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// quiet is a webhook of an engine in which nothing runs by itself and no worker starts.
func quiet(t *testing.T, cfg Config) *hook {
	t.Helper()
	if cfg.Journal == nil {
		cfg.Journal = storetest.NewMemory()
	}
	e := New(cfg)
	e.places.close()
	return addHook(t, e, 1, "firm")
}

// addHook is a webhook that wants every event.
func addHook(t *testing.T, e *Engine, num int64, tenant string) *hook {
	t.Helper()
	w := &webhook.Webhook{Num: num, ID: uuid.NewString(), Tenant: tenant, URL: "https://receiver.example/",
		Method:     webhook.POST,
		EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true, Timeout: time.Second, Version: 1}
	if err := e.SetWebhook(w); err != nil {
		t.Fatal(err)
	}
	return e.table.Load().byNum(num)
}

// queued puts so many deliveries into the queue, of the Seqs from from on.
func queued(h *hook, from store.Seq, n int) (list []*delivery) {
	for i := range n {
		d := &delivery{key: store.DeliveryKey{Webhook: h.num, Event: from + store.Seq(i)}, tenant: h.tenant, hook: h,
			event: &event.Event{}}
		h.mu.Lock()
		h.e.memory.add(h, d.weight())
		h.enqueue(d)
		h.mu.Unlock()
		list = append(list, d)
	}
	return list
}

// isReady tells whether the webhook's waiting deliveries are to be looked at, and forgets it.
func (e *Engine) isReady(h *hook) bool {
	found := false
	for x := e.ready.take(); x != nil; x = e.ready.take() {
		found = found || x == h
	}
	return found
}
