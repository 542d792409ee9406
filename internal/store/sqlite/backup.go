package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// Backed is what a backup has.
type Backed struct {
	Size     int64 // bytes
	Webhooks int64
	Events   int64
	Waiting  int64 // deliveries that were not settled; they are made after a restore
}

// backupStep is how many pages are copied between two looks at the context.
const backupStep = 2_000

const countBacked = `SELECT (SELECT count(*) FROM webhooks WHERE deleted_at IS NULL), (SELECT count(*) FROM events),
	(SELECT count(*) FROM waiting) + (SELECT count(*) FROM events AS e, json_each(e.webhooks) AS w
		WHERE e.seq >= (SELECT recover_from FROM meta WHERE one = 1)
			AND NOT EXISTS (SELECT 1 FROM outcomes WHERE webhook = w.value AND event = e.seq)
			AND NOT EXISTS (SELECT 1 FROM waiting WHERE webhook = w.value AND event = e.seq))`

// Backup copies the database at path to the new file at to, as it is at one moment, and checks the copy. Another
// process may have the database open and write to it; until the copy is made, the log there grows with what is
// committed. Nothing is left behind when it fails. progress, unless nil, is told how many pages are copied.
func Backup(ctx context.Context, path, to string, progress func(done, total int)) (b Backed, err error) {
	if _, err := os.Stat(path); err != nil {
		return b, fmt.Errorf("there is no database: %w", err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return b, err
	}
	// Made at once, so that no two make the same one; it is empty until the copy takes its place.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return b, fmt.Errorf("make the backup's file; one that exists is never written over: %w", err)
	}
	part := to + ".part"
	defer func() {
		if err != nil {
			_ = os.Remove(part)
			_ = os.Remove(to)
		}
	}()
	if err := f.Close(); err != nil {
		return b, err
	}
	if err := os.WriteFile(part, nil, 0o600); err != nil {
		return b, err
	}
	pages, err := copyPages(ctx, path, part, progress)
	if err != nil {
		return b, wrap(err, "copy the database")
	}
	if b, err = inspect(ctx, part, pages); err != nil {
		return b, err
	}
	return b, place(part, to)
}

// copyPages copies one state of the database, and tells how many pages it has.
func copyPages(ctx context.Context, path, to string, progress func(done, total int)) (pages int, err error) {
	db, err := sql.Open("sqlite", dsn(path, read))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The copy is of the state that this transaction holds, however long it takes and whatever is committed meanwhile.
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	var one int
	if err := tx.QueryRowContext(ctx, `SELECT one FROM meta`).Scan(&one); err != nil {
		return 0, err
	}
	err = conn.Raw(func(dc any) error {
		c, ok := dc.(interface {
			NewBackup(uri string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver makes no backups")
		}
		b, err := c.NewBackup(dsn(to, []string{"journal_mode(off)", "synchronous(off)"})) // place flushes
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if more, err = b.Step(backupStep); err == nil {
				err = ctx.Err()
			}
			if pages = b.PageCount(); progress != nil {
				progress(pages-b.Remaining(), pages)
			}
		}
		return errors.Join(err, b.Finish())
	})
	return pages, err
}

// inspect checks a database file that nobody writes to and counts what it has. It has so many pages; 0: any number.
func inspect(ctx context.Context, path string, pages int) (b Backed, err error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "immutable=1&mode=ro"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	info, err := os.Stat(path)
	if err != nil {
		return b, err
	}
	b.Size = info.Size()
	var size, count int64
	if err := db.QueryRowContext(ctx, `SELECT page_size, page_count FROM pragma_page_size, pragma_page_count`).Scan(&size,
		&count); err != nil {
		return b, wrap(err, "read the copy")
	}
	if b.Size == 0 || size*count != b.Size || pages != 0 && int64(pages) != count {
		return b, fmt.Errorf("the file has %d bytes, and should have %d pages of %d: it is not whole", b.Size,
			count, size)
	}
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil || verdict != "ok" {
		return b, wrap(errors.Join(err, errors.New("the copy is damaged: "+verdict)), "check the copy")
	}
	err = db.QueryRowContext(ctx, countBacked).Scan(&b.Webhooks, &b.Events, &b.Waiting)
	return b, wrap(err, "count what the copy has")
}

// place flushes the file part and gives it the name to, for good.
func place(part, to string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Restore puts a backup where cfg says, brings its schema up to date, and makes sure that cfg's keyring opens its
// secrets. It refuses a place that is in use or that has a database, or something left of one, and changes nothing
// there then.
func Restore(ctx context.Context, from string, cfg Config) (b Backed, err error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return b, err
	}
	if from, err = filepath.Abs(from); err != nil {
		return b, err
	}
	held, err := lock(path + ".lock")
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if err := clean(path, from); err != nil {
		return b, err
	}
	part := path + ".restoring"
	defer func() {
		for _, end := range []string{".lock", "-wal", "-shm"} {
			_ = os.Remove(part + end)
		}
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	if err := copyFile(from, part); err != nil {
		return b, fmt.Errorf("copy the backup: %w", err)
	}
	if b, err = inspect(ctx, part, 0); err != nil {
		return b, fmt.Errorf("%s is no sound backup: %w", from, err)
	}
	cfg.Path = part
	db, err := Open(ctx, cfg)
	if err != nil {
		return b, err
	}
	if _, err = db.AllWebhooks(ctx); err != nil {
		err = fmt.Errorf("the master key does not open the secrets of the backup; take the one that the server had: %w",
			err)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return b, err
	}
	return b, place(part, path)
}

// clean makes sure that nothing is where the database goes, and that the backup is one file.
func clean(path, from string) error {
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(path + end); !errors.Is(err, os.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s exists: restore into a folder that has no database, nor a log or a journal of "+
				"one, which would be mixed with the backup", path+end), err)
		}
	}
	for _, end := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(from + end); err == nil && info.Size() > 0 {
			return fmt.Errorf("%s exists: %s was copied from a running server by other means, and may lack what is in there; "+
				"take a backup made by qhook backup", from+end, from)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
