package engine

import (
	"slices"
	"testing"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Which webhooks an event is owed to: by tenant, type and owner, deleted ones never, ascending; also as they change.
func TestMatch(t *testing.T) {
	e := quiet(t, Config{}).e
	types := event.Catalogue()
	first, last := types[0].Name, types[len(types)-1].Name
	change := func(num int64, tenant string, version int64, f func(w *webhook.Webhook)) {
		t.Helper()
		w := *addHook(t, New(Config{}), num, tenant).conf.Load().webhook
		w.Version = version
		f(&w)
		if err := e.SetWebhook(&w); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(patterns ...string) func(w *webhook.Webhook) {
		return func(w *webhook.Webhook) { w.EventTypes = patterns }
	}
	change(1, "firm", 2, wants(last))
	change(5, "firm", 1, wants(first, last))
	change(3, "firm", 1, wants(first))
	change(4, "firm", 1, func(w *webhook.Webhook) { w.OwnerID = "o" })
	change(2, "other", 1, wants("**"))
	check := func(tenant, typ, owner, objectOwner string, want ...int64) {
		t.Helper()
		var got []int64
		for _, h := range e.table.Load().match(nil, tenant, &event.Event{Type: typ, OwnerID: owner,
			ObjectOwnerID: objectOwner}) {
			got = append(got, h.num)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s of %s, owners %q and %q: %v, want %v", typ, tenant, owner, objectOwner, got, want)
		}
	}
	check("firm", first, "", "", 3, 5)
	check("firm", last, "", "", 1, 5)
	check("firm", first, "o", "", 3, 4, 5)
	check("firm", first, "x", "o", 3, 4, 5)
	check("firm", first, "x", "x", 3, 5)
	check("other", first, "", "", 2)
	check("nobody", first, "", "")
	check("firm", "qap.unheard.of", "o", "")
	change(3, "firm", 1, wants(last)) // the same version again
	check("firm", last, "", "", 1, 3, 5)
	change(3, "firm", 0, wants(first)) // an older one, overtaken
	check("firm", last, "", "", 1, 3, 5)
	change(3, "firm", 2, func(w *webhook.Webhook) { w.DeletedAt = w.DeletedAt.AddDate(2026, 0, 0) })
	check("firm", last, "", "", 1, 5)

	all := e.table.Load().list()
	again := newTable(all)
	for _, tenant := range []string{"firm", "other", "nobody"} {
		for _, typ := range types {
			ev := event.Event{Type: typ.Name, OwnerID: "o"}
			if a, b := e.table.Load().match(nil, tenant, &ev), again.match(nil, tenant, &ev); !slices.Equal(a, b) {
				t.Errorf("%s of %s: a table made anew says otherwise", typ.Name, tenant)
			}
		}
	}
	if len(all) != 5 {
		t.Errorf("%d webhooks are listed, want 5", len(all))
	}
}
