package postgres

import (
	"context"
	"os"
	"testing"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func mustRing(t *testing.T) *webhook.Keyring {
	t.Helper()
	ring, err := webhook.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// mustOpen opens the database as one more node.
func mustOpen(t *testing.T, url string, ring *webhook.Keyring) *DB {
	t.Helper()
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: url, Keyring: ring, Pool: 2, Name: t.Name()})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
	if err := db.Join(ctx); err != nil {
		t.Fatalf("Join = %v, want nil", err)
	}
	return db
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
		// The suite accepts events of the past, of which a node that joins now need not know.
		if _, err := db.pool.Exec(context.Background(), `UPDATE marks SET recover_from = 0`); err != nil {
			t.Fatal(err)
		}
		return db
	})
}
