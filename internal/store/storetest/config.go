package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

func mustTenant(t *testing.T, s store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.CreateTenant(context.Background(),
			store.Tenant{ID: id, Name: "Firm " + id, CreatedAt: epoch}); err != nil {
			t.Fatalf("CreateTenant(%s) = %v, want nil", id, err)
		}
	}
}

// newWebhook has all of its properties set.
func newWebhook(tenant string) *webhook.Webhook {
	return &webhook.Webhook{
		ID: uuid.NewString(), Tenant: tenant, URL: "https://example.com/hook?a=%20b", Method: webhook.GET,
		EventTypes: []string{"qap.**", "qap.investor.*"}, OwnerID: "firm-1",
		Auth: webhook.Auth{Type: webhook.AuthBasic, Username: "user", Header: "X-Key",
			Secret: webhook.NewSecret("pass \x00ü")},
		Headers: []webhook.Header{{Name: "X-One", Value: webhook.NewSecret("1")},
			{Name: "X-Two", Value: webhook.NewSecret(`"2"`)}},
		SigningKeys: []webhook.SigningKey{
			{ID: "key_2", Key: webhook.NewSecret(" new "), SwitchAt: epoch.Add(time.Hour)},
			{ID: "key_1", Key: webhook.NewSecret("old"), SwitchAt: epoch, ExpiresAt: epoch.Add(2 * time.Hour)},
		},
		Description: "all of it", Enabled: true, DisabledReason: "gone", Timeout: 1500 * time.Millisecond,
		RetrySchedule: []time.Duration{time.Second, 3 * time.Hour},
		CreatedAt:     epoch, UpdatedAt: epoch.Add(time.Millisecond),
	}
}

func mustWebhook(t *testing.T, s store.Store, tenant string) *webhook.Webhook {
	t.Helper()
	w := newWebhook(tenant)
	if err := s.CreateWebhook(context.Background(), w); err != nil {
		t.Fatalf("CreateWebhook = %v, want nil", err)
	}
	return w
}

func mustUpdate(t *testing.T, s store.Store, w *webhook.Webhook) {
	t.Helper()
	if err := s.UpdateWebhook(context.Background(), w); err != nil {
		t.Fatalf("UpdateWebhook = %v, want nil", err)
	}
}

// wantWebhook finds w by its ID and compares.
func wantWebhook(t *testing.T, s store.Store, w *webhook.Webhook) {
	t.Helper()
	got, err := s.WebhookByID(context.Background(), w.Tenant, w.ID)
	if err != nil {
		t.Fatalf("WebhookByID = %v, want nil", err)
	}
	wantEqual(t, "WebhookByID", got, w)
	if len(got.SigningKeys) == len(w.SigningKeys) && got.Auth.Secret.Reveal() != w.Auth.Secret.Reveal() {
		t.Error("the secret came back changed")
	}
}

func testWebhookRoundTrip(t *testing.T, s store.Store) {
	mustTenant(t, s, "a")
	w := mustWebhook(t, s, "a")
	if w.Num <= 0 || w.Version != 1 {
		t.Errorf("Num, Version = %d, %d, want above 0, 1", w.Num, w.Version)
	}
	wantWebhook(t, s, w)
	bare := &webhook.Webhook{ID: uuid.NewString(), Tenant: "a", URL: "https://example.com/", Method: webhook.POST,
		EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, RetrySchedule: []time.Duration{},
		Timeout: time.Second, CreatedAt: epoch, UpdatedAt: epoch}
	if err := s.CreateWebhook(context.Background(), bare); err != nil {
		t.Fatalf("CreateWebhook = %v, want nil", err)
	}
	if bare.Num == w.Num {
		t.Errorf("Num = %d twice", w.Num)
	}
	wantWebhook(t, s, bare)
}

