package engine

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// table finds the webhooks that want an event. What is in a tenant's part is never changed: a new part replaces it,
// which shares the lists that stay as they are, so that a webhook more costs the same however many there are.
type table struct {
	mu      sync.RWMutex
	hooks   map[int64]*hook
	tenants map[string]*tenantHooks
}

// tenantHooks are a tenant's webhooks: all of them, and those that want each event type, by its index in the catalogue;
// ascending by num.
type tenantHooks struct {
	all  []*hook
	rows [][]*hook
}

func newTable(hooks []*hook) *table {
	t := &table{hooks: make(map[int64]*hook, len(hooks)), tenants: map[string]*tenantHooks{}}
	for _, h := range hooks {
		t.hooks[h.num] = h
		p := t.tenants[h.tenant]
		if p == nil {
			p = &tenantHooks{}
			t.tenants[h.tenant] = p
		}
		p.all = append(p.all, h)
	}
	for _, p := range t.tenants {
		slices.SortFunc(p.all, func(a, b *hook) int { return cmp.Compare(a.num, b.num) })
		p.index()
	}
	return t
}

// index makes the rows.
func (p *tenantHooks) index() {
	p.rows = make([][]*hook, len(event.Catalogue()))
	for _, h := range p.all {
		c := h.conf.Load()
		if c.webhook.Deleted() {
			continue
		}
		for i, ok := range c.wants {
			if ok {
				p.rows[i] = append(p.rows[i], h)
			}
		}
	}
}

// set adds a webhook, or takes over what changed of it. One at a time: Engine.tableM is held.
func (t *table) set(h *hook) {
	t.mu.RLock()
	old := t.tenants[h.tenant]
	t.mu.RUnlock()
	if old == nil {
		old = &tenantHooks{rows: make([][]*hook, len(event.Catalogue()))}
	}
	c := h.conf.Load()
	p := &tenantHooks{all: with(old.all, h, true), rows: make([][]*hook, len(old.rows))}
	for i, row := range old.rows {
		p.rows[i] = with(row, h, c.wants[i] && !c.webhook.Deleted())
	}
	t.mu.Lock()
	t.hooks[h.num], t.tenants[h.tenant] = h, p
	t.mu.Unlock()
}

// with is the list, ascending by num, with the hook in it or not. The list stays as it is for whoever reads it: what is
// appended is beyond its end.
func with(list []*hook, h *hook, in bool) []*hook {
	i, found := slices.BinarySearchFunc(list, h.num, func(x *hook, num int64) int { return cmp.Compare(x.num, num) })
	switch {
	case found == in:
		return list
	case !in:
		return slices.Concat(list[:i], list[i+1:])
	case i == len(list):
		return append(list, h)
	}
	return slices.Concat(list[:i], []*hook{h}, list[i:])
}

// byNum finds a webhook; nil: there is none.
func (t *table) byNum(num int64) *hook {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.hooks[num]
}

// list is all webhooks.
func (t *table) list() []*hook {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.hooks))
}

// match appends the hooks that want the event.
func (t *table) match(dst []*hook, tenant string, ev *event.Event) []*hook {
	t.mu.RLock()
	p := t.tenants[tenant]
	t.mu.RUnlock()
	i := event.Index(ev.Type)
	if p == nil || i < 0 || i >= len(p.rows) {
		return dst
	}
	for _, h := range p.rows[i] {
		if o := h.conf.Load().webhook.OwnerID; o == "" || o == ev.OwnerID || o == ev.ObjectOwnerID {
			dst = append(dst, h)
		}
	}
	return dst
}

// Webhooks is how many webhooks a tenant has.
func (e *Engine) Webhooks(tenant string) (n int) {
	for _, h := range e.table.Load().of(tenant) {
		if !h.conf.Load().webhook.Deleted() {
			n++
		}
	}
	return n
}

// SameTarget has the IDs of the tenant's other webhooks with the webhook's URL and method.
func (e *Engine) SameTarget(w *webhook.Webhook) (ids []string) {
	for _, h := range e.table.Load().of(w.Tenant) {
		o := h.conf.Load().webhook
		if !o.Deleted() && o.ID != w.ID && o.Method == w.Method && o.URL == w.URL {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// of are the webhooks of a tenant, those that were deleted too.
func (t *table) of(tenant string) []*hook {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if p := t.tenants[tenant]; p != nil {
		return p.all
	}
	return nil
}
