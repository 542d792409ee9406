package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Config says which database to use. URL and Keyring are required.
type Config struct {
	URL     string           // postgres://…; several hosts, TLS and so on as libpq has them
	ReadURL string           // where lists are read while it answers, for example a replica; empty: URL
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
	lists   *lists

	mu       sync.Mutex // one writer at a time
	w        writer
	node     atomic.Pointer[node] // of this process; nil before Join
	counters counters
	turns    atomic.Int64 // times that a server could no longer write
	retiring atomic.Bool  // partitions are being dropped

	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*DB)(nil)

// Open connects and brings the schema up to date; any number of nodes may do that at once. Call Join before the store
// is given to an engine. While the server has no free connection it waits, and says so in the log. Errors:
// store.ErrAway; *pgsession.Refusal, the database will not do.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Pool <= 0 {
		cfg.Pool = 8
	}
	db := &DB{cfg: cfg, keyring: cfg.Keyring, log: cfg.Logger}
	if err := patiently(ctx, db.log, func() error { return db.connect(ctx) }); err != nil {
		return nil, err
	}
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close leaves, so that other nodes go on with what is unfinished, and disconnects; safe to call twice.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.closeErr = db.leave()
		db.lists.close()
		db.pool.Close()
	})
	return db.closeErr
}
