package live

import (
	"testing"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

func TestHub(t *testing.T) {
	var h Hub
	ev := event.Event{Type: "qap.investor.created"}
	tell := func(tenant string, attempt int) { h.Tell(&store.Outcome{Tenant: tenant, Attempt: attempt}, &ev) }
	tell("a", 1) // nobody watches

	all := h.Watch("a", func(*Attempt) bool { return true })
	odd := h.Watch("a", func(a *Attempt) bool { return a.Attempt%2 == 1 })
	for n := range buffered + 10 {
		tell("a", n)
		tell("b", n)
	}
	if got := <-odd.C; got.Attempt != 1 || got.EventType != ev.Type || got.Missed != 0 {
		t.Errorf("got %+v, want attempt 1 of %s", got, ev.Type)
	}
	for n := range buffered {
		if got := <-all.C; got.Attempt != n || got.Missed != 0 {
			t.Fatalf("got attempt %d with %d missed, want %d with 0", got.Attempt, got.Missed, n)
		}
	}
	tell("a", 1000)
	if got := <-all.C; got.Attempt != 1000 || got.Missed != 10 {
		t.Errorf("got attempt %d with %d missed, want 1000 with 10", got.Attempt, got.Missed)
	}
	odd.Close()
	odd.Close()
	all.Close()
	if h.Watched() {
		t.Error("somebody watches, want nobody")
	}
}