func testWebhookCreate(t *testing.T, s store.Store) {
	mustTenant(t, s, "a", "b")
	w := mustWebhook(t, s, "a")
	again := newWebhook("a")
	again.ID = w.ID
	if err := s.CreateWebhook(context.Background(), again); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateWebhook with a used ID = %v, want ErrExists", err)
	}
	if err := s.CreateWebhook(context.Background(), newWebhook("nobody")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("CreateWebhook for an unknown tenant = %v, want ErrNotFound", err)
	}
	if _, err := s.WebhookByID(context.Background(), "b", w.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WebhookByID of another tenant = %v, want ErrNotFound", err)
	}
}

func testWebhookUpdate(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a", "b")
	w := mustWebhook(t, s, "a")
	old := *w
	w.URL, w.Enabled, w.Headers, w.Auth.Secret = "https://other.example/", false, nil, webhook.NewSecret("other")
	w.SigningKeys, w.UpdatedAt = w.SigningKeys[:1], epoch.Add(time.Hour)
	mustUpdate(t, s, w)
	if w.Version != 2 {
		t.Errorf("Version = %d, want 2", w.Version)
	}
	wantWebhook(t, s, w)
	if err := s.UpdateWebhook(ctx, &old); !errors.Is(err, store.ErrVersion) || old.Version != 1 {
		t.Errorf("UpdateWebhook of an old version = %v, Version %d, want ErrVersion, 1", err, old.Version)
	}
	other := *w
	other.Tenant = "b"
	if err := s.UpdateWebhook(ctx, &other); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("UpdateWebhook of another tenant = %v, want ErrNotFound", err)
	}
	wantWebhook(t, s, w)
}

func testWebhookHold(t *testing.T, s store.Store) {
	mustTenant(t, s, "a")
	w := mustWebhook(t, s, "a")
	hold := func(num int64, url string, until time.Time) {
		t.Helper()
		if err := s.HoldWebhook(context.Background(), num, url, until); err != nil {
			t.Fatalf("HoldWebhook = %v, want nil", err)
		}
	}
	hold(w.Num, w.URL, epoch.Add(time.Hour))
	w.HeldUntil = epoch.Add(time.Hour)
	wantWebhook(t, s, w)
	hold(w.Num, w.URL, epoch.Add(time.Minute)) // no shorter
	hold(w.Num+1, w.URL, epoch.Add(2*time.Hour))
	hold(w.Num, w.URL+"x", epoch.Add(2*time.Hour))
	wantWebhook(t, s, w)
	mustUpdate(t, s, w) // the version is as it was
	w.HeldUntil = time.Time{}
	mustUpdate(t, s, w)
	wantWebhook(t, s, w)
}

func testWebhookDelete(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a")
	w := mustWebhook(t, s, "a")
	w.DeletedAt = epoch.Add(time.Hour)
	mustUpdate(t, s, w)
	if _, err := s.WebhookByID(ctx, "a", w.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WebhookByID after deleting = %v, want ErrNotFound", err)
	}
	if list, err := s.ListWebhooks(ctx, "a", 0, 10); err != nil || len(list) != 0 {
		t.Errorf("ListWebhooks after deleting = %v, %v, want none, nil", list, err)
	}
	if err := s.UpdateWebhook(ctx, w); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("UpdateWebhook after deleting = %v, want ErrNotFound", err)
	}
	all, err := s.AllWebhooks(ctx)
	if err != nil || len(all) != 1 {
		t.Fatalf("AllWebhooks = %v, %v, want one, nil", all, err)
	}
	wantEqual(t, "AllWebhooks", all[0], w)
}

func testWebhookList(t *testing.T, s store.Store) {
	mustTenant(t, s, "a", "b")
	var want []*webhook.Webhook
	for range 3 {
		want = append(want, mustWebhook(t, s, "a"))
		mustWebhook(t, s, "b")
	}
	list := func(after int64, limit int) []*webhook.Webhook {
		got, err := s.ListWebhooks(context.Background(), "a", after, limit)
		if err != nil {
			t.Errorf("ListWebhooks = %v, want nil", err)
		}
		return got
	}
	wantList(t, list(0, 10), want)
	wantList(t, list(0, 2), want[:2])
	wantList(t, list(want[1].Num, 2), want[2:])
	if all, err := s.AllWebhooks(context.Background()); err != nil || len(all) != 6 {
		t.Errorf("AllWebhooks = %d, %v, want 6, nil", len(all), err)
	}
}

