package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgsession"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	channel   = "qhook_webhooks"
	pollAfter = time.Second // without a word on the channel; it may have been lost
	// All versions with the known ones, in case the database was changed by hand or brought back.
	compareAfter = time.Minute
	readAtOnce   = 500 // webhooks
)

// known is what a watch has seen of the webhooks.
type known struct {
	states   map[int64]sight // by num
	since    string          // what transactions before this one wrote has been seen; an xid8
	compared time.Time       // all of them; zero: not on this connection
}

// sight is what changes of a webhook with what others have to know of it.
type sight struct {
	version int64
	held    time.Time
}

// Watch calls changed with every webhook as it is, and again whenever it changes, until ctx ends. Its errors are
// logged.
func (db *DB) Watch(ctx context.Context, changed func(*webhook.Webhook) error) {
	k := &known{states: map[int64]sight{}, since: "0"}
	for ctx.Err() == nil {
		err := db.listen(ctx, k, changed)
		if ctx.Err() != nil {
			return
		}
		db.log.Warn("changes of webhooks could not be followed; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(beat):
		}
	}
}

// listen follows the channel on a connection of its own until that fails.
func (db *DB) listen(ctx context.Context, k *known, changed func(*webhook.Webhook) error) error {
	c, err := pgsession.Config(db.cfg.URL, pgsession.Options{Name: name, Turned: db.turned})
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	k.compared = time.Time{} // it may be another server
	for turns := db.turns.Load(); ; {
		if db.turns.Load() != turns {
			return pgsession.ErrReadOnly // perhaps this one's server, which would go on answering
		}
		if err := db.follow(ctx, conn, k, changed); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, pollAfter)
		_, err := conn.WaitForNotification(wait)
		cancel()
		if err != nil && (ctx.Err() != nil || wait.Err() == nil || conn.IsClosed()) {
			return err
		}
	}
}

// follow reads the webhooks that have another state than the known one.
func (db *DB) follow(ctx context.Context, conn *pgx.Conn, k *known, changed func(*webhook.Webhook) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	nums, err := k.look(ctx, conn)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(nums, readAtOnce) {
		list, err := db.webhooksByNum(ctx, some)
		if err != nil {
			return err
		}
		for _, w := range list {
			if err := changed(w); err != nil {
				db.log.Error("a changed webhook could not be put to work", "webhook", w.ID, "error", err)
			}
			k.states[w.Num] = sight{w.Version, w.HeldUntil}
		}
	}
	return nil
}

// A transaction that was open when somebody looked is not before the horizon, and is looked for again.
const (
	selectHorizon = `SELECT pg_snapshot_xmin(pg_current_snapshot())::text`
	selectChanged = `SELECT num, version, held_until FROM webhooks WHERE changed >= $1::text::xid8`
)

// look lists the numbers of the webhooks whose state is not the known one: of those that may have been written since
// the last look, or, once in a while, of all.
func (k *known) look(ctx context.Context, conn *pgx.Conn) (nums []int64, err error) {
	since, asked := k.since, time.Now()
	if asked.Sub(k.compared) > compareAfter {
		since = "0"
	}
	var horizon string
	var num int64
	var s sight
	var b pgx.Batch
	b.Queue(selectHorizon).QueryRow(func(row pgx.Row) error { return row.Scan(&horizon) })
	b.Queue(selectChanged, since).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&num, &s.version, readAt(&s.held)}, func() error {
			if k.states[num] != s {
				nums = append(nums, num)
			}
			return nil
		})
		return err
	})
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		return nil, err
	}
	k.since = horizon
	if since == "0" {
		k.compared = asked
	}
	return nums, nil
}
