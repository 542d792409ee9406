package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// TestListsLookAtSoMuch: a list of what is rare in a long history looks at a bounded part of it, says how far it came,
// and goes on from there to all that there is.
func TestListsLookAtSoMuch(t *testing.T) {
	t.Parallel()
	const many = 2*lookedAt + 100
	for name, c := range map[string]struct {
		status  store.Status
		usual   store.OutcomeKind
		rare    store.OutcomeKind
		retried bool // what is usual was delivered afterwards
	}{
		"delivered of a dead webhook": {status: store.StatusDelivered, usual: store.Exhausted, rare: store.Delivered},
		"exhausted of what was retried": {status: store.StatusExhausted, usual: store.Exhausted, rare: store.Exhausted,
			retried: true},
		"waiting far behind the mark": {status: store.StatusWaiting, usual: store.Delivered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, db := t.Context(), mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
			mustCreate(t, db, "secret")
			var want []store.Seq
			b := &store.Batch{}
			for n := many; n > 0; n-- {
				s := newSubmission(n, `{}`)
				seq := s.Events[0].Seq
				b.Submissions = append(b.Submissions, s)
				o := store.Outcome{DeliveryKey: store.DeliveryKey{Webhook: 1, Event: seq}, Attempt: 1, Kind: c.usual,
					At: seq.Time()}
				rare := n == 1 || n == lookedAt || n == lookedAt+1 || n == many
				if rare {
					want = append(want, seq)
				}
				switch {
				case rare && c.rare == "":
				case rare:
					o.Kind = c.rare
					b.Outcomes = append(b.Outcomes, o)
				default:
					b.Outcomes = append(b.Outcomes, o)
					if c.retried {
						o.Attempt, o.Kind = 2, store.Delivered
						b.Outcomes = append(b.Outcomes, o)
					}
				}
			}
			if err := db.Commit(ctx, b); err != nil {
				t.Fatal(err)
			}
			f := store.DeliveryFilter{Webhook: 1, Status: c.status}
			var got []store.Seq
			var before store.DeliveryKey
			lists := 0
			for ; lists < 10; lists++ {
				list, next, err := db.ListDeliveries(ctx, "a", f, before, 3)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					got = append(got, r.Event)
					before = r.DeliveryKey
				}
				if len(list) < 3 && next == (store.DeliveryKey{}) {
					break
				} else if len(list) < 3 {
					before = next
				}
			}
			if len(got) != len(want) || got[0] != want[0] || got[3] != want[3] {
				t.Errorf("the lists have %v, want %v", got, want)
			}
			if lists < 2 {
				t.Errorf("%d lists had all, want some that stopped before", lists+1)
			}
			n, more, err := db.CountDeliveries(ctx, "a", f, 2*many)
			if all := c.status != store.StatusWaiting; err != nil || more == all || all && n != len(want) || n == 0 {
				t.Errorf("CountDeliveries = %d, %t, %v, want %d", n, more, err, len(want))
			}
			if n, more, err := db.CountDeliveries(ctx, "a", f, 100); err != nil || !more || n == 0 {
				t.Errorf("CountDeliveries up to 100 = %d, %t, %v, want some, true, nil", n, more, err)
			}
			began := time.Now()
			if _, _, err := db.ListDeliveries(ctx, "a", store.DeliveryFilter{Status: c.status}, store.DeliveryKey{},
				50); err != nil {
				t.Fatal(err)
			}
			t.Logf("a page takes %v", time.Since(began))
		})
	}
}
