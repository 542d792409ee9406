package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quantfolio/qhook/internal/pgsession"
	"github.com/quantfolio/qhook/internal/store"
)

// name is of the sessions, for whoever looks at pg_stat_activity; the URL may have another.
const name = "qhook"

// requestTime bounds what a request asks of the database, so that it is answered within five seconds, also when the
// server is frozen: then nothing comes, and no error either.
const requestTime = 4 * time.Second

// connect makes the pools, and makes sure that the database will do.
func (db *DB) connect(ctx context.Context) error {
	pool, err := newPool(ctx, db.cfg.URL, db.cfg.Pool, pgsession.Options{Name: name})
	if err != nil {
		return err
	}
	if err := suits(ctx, pool); err != nil {
		pool.Close()
		return refused(err, "connect to the database")
	}
	l := &lists{primary: pool, log: db.log}
	if db.cfg.ReadURL != "" {
		if l.replica, err = newPool(ctx, db.cfg.ReadURL, db.cfg.Pool,
			pgsession.Options{Name: name, Read: true}); err != nil {
			pool.Close()
			return fmt.Errorf("where lists are read: %w", err)
		}
	}
	db.pool, db.lists, db.w.turned = pool, l, db.turned
	return nil
}

// turned drops what is connected to a server that can no longer write: idle connections at once, others when they are
// given back, the listener's when it looks next.
func (db *DB) turned() {
	db.turns.Add(1)
	db.pool.Reset()
}

// newPool makes a pool, whose idle connections are closed when one of them learns that the server can no longer write.
// Nothing is connected yet.
func newPool(ctx context.Context, url string, size int, o pgsession.Options) (*pgxpool.Pool, error) {
	var made atomic.Pointer[pgxpool.Pool]
	o.Turned = func() {
		if p := made.Load(); p != nil {
			p.Reset()
		}
	}
	c, err := pgsession.Config(url, o)
	if err != nil {
		return nil, err
	}
	c.MaxConns = int32(size)
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	made.Store(pool)
	return pool, nil
}

// suits connects and looks at what a session cannot set.
func suits(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return pgsession.Alone(ctx, conn.Conn())
}

// refused is wrap, but a database that will not do is no store.ErrAway: waiting does not help.
func refused(err error, op string) error {
	if r := pgsession.Refused(err); r != nil {
		return r
	}
	return wrap(err, op)
}

// slotsPause is between two tries while the server has no free connection, which the log says every saysAgain.
const (
	slotsPause = time.Second
	saysAgain  = time.Minute
)

// patiently repeats do, while the server has no free connection, until ctx ends.
func patiently(ctx context.Context, log *slog.Logger, do func() error) error {
	var said time.Time
	for {
		err := do()
		if code(err) != tooManyConnections {
			return err
		}
		if said.IsZero() || time.Since(said) >= saysAgain {
			said = time.Now()
			log.Warn("the database has no free connection for this node; it waits for one", "error", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(slotsPause):
		}
	}
}

// prepare brings the schema up to date and says what is dangerous.
func (db *DB) prepare(ctx context.Context) error {
	if err := Migrate(ctx, db.cfg.URL, db.log); err != nil {
		return err
	}
	if err := patiently(ctx, db.log, func() error { return db.makePartitions(ctx) }); err != nil {
		return err
	}
	var flushes bool
	err := db.pool.QueryRow(ctx, `SELECT current_setting('fsync')::bool AND current_setting('full_page_writes')::bool`).
		Scan(&flushes)
	if err != nil {
		return wrap(err, "look at the server's settings")
	}
	if !flushes {
		db.log.Error("the database's fsync or full_page_writes is off: a crash of its machine loses what was accepted")
	}
	return nil
}

// Ping fails when an event could not be accepted now: the database does not answer, or cannot be written; the node's
// beats do not reach it; or another node has taken this one's work over. Errors: store.ErrAway, store.ErrFenced.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	if n := db.node.Load(); n != nil {
		if err := n.failure(); err != nil {
			return err
		}
		if !n.holds() {
			return fmt.Errorf("no beat of this node has reached the database for %v: %w", lease, store.ErrAway)
		}
	}
	err := pgsession.Writes(ctx, db.pool)
	if errors.Is(err, pgsession.ErrReadOnly) {
		db.turned()
		return fmt.Errorf("ping: %w: %w", store.ErrAway, err)
	}
	return wrap(err, "ping")
}

// pingTime bounds Ping: health tells the truth within a second.
const pingTime = time.Second
