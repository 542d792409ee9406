package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

// Removed tests that of a removed tenant no row stays, and of another each. count tells how many rows of a table are of
// one of the tenants: by its column tenant, or else by the number of its webhook.
func Removed(t *testing.T, s store.Store, count func(table, tenant string, webhook int64) int) {
	ctx := context.Background()
	hooks := map[string]int64{}
	for i, tenant := range []string{"a", "b"} {
		mustFirm(t, s, tenant, 10)
		w := mustWebhook(t, s, tenant)
		hooks[tenant] = w.Num
		b := &store.Batch{}
		for n := 1; n <= 20; n++ {
			e := submitted(100*i+n, w.Num)
			e.IDGiven = n%2 == 0
			b.Submissions = append(b.Submissions, submission(tenant, e))
			kind := store.Delivered
			if n%3 == 0 {
				kind = store.Retry
			}
			o := outcome(key(w.Num, 100*i+n), 1, kind)
			o.Tenant = tenant
			b.Outcomes = append(b.Outcomes, o)
		}
		b.Rollups = []store.Rollup{rollup(tenant, 0, 0, 1), rollup(tenant, w.Num, 0, 1)}
		mustCommit(t, s, b)
		parent := store.APIKey{ID: uuid.NewString(), Tenant: tenant, Role: store.Admin, Hash: [32]byte{byte(2 * i)}, CreatedAt: epoch}
		link := store.APIKey{ID: uuid.NewString(), Tenant: tenant, Role: store.Viewer, Hash: [32]byte{byte(2*i + 1)}, CreatedAt: epoch,
			Kind: store.KindLink, Parent: parent.ID, Maker: parent.ID, ExpiresAt: epoch.Add(time.Hour), SignedInFor: time.Hour}
		for _, k := range []store.APIKey{parent, link} {
			if err := s.CreateAPIKey(ctx, k); err != nil {
				t.Fatalf("CreateAPIKey = %v, want nil", err)
			}
		}
		if err := s.AddIdempotencyKey(ctx, tenant, store.IdempotencyKey{Caller: "c", Key: "k", CreatedAt: epoch}); err != nil {
			t.Fatalf("AddIdempotencyKey = %v, want nil", err)
		}
	}
	all := func(tenant string) map[string]int {
		rows := map[string]int{}
		for _, table := range store.Tables {
			rows[table.Name] = count(table.Name, tenant, hooks[tenant])
		}
		return rows
	}
	for table, n := range all("a") {
		if n == 0 {
			t.Errorf("nothing of a is in %s: the test removes nothing there", table)
		}
	}
	others := all("b")
	if _, err := s.RemoveTenant(ctx, "a", 7); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("RemoveTenant of one that has not ended = %v, want ErrNotFound", err)
	}
	ended := store.Tenant{ID: "a", Name: "Firm a", EndedAt: epoch.Add(time.Hour), DeleteAt: epoch.Add(2 * time.Hour)}
	if err := s.UpdateTenant(ctx, ended); err != nil {
		t.Fatalf("UpdateTenant = %v, want nil", err)
	}
	steps := 0
	for done := false; !done; steps++ {
		var err error
		if done, err = s.RemoveTenant(ctx, "a", 7); err != nil || steps > 100 {
			t.Fatalf("RemoveTenant = %v after %d steps, want nil", err, steps)
		}
	}
	if steps < 3 {
		t.Errorf("RemoveTenant took %d steps, want several: each is bounded", steps)
	}
	for table, n := range all("a") {
		if n != 0 {
			t.Errorf("%d rows of a are left in %s", n, table)
		}
	}
	wantEqual(t, "the rows of b", all("b"), others)
	if _, err := s.RemoveTenant(ctx, "a", 7); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("RemoveTenant of one that is gone = %v, want ErrNotFound", err)
	}
	mustTenant(t, s, "a")
	mustSubmit(t, s, "a", submitted(300))
}
