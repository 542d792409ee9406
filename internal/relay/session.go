package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	standbyPoll = 500 * time.Millisecond // how often a second relay looks whether the first one has ended
	queryTime   = 30 * time.Second       // bounds a query; the connection is given up then
	closeTime   = 2 * time.Second        // bounds the goodbye to the source
)

// lock takes the right to move rows, for as long as the session lives. Its key is "qhoo" and the table's own number, so
// that outboxes in several schemas of one database have a relay each.
const lock = `SELECT pg_try_advisory_lock(x'71686f6f'::int, 'qhook_outbox'::regclass::oid::int)`

// session moves rows on one connection until that fails or ctx ends; its error is the source's. It resets b whenever
// the source works.
func (r *Relay) session(ctx context.Context, b *backoff) error {
	conn, err := pgx.ConnectConfig(ctx, r.source)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if err := r.await(ctx, conn, b); err != nil {
		return err
	}
	if err := r.exec(ctx, conn, "LISTEN qhook_outbox"); err != nil { // before the first look, so that no commit goes unnoticed
		return fmt.Errorf("listen: %w", err)
	}
	r.log.Info("moving rows of the outbox")
	var api backoff
	for {
		r.woken = false
		rows, err := r.read(ctx, conn)
		if err != nil {
			return err
		}
		b.reset()
		if len(rows) == 0 {
			r.setTrouble(nil)
			if err := r.rest(ctx, conn); err != nil {
				return err
			}
			continue
		}
		if err := r.move(ctx, conn, rows); errors.As(err, new(apiError)) && ctx.Err() == nil {
			r.failed("api", err)
			api.wait(ctx)
		} else if err != nil {
			return err
		} else {
			api.reset()
			r.setTrouble(nil)
		}
	}
}

// await returns when no other relay moves the rows and none will while this session lives.
func (r *Relay) await(ctx context.Context, conn *pgx.Conn, b *backoff) error {
	for said := false; ; {
		mine, err := r.tryLock(ctx, conn)
		if p, ok := errors.AsType[*pgconn.PgError](err); ok && p.Code == "42P01" { // undefined_table
			return errors.New("the source has no table qhook_outbox; make it: qhook relay --schema | psql")
		}
		if err != nil || mine {
			return wrap("take the lock", err)
		}
		b.reset()
		r.setTrouble(nil)
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

// exec runs a statement that returns nothing.
func (r *Relay) exec(ctx context.Context, conn *pgx.Conn, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	_, err := conn.Exec(ctx, query, args...)
	return err
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
		return nil // the poll's time is over
	}
	return wrap("wait for a notification", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