func testTenants(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "b", "a")
	want := store.Tenant{ID: "a", Name: "Firm a", CreatedAt: epoch}
	if got, err := s.TenantByID(ctx, "a"); err != nil || got != want {
		t.Errorf("TenantByID = %+v, %v, want %+v, nil", got, err, want)
	}
	if _, err := s.TenantByID(ctx, "c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("TenantByID of an unknown tenant = %v, want ErrNotFound", err)
	}
	if err := s.CreateTenant(ctx, store.Tenant{ID: "a", Name: "other"}); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateTenant again = %v, want ErrExists", err)
	}
	want.Name, want.Consent = "Firm A", true
	if err := s.UpdateTenant(ctx, want); err != nil {
		t.Errorf("UpdateTenant = %v, want nil", err)
	}
	if err := s.UpdateTenant(ctx, store.Tenant{ID: "c"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("UpdateTenant of an unknown tenant = %v, want ErrNotFound", err)
	}
	if got, err := s.TenantByID(ctx, "a"); err != nil || got != want {
		t.Errorf("TenantByID after the change = %+v, %v, want %+v, nil", got, err, want)
	}
	list, err := s.ListTenants(ctx)
	if err != nil {
		t.Fatalf("ListTenants = %v, want nil", err)
	}
	wantList(t, list, []store.Tenant{want, {ID: "b", Name: "Firm b", CreatedAt: epoch}})
}

func testAPIKeys(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a", "b")
	newKey := func(tenant string, role store.Role, hash byte, age time.Duration) store.APIKey {
		return store.APIKey{ID: uuid.NewString(), Tenant: tenant, Role: role, Name: "key", Hash: [32]byte{hash},
			CreatedAt: epoch.Add(-age)}
	}
	young, old := newKey("a", store.Admin, 1, 0), newKey("a", store.Viewer, 2, time.Hour)
	other, operator := newKey("b", store.Publisher, 3, 0), newKey("", store.Operator, 4, 0)
	for _, k := range []store.APIKey{young, old, other, operator} {
		if err := s.CreateAPIKey(ctx, k); err != nil {
			t.Fatalf("CreateAPIKey = %v, want nil", err)
		}
		if got, err := s.APIKeyByHash(ctx, k.Hash); err != nil || got != k {
			t.Errorf("APIKeyByHash = %+v, %v, want %+v, nil", got, err, k)
		}
	}
	if err := s.CreateAPIKey(ctx, newKey("b", store.Viewer, 1, 0)); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateAPIKey with a used hash = %v, want ErrExists", err)
	}
	if err := s.CreateAPIKey(ctx, newKey("c", store.Viewer, 9, 0)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("CreateAPIKey for an unknown tenant = %v, want ErrNotFound", err)
	}
	if _, err := s.APIKeyByHash(ctx, [32]byte{9}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("APIKeyByHash of an unknown hash = %v, want ErrNotFound", err)
	}
	want := func(tenant string, want ...store.APIKey) {
		t.Helper()
		got, err := s.ListAPIKeys(ctx, tenant, store.KindAPIKey, time.Time{}, 0, 100)
		if err != nil {
			t.Errorf("ListAPIKeys = %v, want nil", err)
		}
		wantList(t, got, want)
	}
	want("a", old, young)
	want("", operator)
	if err := s.DeleteAPIKey(ctx, "b", old.ID, false); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("DeleteAPIKey of another tenant = %v, want ErrNotFound", err)
	}
	if err := s.DeleteAPIKey(ctx, "a", old.ID, false); err != nil {
		t.Errorf("DeleteAPIKey = %v, want nil", err)
	}
	if err := s.DeleteAPIKey(ctx, "", operator.ID, false); err != nil {
		t.Errorf("DeleteAPIKey of the operator's = %v, want nil", err)
	}
	want("a", young)
	want("")
}

