package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// TestHangingWrite: while a write hangs, as on a disk that does, health says so and what it waits for, reads go on, and
// Close ends within its bound.
func TestHangingWrite(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), mustOpenLeft(t)
	mustAccept(t, db, 1, `{}`)
	hanging, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- db.change(ctx, "hang", func(*sql.Tx) error {
			close(hanging)
			<-release
			return nil
		})
	}()
	<-hanging
	if err := db.Ping(ctx); err != nil {
		t.Errorf("Ping beside a write that has just begun = %v, want nil", err)
	}
	for db.mu.taken() <= pingTime {
		within(nil, 10*time.Millisecond)
	}
	began := time.Now()
	err := db.Ping(ctx)
	if took := time.Since(began); took > time.Second || !errors.Is(err, store.ErrAway) ||
		!strings.Contains(err.Error(), "write under way") {
		t.Errorf("Ping beside a write that hangs = %v after %v, want ErrAway within a second", err, took)
	}
	if list, err := db.ListEvents(ctx, "a", store.EventFilter{}, 0, 10); err != nil || len(list) != 1 {
		t.Errorf("ListEvents beside it = %d events, %v, want 1, nil", len(list), err)
	}
	began = time.Now()
	for range 2 {
		err = db.Close()
		if took := time.Since(began); took > closeTime+time.Second || !errors.Is(err, store.ErrAway) {
			t.Errorf("Close beside it = %v after %v, want ErrAway within %v", err, took, closeTime)
		}
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the write = %v, want nil", err)
	}
	if err := db.close(); err != nil {
		t.Errorf("close = %v, want nil", err)
	}
}

// TestHangingReads: reads that do not come back, all places taken, are told by Ping.
func TestHangingReads(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	var under []*reading
	for range readers {
		r, err := db.rdb.gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		under = append(under, r)
	}
	began := time.Now()
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrAway) || time.Since(began) > 2*time.Second {
		t.Errorf("Ping beside reads that hang = %v after %v, want ErrAway within a second", err, time.Since(began))
	}
	for _, r := range under {
		_ = r.end(nil)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("Ping after them = %v, want nil", err)
	}
}

// mustOpenLeft opens a store that the test closes.
func mustOpenLeft(t *testing.T) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{Path: filepath.Join(t.TempDir(), "q.db"), Keyring: mustRing(t)})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	return db
}
