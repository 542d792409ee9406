package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says which file to open.
type Config struct {
	Path    string           // the database file; its -wal, -shm and .lock are beside it
	Keyring *webhook.Keyring // seals the webhooks' secrets
	Logger  *slog.Logger     // nil: nothing is logged

	Step func() time.Duration // for tests; see store.Clock
}

const readers = 4

// The settings of each connection. An automatic checkpoint would hide a failed fsync, so Commit makes them itself.
var (
	common = []string{"busy_timeout(10000)", "foreign_keys(1)", "temp_store(memory)", "trusted_schema(0)"}
	write  = append([]string{"journal_mode(wal)", "synchronous(full)", "cache_size(-16000)", "wal_autocheckpoint(0)",
		"journal_size_limit(67108864)"}, common...)
	read = append([]string{"query_only(1)", "cache_size(-2000)"}, common...)
)

// DB is a store in one SQLite file. Its methods may be called by any number of goroutines.
type DB struct {
	keyring *webhook.Keyring
	log     *slog.Logger
	clock   store.Clock
	path    string
	lock    *os.File
	file    *os.File // the database, to flush it; closed last, since closing it drops the locks that SQLite holds on it

	mu   turn    // one writer at a time: Commit or a configuration change
	wdb  *sql.DB // one connection, which w holds
	cdb  *sql.DB // one connection, which moves the log's content while commits go on
	w    *writer // nil after a failure, until the next write opens it again
	bad  error   // a store.ErrBroken, for good: nothing is written after it
	wal  wal
	rdb  *reads
	read statements

	overfull atomic.Pointer[chan struct{}] // not nil while commits wait for the log to be emptied; closed after it

	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*DB)(nil)

// Open opens the file, makes it when it is missing, and brings its schema up to date. It refuses a file that another
// process has open. Errors: store.ErrBroken for what is not a database, store.ErrFull.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("database path: %w", err)
	}
	db := &DB{keyring: cfg.Keyring, log: cfg.Logger, path: path, mu: newTurn()}
	db.clock.Step = cfg.Step
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.lock, err = lock(path + ".lock"); err != nil {
		return nil, err
	}
	if err := db.open(ctx, path); err != nil {
		return nil, errors.Join(db.explain(err, "open "+path), db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, path string) error {
	// SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	db.file = f
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	// fdatasync flushes all that a commit needs, and is what SQLite's own builds use. Where there is none, fsync stays.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	if db.wdb, err = sql.Open("sqlite", dsn(path, write)); err != nil {
		return err
	}
	db.wdb.SetMaxOpenConns(1)
	if err := db.migrate(ctx); err != nil {
		return err
	}
	if db.w, err = newWriter(ctx, db.wdb); err != nil {
		return err
	}
	if db.cdb, err = sql.Open("sqlite", dsn(path, write)); err != nil {
		return err
	}
	db.cdb.SetMaxOpenConns(1)
	rdb, err := sql.Open("sqlite", dsn(path, read))
	if err != nil {
		return err
	}
	rdb.SetMaxOpenConns(readers)
	rdb.SetMaxIdleConns(readers)
	db.rdb = &reads{rdb, newGate()}
	return db.read.prepare(ctx, db.rdb)
}

func dsn(path string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas, "_txlock": {"deferred"}}.Encode()}
	return u.String()
}

// migrate brings the schema up to date, or refuses one that is newer than the program.
func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.wdb, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if current > target {
		return fmt.Errorf("the database has schema %d, this program knows up to %d: it was used by a newer version",
			current, target)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	for _, m := range done {
		db.log.Info("schema migrated", "version", m.Source.Version)
	}
	return nil
}

// What waits for the disk waits so long at most: a disk may hang, and then nothing that began comes back.
const (
	pingTime  = 900 * time.Millisecond
	closeTime = 5 * time.Second
)

