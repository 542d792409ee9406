package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	// The webhooks that have waiting rows, each found by one step in the index.
	backlogged = `WITH RECURSIVE hook(num) AS (
			SELECT min(webhook) FROM waiting
			UNION ALL
			SELECT (SELECT min(webhook) FROM waiting WHERE webhook > num) FROM hook WHERE num IS NOT NULL)
		`

	selectBacklogs = backlogged + `SELECT num, (SELECT min(due_at) FROM waiting WHERE webhook = num) FROM hook
		WHERE num IS NOT NULL`

	selectLast = backlogged + `SELECT num, (SELECT max(due_at) FROM waiting WHERE webhook = num) FROM hook
		WHERE num IS NOT NULL`

	// A webhook's (?1) rows that were written while the clock was ahead of now (?2): when each is due at the latest,
	// and the time that gives it away.
	lateRows = `WITH late AS (
			SELECT w.event, w.due_at,
				?2 + iif(w.attempts = 0, 0, max(0, coalesce(o.next_at - o.at, 0))) AS due,
				iif(w.attempts = 0, w.due_at, o.at) AS seen
			FROM waiting AS w LEFT JOIN outcomes AS o ON o.webhook = w.webhook AND o.event = w.event
				AND o.attempt = (SELECT max(attempt) FROM outcomes WHERE webhook = w.webhook AND event = w.event)
			WHERE w.webhook = ?1 AND w.due_at > ?2 AND (w.attempts = 0 OR o.at > ?2))
		`

	selectLate = lateRows + `SELECT coalesce(max(seen), 0) FROM late WHERE due < due_at`

	updateLate = lateRows + `UPDATE waiting SET due_at = late.due FROM late
		WHERE waiting.webhook = ?1 AND waiting.event = late.event AND late.due < waiting.due_at`
)

// aheadEvent is how long after now an event is numbered to be looked at as written by a clock that was ahead.
const aheadEvent = time.Second

// Backlogs lists the webhooks with waiting deliveries; see store.Journal.
func (db *DB) Backlogs(ctx context.Context) (list []store.Backlog, _ error) {
	err := db.hooks(ctx, selectBacklogs, func(webhook int64, due time.Time) {
		list = append(list, store.Backlog{Webhook: webhook, DueAt: due})
	})
	return list, wrap(err, "backlogs")
}

func (db *DB) hooks(ctx context.Context, query string, hook func(int64, time.Time)) error {
	rows, err := db.rdb.QueryContext(ctx, query)
	return each(rows, err, func() error {
		var webhook, due int64
		err := rows.Scan(&webhook, &due)
		hook(webhook, millis(due))
		return err
	})
}

// Recall brings back what was written while the clock was ahead; see store.Journal.
func (db *DB) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error) {
	last, err := db.LastSeq(ctx)
	if err != nil {
		return 0, 0, err
	}
	if by := last.Time().Sub(now); by > aheadEvent {
		ahead = by
	}
	var hooks []int64
	sign := ahead > 0
	err = db.hooks(ctx, selectLast, func(webhook int64, due time.Time) {
		sign = sign || due.After(now.Add(store.LongestWait))
		if due.After(now) {
			hooks = append(hooks, webhook)
		}
	})
	if err != nil || !sign {
		return 0, ahead, wrap(err, "look for times ahead")
	}
	for _, webhook := range hooks {
		changed, by, err := db.recall(ctx, webhook, now)
		if err != nil {
			return n, ahead, err
		}
		n, ahead = n+changed, max(ahead, by)
	}
	return n, ahead, nil
}

// recall brings back a webhook's rows.
func (db *DB) recall(ctx context.Context, webhook int64, now time.Time) (n int, ahead time.Duration, err error) {
	err = db.change(ctx, fmt.Sprintf("bring back what webhook %d has ahead", webhook), func(tx *sql.Tx) error {
		var seen int64
		if err := tx.QueryRowContext(ctx, selectLate, webhook, now.UnixMilli()).Scan(&seen); err != nil || seen == 0 {
			return err
		}
		r, err := tx.ExecContext(ctx, updateLate, webhook, now.UnixMilli())
		if err != nil {
			return err
		}
		changed, err := r.RowsAffected()
		n, ahead = int(changed), millis(seen).Sub(now)
		return err
	})
	return n, ahead, err
}
