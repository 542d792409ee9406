package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// TestChangesAtOnceAreAsOneByOne commits the same random changes of few objects in one batch for one tenant and one by
// one for another: the same are refused, and the same is stored.
func TestChangesAtOnceAreAsOneByOne(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	tenants := []string{"at once", "one by one"}
	for _, id := range tenants {
		if err := db.CreateTenant(ctx, store.Tenant{ID: id, Name: id, CreatedAt: time.UnixMilli(1)}); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for seed := range uint64(30) {
		var lists [2][]*store.Submission
		for i, tenant := range tenants {
			rng := rand.New(rand.NewPCG(seed, 0)) // the same for both
			for range 40 {
				lists[i] = append(lists[i], randomChange(rng, tenant, int(seed)))
			}
		}
		mustCommitChanges(t, db, lists[0]...)
		for _, s := range lists[1] {
			mustCommitChanges(t, db, s)
		}
		for i, s := range lists[0] {
			if !errors.Is(s.Err, lists[1][i].Err) {
				t.Errorf("seed %d: Err of change %d = %v at once, want %v", seed, i, s.Err, lists[1][i].Err)
			}
			if s.Err != nil {
				refused++
			}
		}
		if a, b := objectsOf(t, db, tenants[0]), objectsOf(t, db, tenants[1]); a != b {
			t.Errorf("seed %d: stored is\n%s\nat once, want\n%s", seed, a, b)
		}
	}
	if refused < 200 || refused > 1050 {
		t.Errorf("%d of 1200 changes were refused, want some of each", refused)
	}
}

func mustCommitChanges(t *testing.T, db *DB, list ...*store.Submission) {
	t.Helper()
	if err := db.Commit(context.Background(), &store.Batch{Submissions: list}); err != nil {
		t.Fatalf("Commit = %v, want nil", err)
	}
}

// randomChange makes, changes, expects, counts or removes one of a few objects, at a version that may be the stored
// one.
func randomChange(rng *rand.Rand, tenant string, set int) *store.Submission {
	object := func(kind string, n int) store.Object {
		at := time.UnixMilli(1).UTC()
		id := fmt.Sprintf("%s-%d-%d", kind, set, rng.IntN(n))
		return store.Object{Tenant: tenant, ID: id, Version: 1 + rng.Int64N(8)/5, CreatedAt: at, UpdatedAt: at}
	}
	advisor, investor, session := object("a", 2), object("i", 3), object("s", 3)
	expected := func(kind store.Kind, o store.Object, children int) store.Expected {
		return store.Expected{Kind: kind, ID: o.ID, Version: 1 + rng.Int64N(4)/3, Children: children}
	}
	c := &store.Change{}
	switch rng.IntN(9) {
	case 0, 1:
		c.Advisor = &store.Advisor{Object: advisor}
	case 2, 3, 4:
		c.Expect = []store.Expected{expected(store.KindAdvisor, advisor, -1)} // its investor's key in the schema
		c.Investor = &store.Investor{Object: investor, AdvisorID: advisor.ID, Type: "person"}
	case 5, 6:
		c.Expect = []store.Expected{expected(store.KindInvestor, investor, -1)}
		c.Session = &store.AdviceSession{Object: session, InvestorID: investor.ID}
	case 7:
		c.Expect = []store.Expected{expected(store.KindInvestor, investor, 0)}
		c.Remove = []store.Removed{{Kind: store.KindInvestor, ID: investor.ID}}
	case 8:
		c.Expect = []store.Expected{expected(store.KindInvestor, investor, rng.IntN(3))}
	}
	if rng.IntN(8) == 0 {
		c.Key = &store.IdempotencyKey{Key: fmt.Sprintf("k-%d-%d", set, rng.IntN(3)), CreatedAt: time.UnixMilli(1)}
	}
	return &store.Submission{Tenant: tenant, Change: c}
}

// objectsOf is all that the tenant has, as text.
func objectsOf(t *testing.T, db *DB, tenant string) (text string) {
	t.Helper()
	err := db.pool.QueryRow(t.Context(), `SELECT string_agg(x, ' ' ORDER BY x) FROM (
			SELECT id || '@' || version AS x FROM advisors WHERE tenant = $1
			UNION ALL SELECT id || '@' || version || '<' || advisor FROM investors WHERE tenant = $1
			UNION ALL SELECT id || '@' || version || '<' || investor FROM advice_sessions WHERE tenant = $1
			UNION ALL SELECT key FROM idempotency_keys WHERE tenant = $1) AS all_of_it`, tenant).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