// testLimitedKeys: links and sign-ins end with the API key that they come from, and one of several gets a link.
func testLimitedKeys(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a")
	parent := store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: store.Admin, Name: "key", Hash: [32]byte{1},
		CreatedAt: epoch}
	limited := func(kind store.KeyKind, hash byte, life time.Duration) store.APIKey {
		return store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: store.Viewer, Hash: [32]byte{hash},
			CreatedAt: epoch, Kind: kind,
			Parent: parent.ID, Webhook: "w", ExpiresAt: epoch.Add(life), SignedInFor: 90 * time.Minute}
	}
	link, signIn, short := limited(store.KindLink, 2, time.Hour), limited(store.KindSignIn, 3,
		time.Hour), limited(store.KindSignIn, 4, time.Second)
	if err := s.CreateAPIKey(ctx, link); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("CreateAPIKey of an unknown parent = %v, want ErrNotFound", err)
	}
	for _, k := range []store.APIKey{parent, link, signIn, short} {
		if err := s.CreateAPIKey(ctx, k); err != nil {
			t.Fatalf("CreateAPIKey = %v, want nil", err)
		}
		if got, err := s.APIKeyByHash(ctx, k.Hash); err != nil || got != k {
			t.Errorf("APIKeyByHash = %+v, %v, want %+v, nil", got, err, k)
		}
	}
	for _, wrong := range []store.APIKey{
		{ID: uuid.NewString(), Tenant: "a", Role: store.Viewer, Hash: [32]byte{8}, CreatedAt: epoch,
			Kind: store.KindSignIn, Parent: parent.ID},
		{ID: uuid.NewString(), Tenant: "a", Role: store.Viewer, Hash: [32]byte{9}, CreatedAt: epoch,
			Kind: store.KindLink, ExpiresAt: epoch},
	} {
		if err := s.CreateAPIKey(ctx, wrong); err == nil {
			t.Errorf("CreateAPIKey of kind %q with parent %q until %v = nil, want an error", wrong.Kind, wrong.Parent,
				wrong.ExpiresAt)
		}
	}
	list, err := s.ListAPIKeys(ctx, "a", store.KindAPIKey, time.Time{}, 0, 100)
	if err != nil {
		t.Fatalf("ListAPIKeys = %v, want nil", err)
	}
	wantList(t, list, []store.APIKey{parent})

	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- s.DeleteAPIKey(ctx, "a", link.ID, false) }()
	}
	got := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			got++
		} else if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("DeleteAPIKey = %v, want nil or ErrNotFound", err)
		}
	}
	if got != 1 {
		t.Errorf("%d of %d got the link, want 1", got, cap(errs))
	}

	later := limited(store.KindSignIn, 5, time.Hour)
	later.CreatedAt = epoch.Add(time.Minute)
	if err := s.CreateAPIKey(ctx, later); err != nil {
		t.Fatalf("CreateAPIKey = %v, want nil", err)
	}
	if _, err := s.APIKeyByHash(ctx, short.Hash); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("APIKeyByHash of a key that is over = %v, want ErrNotFound", err)
	}
	if err := s.DeleteAPIKey(ctx, "a", parent.ID, false); err != nil {
		t.Fatalf("DeleteAPIKey = %v, want nil", err)
	}
	for _, k := range []store.APIKey{signIn, later} {
		if _, err := s.APIKeyByHash(ctx, k.Hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("APIKeyByHash of a sign-in whose API key was deleted = %v, want ErrNotFound", err)
		}
	}
}

func testPingAndClose(t *testing.T, s store.Store) {
	if err := s.Ping(context.Background()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
	if err := s.Ping(context.Background()); err == nil {
		t.Error("Ping after Close = nil, want an error")
	}
}
