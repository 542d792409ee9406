package engine

import (
	"math/rand/v2"
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

// However webhooks come, change and go, the table is the one that a start would make, and whoever reads a former part
// goes on to read what it had.
func TestTableIsWhatAStartWouldMake(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	types, patterns := event.Catalogue(), []string{"**", "qap.investor.*", "qap.investor.advice.*",
		"qap.investor.created"}
	hooks := map[int64]*hook{}
	tab := newTable(nil)
	type reading struct {
		got  []*hook
		want []int64
	}
	nums := func(list []*hook) (out []int64) {
		for _, h := range list {
			out = append(out, h.num)
		}
		return out
	}
	var readings []reading
	for range 2000 {
		num := 1 + random.Int64N(60)
		h := hooks[num]
		if h == nil {
			h = &hook{num: num, tenant: []string{"a", "b"}[num%2]}
			hooks[num] = h
		}
		w := &webhook.Webhook{Num: num, Tenant: h.tenant, EventTypes: []string{patterns[random.IntN(len(patterns))]}}
		if random.IntN(3) == 0 {
			w.DeletedAt = w.DeletedAt.AddDate(1, 0, 0)
		}
		wants, err := matcher{}.wants(w.EventTypes)
		if err != nil {
			t.Fatal(err)
		}
		h.conf.Store(&conf{webhook: w, wants: wants})
		tab.set(h)
		var all []*hook
		for _, h := range hooks {
			all = append(all, h)
		}
		fresh := newTable(all)
		for tenant, p := range fresh.tenants {
			got := tab.tenants[tenant]
			if !slices.Equal(nums(got.all), nums(p.all)) {
				t.Fatalf("%s has %v, want %v", tenant, nums(got.all), nums(p.all))
			}
			for i := range types {
				if !slices.Equal(nums(got.rows[i]), nums(p.rows[i])) {
					t.Fatalf("%s of %s goes to %v, want %v", types[i].Name, tenant, nums(got.rows[i]), nums(p.rows[i]))
				}
				readings = append(readings, reading{got.rows[i], nums(got.rows[i])})
			}
		}
	}
	for _, r := range readings {
		if !slices.Equal(nums(r.got), r.want) {
			t.Fatalf("a former row has become %v, was %v", nums(r.got), r.want)
		}
	}
}
