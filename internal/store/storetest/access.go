package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

// testAccess: who made a key, from where and until when it is good, and its last use come back; and ending a key ends
// all that was made with it, and with that.
func testAccess(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a")
	var n byte
	made := func(kind store.KeyKind, maker *store.APIKey) *store.APIKey {
		n++
		k := &store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: store.Admin, Name: "key", Hash: [32]byte{n},
			CreatedAt: epoch,
			Kind:      kind, Networks: "10.0.0.0/8,2001:db8::/32", ExpiresAt: epoch.Add(time.Hour)}
		if maker != nil {
			k.Maker = maker.ID
		}
		if kind != store.KindAPIKey {
			if k.Parent = maker.Parent; k.Parent == "" {
				k.Parent = maker.ID
			}
		}
		if kind == store.KindLink {
			k.EndsAt = epoch.Add(2 * time.Hour)
		}
		if err := s.CreateAPIKey(ctx, *k); err != nil {
			t.Fatalf("CreateAPIKey = %v, want nil", err)
		}
		if got, err := s.APIKeyByHash(ctx, k.Hash); err != nil || got != *k {
			t.Errorf("APIKeyByHash = %+v, %v, want %+v", got, err, *k)
		}
		if got, err := s.APIKeyByID(ctx, k.ID); err != nil || got != *k {
			t.Errorf("APIKeyByID = %+v, %v, want %+v", got, err, *k)
		}
		return k
	}
	there := func(k *store.APIKey) bool {
		_, err := s.APIKeyByHash(ctx, k.Hash)
		return err == nil
	}
	root := made(store.KindAPIKey, nil)
	if err := s.CreateAPIKey(ctx, store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: store.Admin, Hash: [32]byte{99}, CreatedAt: epoch,
		Maker: uuid.NewString()}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("CreateAPIKey with an unknown maker = %v, want ErrNotFound", err)
	}
	signIn := made(store.KindSignIn, root)
	link := made(store.KindLink, signIn)
	second := made(store.KindSignIn, link)
	other := made(store.KindSignIn, root)
	for kind, want := range map[store.KeyKind]int{store.KindAPIKey: 1, store.KindLink: 1, store.KindSignIn: 3} {
		if list, err := s.ListAPIKeys(ctx, "a", kind, time.Time{}, 0, 100); err != nil || len(list) != want {
			t.Errorf("ListAPIKeys of kind %q = %d, %v, want %d", kind, len(list), err, want)
		}
	}
	if _, err := s.APIKeyByID(ctx, uuid.NewString()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("APIKeyByID of an unknown one = %v, want ErrNotFound", err)
	}
	if err := s.DeleteAPIKey(ctx, "b", signIn.ID, false); !errors.Is(err, store.ErrNotFound) || !there(link) {
		t.Errorf("DeleteAPIKey of another tenant = %v, want ErrNotFound and nothing gone", err)
	}
	if err := s.DeleteAPIKey(ctx, "a", signIn.ID, false); err != nil {
		t.Fatalf("DeleteAPIKey = %v, want nil", err)
	}
	if there(signIn) || there(link) || there(second) || !there(other) || !there(root) {
		t.Error("ending a sign-in must end its link and that one's sign-in, and nothing else")
	}

	use := []store.KeyUse{{ID: root.ID, At: epoch.Add(time.Minute), From: "192.0.2.7"},
		{ID: uuid.NewString(), At: epoch}}
	if err := s.UseAPIKeys(ctx, use); err != nil {
		t.Errorf("UseAPIKeys = %v, want nil", err)
	}
	root.Name, root.Networks, root.ExpiresAt = "renamed", "", time.Time{}
	if err := s.UpdateAPIKey(ctx, *root); err != nil {
		t.Errorf("UpdateAPIKey = %v, want nil", err)
	}
	root.UsedAt, root.UsedFrom = epoch.Add(time.Minute), "192.0.2.7"
	if got, err := s.APIKeyByHash(ctx, root.Hash); err != nil || got != *root {
		t.Errorf("after a use and a change = %+v, %v, want %+v", got, err, *root)
	}
	if wrong := (store.APIKey{ID: root.ID, Tenant: "b"}); !errors.Is(s.UpdateAPIKey(ctx, wrong), store.ErrNotFound) {
		t.Error("UpdateAPIKey of another tenant's is no ErrNotFound")
	}

	child := made(store.KindAPIKey, root)
	childs := made(store.KindSignIn, child)
	grandchild := made(store.KindAPIKey, child)
	if err := s.DeleteAPIKey(ctx, "a", root.ID, true); err != nil {
		t.Fatalf("DeleteAPIKey that keeps = %v, want nil", err)
	}
	child.Maker = ""
	if got, err := s.APIKeyByHash(ctx, child.Hash); err != nil || got != *child {
		t.Errorf("a key that was kept = %+v, %v, want %+v", got, err, *child)
	}
	if there(other) || !there(childs) || !there(grandchild) {
		t.Error("a key's end must end its sign-ins, and leave what is of the keys that are kept")
	}
	if err := s.DeleteAPIKey(ctx, "a", child.ID, false); err != nil {
		t.Fatalf("DeleteAPIKey = %v, want nil", err)
	}
	if there(childs) || there(grandchild) {
		t.Error("a key's end must end the keys that it made")
	}
}
