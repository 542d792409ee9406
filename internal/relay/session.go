package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quantfolio/qhook/internal/pgsession"
)

const (
	standbyPoll = 500 * time.Millisecond // how often a second relay looks whether the first one has ended
	queryTime   = 30 * time.Second       // bounds a query; the connection is given up then
	closeTime   = 2 * time.Second        // bounds the goodbye to the source
	maxPassed   = 1000                   // locked rows that are passed over; with as many the relay waits for their locks
)

// lock takes the right to move rows, for as long as the session lives. Its key is "qhoo" and the table's own number, so
// that outboxes in several schemas of one database have a relay each.
const lock = `SELECT pg_try_advisory_lock(x'71686f6f'::int, 'qhook_outbox'::regclass::oid::int)`

// session moves rows on one connection until that fails or ctx ends; its error is the source's. It resets b whenever
// the source works.
func (r *Relay) session(ctx context.Context, b *backoff) error {
	conn, err := pgx.ConnectConfig(ctx, r.source)
	if refusal := pgsession.Refused(err); refusal != nil {
		return refusal
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if err := pgsession.Alone(ctx, conn); err != nil { // a pooler could take the lock away
		return err
	}
	if err := r.await(ctx, conn, b); err != nil {
		return err
	}
	// Before the first look, so that no commit goes unnoticed.
	if _, err := r.exec(ctx, conn, "LISTEN qhook_outbox"); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r.log.Info("moving rows of the outbox")
	var api backoff
	var passed []int64 // rows that this session is done with and another transaction has locked
	for {
		r.woken = false
		if passed, err = r.stillLocked(ctx, conn, passed); err != nil {
			return err
		}
		var rows []row
		if len(passed) < maxPassed {
			if rows, err = r.read(ctx, conn, passed); err != nil {
				return err
			}
		}
		if len(rows) == 0 {
			b.reset()
			r.worked()
			if err := r.rest(ctx, conn); err != nil {
				return err
			}
			continue
		}
		locked, err := r.move(ctx, conn, rows)
		passed = append(passed, locked...)
		if errors.As(err, new(apiError)) && ctx.Err() == nil {
			r.failed("api", err)
			api.wait(ctx)
		} else if err != nil {
			return err
		} else {
			b.reset()
			api.reset()
			r.worked()
		}
	}
}

// stillLocked gives those of the passed rows that are locked as before. The others are read again, at their place, and
// sent again: the server knows their events, unless who had locked them changed them.
func (r *Relay) stillLocked(ctx context.Context, conn *pgx.Conn, passed []int64) ([]int64, error) {
	if len(passed) == 0 {
		return []int64{}, nil // not nil, which is NULL to PostgreSQL
	}
	return r.locked(ctx, conn, passed)
}

// await returns when no other relay moves the rows and none will while this session lives.
func (r *Relay) await(ctx context.Context, conn *pgx.Conn, b *backoff) error {
	for said := false; ; {
		mine, err := r.tryLock(ctx, conn)
		if p, ok := errors.AsType[*pgconn.PgError](err); ok && p.Code == "42P01" { // undefined_table
			return errors.New("the source has no table qhook_outbox; make it: qhook relay --schema | psql; " +
				"one in another schema than public is named in the source: ?search_path=SCHEMA")
		}
		if err != nil || mine {
			return wrap("take the lock", err)
		}
		b.reset()
		r.worked()
		if !said {
			r.log.Info("another relay moves the rows; this one waits for its end")
			r.metrics.standby()
			said = true
		}
		if pause(ctx, standbyPoll); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (r *Relay) tryLock(ctx context.Context, conn *pgx.Conn) (mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	err = conn.QueryRow(ctx, lock).Scan(&mine)
	return mine, err
}

// exec runs a statement, and tells how many rows it changed.
func (r *Relay) exec(ctx context.Context, conn *pgx.Conn, query string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	tag, err := conn.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

// rest waits for a notification, at most for the time of a poll.
func (r *Relay) rest(ctx context.Context, conn *pgx.Conn) error {
	if r.woken {
		return nil // by what came along with the answer to the last query
	}
	wait, cancel := context.WithTimeout(ctx, r.cfg.Poll)
	defer cancel()
	err := conn.PgConn().WaitForNotification(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil && !conn.IsClosed() {
		return r.writes(ctx, conn) // the poll's time is over
	}
	return wrap("wait for a notification", err)
}

// writes fails when the source has turned read-only: its rows are written, and have to be deleted, elsewhere.
func (r *Relay) writes(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	return wrap("look at the source", pgsession.Writes(ctx, conn))
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