// Ping fails when the database can be neither read nor written now; it answers within a second. It waits for no write:
// one under way is a good sign, unless it takes longer than that.
func (db *DB) Ping(ctx context.Context) error {
	if d := db.mu.taken(); d > pingTime {
		return fmt.Errorf("the write under way takes %v so far: %w", d.Round(time.Millisecond), store.ErrAway)
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	answer := make(chan error, 1) // sent to once, by the goroutine
	go func() {
		_, err := db.RecoverFrom(ctx)
		if err == nil && db.mu.TryLock() {
			defer db.mu.Unlock()
			err = db.ready(ctx)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	return fmt.Errorf("the database does not answer: %w", store.ErrAway)
}

// Close releases the file; safe to call twice. It returns within 5 s: what hangs then is left to the end of the
// process, and what was committed is safe in the log.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if !db.mu.LockWithin(ctx) {
			db.closeErr = fmt.Errorf("the write under way takes %v so far and was left; what is committed is safe: %w",
				db.mu.taken().Round(time.Millisecond), store.ErrAway)
			return
		}
		closed := make(chan error, 1) // sent to once, by the goroutine
		go func() {
			defer db.mu.Unlock()
			closed <- db.close()
		}()
		select {
		case db.closeErr = <-closed:
		case <-ctx.Done():
			db.closeErr = fmt.Errorf("the files of the database could not be closed in %v and were left; what is committed is "+
				"safe: %w", closeTime, store.ErrAway)
		}
	})
	return db.closeErr
}

// close closes everything. db.mu is held.
func (db *DB) close() error {
	var errs []error
	if db.rdb != nil {
		db.read.close()
		errs = append(errs, db.rdb.db.Close())
	}
	if db.w != nil {
		errs = append(errs, db.w.close())
		db.w = nil
	}
	if db.cdb != nil {
		if db.wal.ahead != nil { // sql.DB does not wait for it
			errs = append(errs, wrap(<-db.wal.ahead, "move the log to the database file"))
		}
		errs = append(errs, db.cdb.Close())
	}
	if db.wdb != nil { // the last connection: SQLite empties the log into the file
		errs = append(errs, db.wdb.Close())
	}
	if db.file != nil {
		errs = append(errs, db.file.Close())
	}
	return errors.Join(append(errs, db.lock.Close())...)
}

// ready makes sure that there is a usable write connection. db.mu is held.
func (db *DB) ready(ctx context.Context) error {
	db.movedAhead()
	if db.bad != nil {
		return db.bad
	}
	if db.w != nil {
		return nil
	}
	w, err := newWriter(ctx, db.wdb)
	if err != nil {
		return db.explain(err, "open the write connection again")
	}
	db.w = w
	return nil
}

// change runs fn in a write transaction; for configuration, not for the hot path.
func (db *DB) change(ctx context.Context, op string, fn func(*sql.Tx) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.ready(ctx); err != nil {
		return err
	}
	tx, err := db.w.conn.BeginTx(ctx, nil)
	if err == nil {
		if err = fn(tx); err == nil {
			err = tx.Commit()
		} else {
			err = errors.Join(err, ignoreDone(tx.Rollback()))
		}
	}
	return db.failed(err, op)
}

// failed makes the write connection usable after an error, or drops it, and says what the error means; nil stays nil.
// db.mu is held.
func (db *DB) failed(err error, op string) error {
	c := code(err)
	if c != 0 {
		_ = db.w.conn.Raw(func(dc any) error { err = told(dc, err); return nil })
	}
	err = db.explain(err, op)
	if errors.Is(err, store.ErrBroken) {
		db.bad = err
	} else if c != 0 {
		db.restore()
	}
	return err
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// restore ends what is open on the write connection, or drops it. db.mu is held.
func (db *DB) restore() {
	if db.w == nil || db.w.restore() {
		return
	}
	if err := db.w.close(); err != nil {
		db.log.Warn("the write connection could not be closed", "error", err)
	}
	db.w = nil
}
