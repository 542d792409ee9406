package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	replicaTime  = 1500 * time.Millisecond // what is left of requestTime is enough for the primary
	replicaPause = 5 * time.Second         // before one that was down is asked again
)

// lists is where lists are read: on the replica while it answers, else on the primary.
type lists struct {
	primary *pgxpool.Pool
	replica *pgxpool.Pool // nil: there is none
	log     *slog.Logger

	mu    sync.Mutex
	down  bool
	again time.Time // when one that is down is asked again
}

func (l *lists) close() {
	if l.replica != nil {
		l.replica.Close()
	}
}

// asks tells whether the replica is to be asked. One reader at a time finds out whether one that is down is back.
func (l *lists) asks() bool {
	if l.replica == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		return true
	}
	if time.Now().Before(l.again) {
		return false
	}
	l.again = time.Now().Add(replicaPause)
	return true
}

// judge notes how the replica answered.
func (l *lists) judge(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.down
	l.down = err != nil
	switch {
	case l.down && !was:
		l.again = time.Now().Add(replicaPause)
		l.log.Warn("the replica does not answer lists; they are read on the primary until it does", "error", err)
	case was && !l.down:
		l.log.Info("the replica answers again; lists are read there")
	}
}

// listed is what read finds where lists are read. It may be called again after a failure.
func listed[T any](ctx context.Context, l *lists, read func(context.Context, *pgxpool.Pool) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if l.asks() {
		soon, cancel := context.WithTimeout(ctx, replicaTime)
		found, err := read(soon, l.replica)
		cancel()
		if err == nil || errors.Is(err, store.ErrNotFound) {
			l.judge(nil)
			return found, err
		}
		if ctx.Err() != nil { // the reader has gone, and knows nothing of the replica
			return found, err
		}
		l.judge(err)
	}
	return read(ctx, l.primary)
}

// snapshotListed is snapshot where lists are read. fn may be called again after a failure.
func snapshotListed(ctx context.Context, l *lists, fn func(context.Context, pgx.Tx) error) error {
	_, err := listed(ctx, l, func(ctx context.Context, pool *pgxpool.Pool) (struct{}, error) {
		return struct{}{}, snapshot(ctx, pool, fn)
	})
	return err
}

// collectListed is collect where lists are read.
func collectListed[T any](ctx context.Context, l *lists, what string, scan pgx.RowToFunc[T], query string,
	args ...any) ([]T, error) {
	return listed(ctx, l, func(ctx context.Context, pool *pgxpool.Pool) ([]T, error) {
		return collect(ctx, pool, what, scan, query, args...)
	})
}
