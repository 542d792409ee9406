package sqlite

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

// inChild runs the test again in a process of its own, since what it limits holds for the whole process; false in
// there.
func inChild(t *testing.T) bool {
	t.Helper()
	const mark = "QHOOK_TEST_CHILD"
	if os.Getenv(mark) != "" {
		return false
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return true
}

// TestLargestFile: a file that may not grow (EFBIG) is a full disk, wherever it shows: in the log at a commit, or in
// the database file when the log is moved there. Afterwards it goes on without a restart, and nothing is lost.
func TestLargestFile(t *testing.T) {
	t.Parallel()
	if inChild(t) {
		return
	}
	limit := func(size uint64) { limitFiles(t, size) }
	// The last one lets the log be moved until the database file has the largest size.
	for _, size := range []uint64{0, 40 << 10, 1 << 20, 3<<20 + 17, checkpointAt*logPage + 6<<20} {
		ctx, dir := t.Context(), t.TempDir()
		path := filepath.Join(dir, "q.db")
		db := mustOpen(t, path, mustRing(t))
		mustAccept(t, db, 1, `{}`)
		limit(size)
		accepted := fill(t, db)
		for range 2 {
			seq := store.SeqAt(time.Now())
			if err := db.Commit(ctx, bulk(&seq)); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
				t.Fatalf("Commit at %d bytes = %v, want ErrFull", size, err)
			}
			if err := db.CreateTenant(ctx, store.Tenant{ID: uuid.NewString(), Name: string(make([]byte,
				4<<20))}); !errors.Is(err, store.ErrFull) {
				t.Errorf("CreateTenant at %d bytes = %v, want ErrFull", size, err)
			}
		}
		limit(^uint64(0))
		mustAccept(t, db, 2, `{}`)
		if err := db.Ping(ctx); err != nil {
			t.Errorf("Ping after %d bytes = %v, want nil", size, err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("Close after %d bytes = %v, want nil", size, err)
		}
		db = mustOpen(t, path, mustRing(t))
		list, err := db.ListEvents(ctx, "a", store.EventFilter{}, 0, 100_000)
		if err != nil || len(list) != accepted+2 {
			t.Errorf("after %d bytes there are %d events, %v, want %d, nil", size, len(list), err, accepted+2)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 4 {
			t.Errorf("files = %v, %v, want the database, its log, its index and its lock", files, err)
		}
	}
}

// TestRoomComesBack: a write that had no room is a full disk also where there is room again before anybody looks, in
// the log and in the database file. Only what the system said of the write itself tells.
func TestRoomComesBack(t *testing.T) {
	t.Parallel()
	if inChild(t) {
		return
	}
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	mustAccept(t, db, 1, `{}`)
	seq := store.SeqAt(time.Now())
	commit := func() error {
		return db.w.conn.Raw(func(any) error {
			if _, err := db.w.begin.exec(); err != nil {
				return err
			}
			if err := db.w.write(bulk(&seq)); err != nil {
				return err
			}
			_, err := db.w.commit.exec()
			return err
		})
	}
	change := func() error {
		_, err := db.w.conn.ExecContext(t.Context(), `INSERT INTO tenants (id, name, created_at) VALUES ('x', ?, 0)`,
			string(make([]byte, 4<<20)))
		return err
	}
	failed := func(err error) error { return db.failed(err, "commit") }
	for i, c := range []struct {
		name  string
		write func() error
		means func(error) error
		want  error
	}{
		{"commit", commit, failed, store.ErrFull},
		{"change", change, failed, store.ErrFull},
		{"move", func() error { return db.w.conn.Raw(db.move) }, db.moved, nil},
		{"move ahead", db.moveAhead, db.moved, nil},
	} {
		mustAccept(t, db, 10+i, `{"x":"`+noise(100_000)+`"}`) // something to move, and too little to be moved by itself
		db.mu.Lock()
		limitFiles(t, 16<<10)
		err := c.write()
		limitFiles(t, ^uint64(0))
		if verdict(code(err)) != store.ErrBroken {
			t.Errorf("%s without room = %v, want an error that SQLite says no more of than that the write failed",
				c.name, err)
		}
		if err := c.means(err); !errors.Is(err, c.want) || errors.Is(err, store.ErrBroken) {
			t.Errorf("%s without room, and some afterwards = %v, want %v", c.name, err, c.want)
		}
		if db.bad != nil {
			t.Errorf("after %s nothing is written any more: %v", c.name, db.bad)
		}
		db.mu.Unlock()
	}
	mustAccept(t, db, 2, `{}`)
}

// limitFiles limits the size of the files that this process writes.
func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: ^uint64(0)}); err != nil {
		t.Fatal(err)
	}
}

// fill commits until there is no room, and none is made by a move of the log that was under way.
func fill(t *testing.T, db *DB) (accepted int) {
	t.Helper()
	seq := store.SeqAt(time.UnixMilli(1_750_000_000_000))
	for refused, i := 0, 0; i < 100; i++ {
		b := bulk(&seq)
		err := db.Commit(t.Context(), b)
		if err == nil {
			accepted, refused = accepted+len(b.Submissions), 0
			continue
		} else if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBroken) {
			t.Fatalf("Commit = %v, want ErrFull", err)
		}
		if refused++; refused == 3 {
			return accepted
		}
		db.mu.Lock()
		if ahead := db.wal.ahead; ahead != nil {
			ahead <- <-ahead
		}
		db.mu.Unlock()
	}
	t.Fatal("there is room without end")
	return 0
}

// TestSmallDisk: a small file system that is full, and then made larger.
func TestSmallDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatalf("a small file system is needed, and mounting one needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	path := filepath.Join(disk, "q.db")
	db := mustOpen(t, path, mustRing(t))
	fill(t, db)
	if why := noRoom(path); !errors.Is(why, syscall.ENOSPC) {
		t.Errorf("noRoom = %v, want ENOSPC", why)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=60m"); err != nil {
		t.Fatal(err)
	}
	if why := noRoom(path); why != nil {
		t.Errorf("noRoom where there is some = %v, want nil", why)
	}
	mustAccept(t, db, 2, `{}`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// Nor does a start on a file system that is read-only say that the disk is broken.
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if why := noRoom(path); !errors.Is(why, syscall.EROFS) {
		t.Errorf("noRoom on a read-only file system = %v, want EROFS", why)
	}
	_, err := Open(t.Context(), Config{Path: path, Keyring: mustRing(t)})
	if err == nil || errors.Is(err, store.ErrBroken) {
		t.Errorf("Open on a read-only file system = %v, want an error other than ErrBroken", err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, mustOpen(t, path, mustRing(t)), 3, `{}`)
}
