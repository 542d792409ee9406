package engine

import (
	"maps"
	"slices"

	"github.com/quantfolio/qhook/internal/event"
)

// table finds the webhooks that want an event. It is never changed: a new one replaces it.
type table struct {
	byNum    map[int64]*hook
	byTenant map[string][][]*hook // by index of the event type in the catalogue; ascending by num
}

func newTable(hooks []*hook) *table {
	t := &table{byNum: make(map[int64]*hook, len(hooks)), byTenant: map[string][][]*hook{}}
	for _, h := range hooks {
		t.byNum[h.num] = h
	}
	for _, h := range hooks {
		if _, ok := t.byTenant[h.tenant]; !ok {
			t.index(h.tenant)
		}
	}
	return t
}

func (t *table) with(h *hook) *table {
	n := &table{byNum: maps.Clone(t.byNum), byTenant: maps.Clone(t.byTenant)}
	n.byNum[h.num] = h
	n.index(h.tenant)
	return n
}

func (t *table) rebuilt(tenant string) *table {
	n := &table{byNum: t.byNum, byTenant: maps.Clone(t.byTenant)}
	n.index(tenant)
	return n
}

func (t *table) index(tenant string) {
	types := event.Catalogue()
	rows := make([][]*hook, len(types))
	for _, num := range slices.Sorted(maps.Keys(t.byNum)) {
		h := t.byNum[num]
		c := h.conf.Load()
		if h.tenant != tenant || c.webhook.Deleted() {
			continue
		}
		for i, ok := range c.wants {
			if ok {
				rows[i] = append(rows[i], h)
			}
		}
	}
	t.byTenant[tenant] = rows
}

// match appends the hooks that want the event.
func (t *table) match(dst []*hook, tenant string, ev *event.Event) []*hook {
	rows := t.byTenant[tenant]
	i := event.Index(ev.Type)
	if i < 0 || i >= len(rows) {
		return dst
	}
	for _, h := range rows[i] {
		if o := h.conf.Load().webhook.OwnerID; o == "" || o == ev.OwnerID || o == ev.ObjectOwnerID {
			dst = append(dst, h)
		}
	}
	return dst
}
