package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

func mustRing(t *testing.T) *webhook.Keyring {
	t.Helper()
	ring, err := webhook.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func mustOpen(t *testing.T, path string, ring *webhook.Keyring) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{Path: path, Keyring: ring})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
	return db
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return mustOpen(t, filepath.Join(t.TempDir(), "a b?%.db"), mustRing(t))
	})
}
