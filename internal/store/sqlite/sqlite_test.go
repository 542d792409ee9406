package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
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

// empty is a database that has the schema and nothing else: bringing one up to date flushes some thirty times, which on
// a slow disk was half of what these tests took.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "qhook")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ring, err := webhook.NewKeyring()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "q.db")
	db, err := Open(context.Background(), Config{Path: path, Keyring: ring})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// mustOpen opens a store until the test ends; a file that there is not begins as a copy of empty.
func mustOpen(t *testing.T, path string, ring *webhook.Keyring) *DB {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		b, err := empty()
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
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
