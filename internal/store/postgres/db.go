package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says which database to use. URL and Keyring are required.
type Config struct {
	URL     string           // postgres://…; several hosts, TLS and so on as libpq has them
	ReadURL string           // where lists are read, for example a replica; empty: URL
	Keyring *webhook.Keyring // seals the webhooks' secrets; the same on every node
	Logger  *slog.Logger     // nil: nothing is logged
	Pool    int              // connections for everything but the journal's writer and the heartbeat; default 8
	Name    string           // of this node, for people
	Version string           // of the program, for people
}

// DB is a store in one PostgreSQL database. Its methods may be called by any number of goroutines.
type DB struct {
	cfg     Config
	keyring *webhook.Keyring
	log     *slog.Logger
	pool    *pgxpool.Pool
	lists   *pgxpool.Pool // the same, or a replica's

	mu       sync.Mutex // one writer at a time
	w        writer
	node     atomic.Pointer[node] // of this process; nil before Join
	counters counters
	retiring atomic.Bool // partitions are being dropped

	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*DB)(nil)

// Open connects and brings the schema up to date; any number of nodes may do that at once. Call Join before the store is
// given to an engine. Errors: store.ErrAway.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Pool <= 0 {
		cfg.Pool = 8
	}
	db := &DB{cfg: cfg, keyring: cfg.Keyring, log: cfg.Logger}
	var err error
	if db.pool, err = connect(ctx, cfg.URL, cfg.Pool); err != nil {
		return nil, err
	}
	db.lists = db.pool
	if cfg.ReadURL != "" {
		if db.lists, err = connect(ctx, cfg.ReadURL, cfg.Pool); err != nil {
			db.pool.Close()
			return nil, err
		}
	}
	if err := Migrate(ctx, cfg.URL, cfg.Logger); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.makePartitions(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// settings are those of every session, in milliseconds. A statement that waits for a lock, and a transaction whose
// client has stopped, end by themselves, so that nothing holds up the other nodes for long.
var settings = map[string]string{
	"application_name":                    "qhook",
	"statement_timeout":                   "30000",
	"lock_timeout":                        "10000",
	"idle_in_transaction_session_timeout": "5000",
	"tcp_user_timeout":                    "5000",
	"tcp_keepalives_idle":                 "5", // seconds, as the next one: else the locks of a machine that is gone stay for hours
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
	"timezone":                            "UTC",
	"jit":                                 "off", // every statement is short; compiling one costs more than it runs
}

func poolConfig(url string) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	for name, value := range settings {
		if _, given := c.ConnConfig.RuntimeParams[name]; !given {
			c.ConnConfig.RuntimeParams[name] = value
		}
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if c.PingTimeout == 0 {
		c.PingTimeout = time.Second // an idle connection that was lost without a word is found out, and another is used
	}
	return c, nil
}

func connect(ctx context.Context, url string, size int) (*pgxpool.Pool, error) {
	c, err := poolConfig(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns = int32(size)
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, wrap(err, "connect to the database")
	}
	return pool, nil
}

// Migrate brings the schema up to date, or refuses one that is newer than the program. Nodes that do it at once wait
// for each other.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	p, db, err := provider(url)
	if err != nil {
		return err
	}
	defer db.Close()
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return wrap(err, "read the schema's version")
	}
	if current > target {
		return fmt.Errorf("the database has schema %d, this program knows up to %d: it was used by a newer version", current, target)
	}
	if current == target {
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return wrap(err, "migrate the schema")
	}
	for _, m := range done {
		log.Info("schema migrated", "version", m.Source.Version)
	}
	return nil
}

func provider(url string) (*goose.Provider, *sql.DB, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, fmt.Errorf("read the database's URL: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, nil, err
	}
	one, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // looks every second, for 5 minutes
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDB(*c)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()), goose.WithSessionLocker(one))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the migrations: %w", err), db.Close())
	}
	return p, db, nil
}

// Ping fails when the database cannot be used now, or another node has taken this one's work over.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.Ping(ctx); err != nil {
		return wrap(err, "ping")
	}
	if n := db.node.Load(); n != nil {
		return n.failure()
	}
	return nil
}

// Close leaves, so that other nodes go on with what is unfinished, and disconnects; safe to call twice.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.closeErr = db.leave()
		if db.lists != db.pool {
			db.lists.Close()
		}
		db.pool.Close()
	})
	return db.closeErr
}
