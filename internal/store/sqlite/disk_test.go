package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	lib "modernc.org/sqlite/lib"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

func mustAccept(t *testing.T, db *DB, n int, data string) *store.Submission {
	t.Helper()
	s := newSubmission(n, data)
	if err := db.Commit(context.Background(), &store.Batch{Submissions: []*store.Submission{s}}); err != nil ||
		s.Err != nil {
		t.Fatalf("Commit = %v, %v, want nil, nil", err, s.Err)
	}
	return s
}

func newSubmission(n int, data string) *store.Submission {
	return &store.Submission{Tenant: "a", Events: []store.Submitted{{
		Seq: store.SeqAt(time.UnixMilli(1_700_000_000_000)) + store.Seq(n), Webhooks: []int64{1}, IDGiven: true,
		Event: event.Event{ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n)), Type: "t",
			ObjectID: fmt.Sprint("o", n),
			Time:     time.UnixMilli(1_700_000_000_000).UTC(), Data: []byte(data)},
	}}}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	path, ring := filepath.Join(t.TempDir(), "q.db"), mustRing(t)
	db := mustOpen(t, path, ring)
	for n := range 2*partSize + 10 {
		if n%500 != 0 {
			continue
		}
		b := &store.Batch{}
		for i := n; i < n+500; i++ {
			b.Submissions = append(b.Submissions, newSubmission(i, `{}`))
		}
		if err := db.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.CreateTenant(context.Background(), store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = mustOpen(t, path, ring)
	}
	// The part of the history that was still growing goes on where it was.
	mustAccept(t, db, 9000, `{}`)
	for _, object := range []string{"o0", "o1023", "o1024", "o2047", "o2499", "o9000"} {
		list, err := db.ListEvents(context.Background(), "a", store.EventFilter{ObjectID: object}, 0, 10)
		if err != nil || len(list) != 1 {
			t.Errorf("ListEvents(%s) = %d events, %v, want 1, nil", object, len(list), err)
		}
	}
	if _, err := db.TenantByID(context.Background(), "a"); err != nil {
		t.Errorf("TenantByID = %v, want nil", err)
	}
	if s := mustAccept(t, db, 7, `{}`); !s.Events[0].Duplicate {
		t.Error("an event of before is new, want a duplicate")
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	path, ring := filepath.Join(t.TempDir(), "q.db"), mustRing(t)
	db := mustOpen(t, path, ring)
	if _, err := Open(context.Background(), Config{Path: path, Keyring: ring}); err == nil ||
		!strings.Contains(err.Error(), "another process") {
		t.Errorf("Open of an open database = %v, want a refusal", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, ring)
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := Open(t.Context(), Config{Path: filepath.Join(dir, "q.db"), Keyring: mustRing(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	mustAccept(t, db, 1, `{}`)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Fatalf("files = %v, %v, want the database, its log, its index and its lock", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s = %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
	}
}

func TestNoSecretInTheFiles(t *testing.T) {
	t.Parallel()
	const canary = "cAnArY-4711"
	ctx, dir, ring := context.Background(), t.TempDir(), mustRing(t)
	path := filepath.Join(dir, "q.db")
	db := mustOpen(t, path, ring)
	if err := db.CreateTenant(ctx, store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	secret := webhook.NewSecret(canary)
	w := &webhook.Webhook{ID: uuid.NewString(), Tenant: "a", URL: "https://findable.example/", Method: webhook.POST,
		Auth: webhook.Auth{Type: webhook.AuthBearer,
			Secret: secret}, Headers: []webhook.Header{{Name: "X-A", Value: secret}},
		SigningKeys: []webhook.SigningKey{{ID: "k", Key: secret}}}
	if err := db.CreateWebhook(ctx, w); err != nil {
		t.Fatal(err)
	}
	if err := db.UpdateWebhook(ctx, w); err != nil {
		t.Fatal(err)
	}
	search := func(when string) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(b, []byte("findable.example"))
			if bytes.Contains(b, []byte(canary)) {
				t.Errorf("%s, %s has the secret", when, filepath.Base(name))
			}
		}
		if !found {
			t.Errorf("%s, the search does not even find the URL", when)
		}
	}
	search("while it is open")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	search("after Close")
	// Another row's ciphertext does not open.
	db = mustOpen(t, path, ring)
	if _, err := db.w.conn.ExecContext(ctx, `UPDATE webhooks SET headers_sealed = auth_sealed`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.WebhookByID(ctx, "a", w.ID); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("WebhookByID with a ciphertext of another column = %v, want an error without the secret", err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	mustAccept(t, db, 1, `{}`)
	limit := func(pages string) {
		if _, err := db.w.conn.ExecContext(ctx, `PRAGMA max_page_count = `+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // SQLite takes the present size instead
	big := `{"x":"` + noise(200_000) + `"}`
	for range 3 {
		b := &store.Batch{Submissions: []*store.Submission{newSubmission(2, big), newSubmission(3, `{}`)}}
		err := db.Commit(ctx, b)
		if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
			t.Fatalf("Commit on a full disk = %v, want ErrFull", err)
		}
	}
	if list, err := db.ListEvents(ctx, "a", store.EventFilter{}, 0, 10); err != nil || len(list) != 1 {
		t.Errorf("ListEvents on a full disk = %d events, %v, want what was accepted", len(list), err)
	}
	limit("1000000")
	if s := mustAccept(t, db, 2, big); s.Events[0].Duplicate {
		t.Error("what was refused is on record")
	}
	for _, o := range []string{"o2", "o3"} {
		list, err := db.ListEvents(ctx, "a", store.EventFilter{ObjectID: o}, 0, 10)
		if want := map[string]int{"o2": 1}[o]; err != nil || len(list) != want {
			t.Errorf("ListEvents(%s) = %d events, %v, want %d, nil", o, len(list), err, want)
		}
	}
}

// TestLostConnection: a write connection that cannot be restored is opened again.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	mustAccept(t, db, 1, `{}`)
	db.mu.Lock()
	if err := db.w.close(); err != nil {
		t.Fatal(err)
	}
	db.restore()
	if db.w != nil {
		t.Error("restore kept a connection that is closed")
	}
	db.mu.Unlock()
	mustAccept(t, db, 2, `{}`)
	if err := db.Ping(context.Background()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
}

func TestNotADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, Keyring: mustRing(t)}); !errors.Is(err,
		store.ErrBroken) {
		t.Errorf("Open = %v, want ErrBroken", err)
	}
}

// TestBrokenStays: after a failure that leaves the disk in doubt nothing is written any more.
func TestBrokenStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	db := mustOpen(t, path, mustRing(t))
	mustAccept(t, db, 1, `{}`)
	if err := db.w.conn.Raw(func(any) error { return db.w.checkpoint.query(func([]driver.Value) error { return nil }) }); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size)-4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.w.conn.ExecContext(context.Background(), `PRAGMA shrink_memory`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Commit(context.Background(),
			&store.Batch{Submissions: []*store.Submission{newSubmission(2, `{}`)}}); !errors.Is(err, store.ErrBroken) {
			t.Fatalf("Commit on a corrupt file = %v, want ErrBroken", err)
		}
	}
	if err := db.CreateTenant(context.Background(), store.Tenant{ID: "x"}); !errors.Is(err, store.ErrBroken) {
		t.Errorf("CreateTenant after it = %v, want ErrBroken", err)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]error{
		lib.SQLITE_FULL: store.ErrFull, lib.SQLITE_IOERR_SHMSIZE: store.ErrFull,
		lib.SQLITE_IOERR: store.ErrBroken, lib.SQLITE_IOERR_WRITE: store.ErrBroken, lib.SQLITE_IOERR_FSYNC: store.ErrBroken,
		lib.SQLITE_IOERR_DIR_FSYNC: store.ErrBroken, lib.SQLITE_IOERR_READ: store.ErrBroken, lib.SQLITE_IOERR_SHORT_READ: store.ErrBroken,
		lib.SQLITE_CORRUPT: store.ErrBroken, lib.SQLITE_CORRUPT_INDEX: store.ErrBroken, lib.SQLITE_NOTADB: store.ErrBroken,
		lib.SQLITE_IOERR_NOMEM: nil, lib.SQLITE_IOERR_SHMMAP: nil, lib.SQLITE_IOERR_SHMOPEN: nil,
		0: nil, lib.SQLITE_BUSY: nil, lib.SQLITE_CONSTRAINT_UNIQUE: nil, lib.SQLITE_INTERRUPT: nil, lib.SQLITE_READONLY: nil,
	} {
		if got := verdict(code); got != want {
			t.Errorf("verdict(%d) = %v, want %v", code, got, want)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path, ring := filepath.Join(t.TempDir(), "q.db"), mustRing(t)
	db := mustOpen(t, path, ring)
	if _, err := db.w.conn.ExecContext(context.Background(),
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, Keyring: ring}); err == nil ||
		!strings.Contains(err.Error(), "newer version") {
		t.Errorf("Open of a newer schema = %v, want a refusal", err)
	}
}

// TestCheckpoint: the log does not grow without end.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	db := mustOpen(t, path, mustRing(t))
	seq := store.SeqAt(time.Now())
	for range 30 {
		if err := db.Commit(t.Context(), bulk(&seq)); err != nil {
			t.Fatal(err)
		}
	}
	// Up to shutAt commits go on beside a move; how far that gets depends on the machine.
	info, err := os.Stat(path + "-wal")
	if most := int64(shutAt+checkpointAt) * logPage; err != nil || info.Size() > most {
		t.Errorf("log = %d bytes, %v, want at most %d", info.Size(), err, most)
	}
}
