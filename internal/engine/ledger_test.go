package engine

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// entered is an event with so many deliveries, in the ledger.
func entered(l *ledger, seq store.Seq, deliveries, spilled int) *owed {
	hooks := make([]*hook, deliveries)
	for i := range hooks {
		hooks[i] = &hook{num: int64(i + 1), tenant: "firm"}
	}
	o := newOwed(seq, "firm", &event.Event{}, hooks)
	o.spilled = make([]*hook, spilled)
	l.enter(o)
	return o
}

// Against a plain model: the mark is the first event that has a delivery without a row, on record or in the batch; late
// gives each open delivery once, so many at a time.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		next := store.Seq(1)
		open := map[store.Seq][]*delivery{} // the model
		spilled := map[*owed]int{}          // of each event, those without a row
		given := map[*delivery]bool{}
		pick := func() (d *delivery) {
			var all []*delivery
			for seq := range next {
				all = append(all, open[seq]...)
			}
			if len(all) == 0 {
				return nil
			}
			return rapid.SampledFrom(all).Draw(t, "delivery")
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				n := rapid.IntRange(0, 2).Draw(t, "spilled")
				o := entered(&l, next, rapid.IntRange(max(0, 1-n), 3).Draw(t, "deliveries"), n)
				open[next] = slices.Clone(o.deliveries)
				if n > 0 {
					spilled[o] = n
				}
				next++
			case 1, 2:
				if d := pick(); d != nil {
					l.settle(d)
					l.settle(d) // a second row of it changes nothing
					seq := d.key.Event
					open[seq] = slices.DeleteFunc(open[seq], func(x *delivery) bool { return x == d })
				}
			case 5:
				for o := range spilled {
					l.wrote(o)
					if spilled[o]--; spilled[o] == 0 {
						delete(spilled, o)
					}
				}
			case 3:
				var rows []writing
				with := map[*delivery]bool{}
				for range rapid.IntRange(0, 4).Draw(t, "rows") {
					if d := pick(); d != nil {
						rows, with[d] = append(rows, writing{delivery: d}, writing{},
							writing{delivery: &delivery{}}), true
					}
				}
				want := next
				for o, n := range spilled {
					written := rapid.IntRange(0, n).Draw(t, "spilled rows")
					rows = append(rows, slices.Repeat([]writing{{spilled: o}}, written)...)
					if written < n {
						want = min(want, o.seq)
					}
				}
				for seq := next - 1; seq > 0; seq-- {
					if slices.ContainsFunc(open[seq], func(d *delivery) bool { return !with[d] }) {
						want = min(want, seq)
					}
				}
				for range 2 { // it leaves nothing behind
					if got := l.mark(rows, next); got != want {
						t.Fatalf("mark = %d, want %d", got, want)
					}
				}
			case 4:
				before := store.Seq(rapid.Int64Range(1, int64(next)).Draw(t, "before"))
				limit := rapid.IntRange(1, 5).Draw(t, "limit")
				var want []*delivery
				more := false
				for seq := store.Seq(1); seq < before; seq++ {
					for _, d := range open[seq] {
						switch {
						case given[d]:
						case len(want) == limit:
							more = true
						default:
							given[d] = true
							want = append(want, d)
						}
					}
				}
				if list, m := l.late(before, limit); !slices.Equal(list, want) || m != more {
					t.Fatalf("late = %d deliveries, more %v, want %d, %v", len(list), m, len(want), more)
				}
			}
			left := len(spilled) > 0
			for _, list := range open {
				left = left || len(list) > 0
			}
			if l.empty() == left {
				t.Fatalf("empty = %v", l.empty())
			}
		}
	})
}

// What is settled is let go of: the list is cut when half of it, and at least 1024, is done.
func TestLedgerLetsGo(t *testing.T) {
	for _, c := range []struct{ entered, settled, head, length int }{
		{3000, 1023, 1023, 3000},
		{2046, 1023, 1023, 2046},
		{2048, 1023, 1023, 2048},
		{2048, 1024, 0, 1024},
		{2049, 1024, 1024, 2049},
		{2049, 1025, 0, 1024},
		{3000, 1499, 1499, 3000},
		{3000, 1500, 0, 1500},
		{10, 9, 9, 10},
		{10, 10, 0, 0},
	} {
		var l ledger
		var all []*owed
		for i := range c.entered {
			all = append(all, entered(&l, store.Seq(i+1), 1, 0))
		}
		for _, o := range all[:c.settled] {
			l.settle(o.deliveries[0])
		}
		if l.head != c.head || len(l.list) != c.length {
			t.Errorf("%d of %d settled: head %d of %d, want %d of %d", c.settled, c.entered, l.head,
				len(l.list), c.head,
				c.length)
		}
		want := store.Seq(c.settled + 1)
		if got := l.mark(nil, store.Seq(c.entered+1)); got != want {
			t.Errorf("%d of %d settled: mark = %d, want %d", c.settled, c.entered, got, want)
		}
	}
}
