package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// TestBackup: a backup made while commits go on has one state of the database, and a restore of it has the same.
func TestBackup(t *testing.T) {
	t.Parallel()
	ctx, dir, ring := t.Context(), t.TempDir(), mustRing(t)
	path, to := filepath.Join(dir, "q.db"), filepath.Join(dir, "b.db")
	db := mustOpen(t, path, ring)
	mustCreate(t, db, "canary-secret")
	seq := store.SeqAt(time.Now())
	commit := func() {
		b := bulk(&seq)
		for i, s := range b.Submissions {
			key := store.DeliveryKey{Webhook: 1, Event: s.Events[0].Seq}
			switch { // of twenty, one waits, one is only in memory and the others are settled
			case i == 0:
				b.Wait = append(b.Wait, store.Waiting{DeliveryKey: key, DueAt: time.Now()})
			case i > 1:
				b.Outcomes = append(b.Outcomes,
					store.Outcome{DeliveryKey: key, Attempt: 1, Kind: store.Delivered, At: time.Now()})
			}
		}
		if err := db.Commit(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		commit()
	}
	var b Backed
	copied, commits := make(chan error, 1), 0
	go func() {
		var err error
		b, err = Backup(ctx, path, to, nil)
		copied <- err
	}()
	var err error
	for under := true; under; {
		commit()
		commits++
		select {
		case err = <-copied:
			under = false
		default:
		}
	}
	if err != nil || b.Events < 400 || b.Events%20 != 0 || b.Waiting != b.Events/10 || b.Webhooks != 1 {
		t.Fatalf("Backup beside %d commits = %+v, %v, want whole commits of 20 events, of which 2 wait", commits,
			b, err)
	}
	t.Logf("%+v, beside %d commits", b, commits)
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 || info.Size() != b.Size {
		t.Errorf("the backup is %v, %v, want mode 0600 and %d bytes", info, err, b.Size)
	}

	restored := filepath.Join(dir, "restored", "q.db")
	if err := os.Mkdir(filepath.Dir(restored), 0o700); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, cfg Config, want string) {
		t.Helper()
		_, err := Restore(ctx, to, cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Restore %s = %v, want %q", name, err, want)
		}
		if files, err := filepath.Glob(filepath.Join(filepath.Dir(restored), "*[^k]")); err != nil || len(files) > 0 {
			t.Errorf("Restore %s left %v, %v, want nothing but the lock file", name, files, err)
		}
	}
	refused("with a wrong key", Config{Path: restored, Keyring: mustRing(t)}, "master key")
	refused("into a place in use", Config{Path: path, Keyring: ring}, "another process")
	held, err := lock(restored + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	refused("into a folder in use", Config{Path: restored, Keyring: ring}, "another process")
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.db")
	whole, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	for name, bytes := range map[string][]byte{"cut": whole[:len(whole)/2], "overwritten": append(append([]byte{},
		whole[:8192]...), make([]byte, len(whole)-8192)...)} {
		if err := os.WriteFile(damaged, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(ctx, damaged, Config{Path: restored, Keyring: ring}); err == nil ||
			!strings.Contains(err.Error(), "no sound backup") {
			t.Errorf("Restore of a backup that is %s = %v, want a refusal", name, err)
		}
	}

	got, err := Restore(ctx, to, Config{Path: restored, Keyring: ring})
	if err != nil || got != b {
		t.Fatalf("Restore = %+v, %v, want %+v", got, err, b)
	}
	again := mustOpen(t, restored, ring)
	list, err := again.ListEvents(ctx, "a", store.EventFilter{}, 0, 100_000)
	if err != nil || int64(len(list)) != b.Events {
		t.Errorf("ListEvents of what was restored = %d events, %v, want %d", len(list), err, b.Events)
	}
	if hooks, err := again.AllWebhooks(ctx); err != nil || len(hooks) != 1 {
		t.Errorf("AllWebhooks of what was restored = %d, %v, want 1", len(hooks), err)
	}
}

// TestBackupBrokenOff: nothing is left of a backup that was broken off.
func TestBackupBrokenOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := mustOpen(t, filepath.Join(dir, "q.db"), mustRing(t))
	seq := store.SeqAt(time.Now())
	for range 10 {
		if err := db.Commit(t.Context(), bulk(&seq)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Backup(ctx, db.path, filepath.Join(dir, "b.db"), func(int, int) { cancel() }); err == nil {
		t.Error("Backup that was broken off = nil, want an error")
	}
	if files, err := filepath.Glob(filepath.Join(dir, "b.db*")); err != nil || len(files) > 0 {
		t.Errorf("it left %v, %v, want nothing", files, err)
	}
	if err := db.Commit(t.Context(), bulk(&seq)); err != nil {
		t.Errorf("Commit after it = %v, want nil", err)
	}
}

// mustCreate makes tenant a with a webhook that has a secret.
func mustCreate(t *testing.T, db *DB, secret string) {
	t.Helper()
	if err := db.CreateTenant(t.Context(), store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	w := newWebhook("a")
	w.SigningKeys = []webhook.SigningKey{{ID: "k", Key: webhook.NewSecret(secret)}}
	if err := db.CreateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}
