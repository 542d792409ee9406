package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	// From webhook to webhook that has waiting rows: when the last one is due, of those whose last is due after $1.
	selectLast = `WITH RECURSIVE hook AS (
			(SELECT tenant, webhook FROM waiting WHERE due_at IS NOT NULL ORDER BY tenant, webhook LIMIT 1)
			UNION ALL
			SELECT next.* FROM hook AS h CROSS JOIN LATERAL (SELECT x.tenant, x.webhook FROM waiting AS x
				WHERE x.due_at IS NOT NULL AND (x.tenant, x.webhook) > (h.tenant, h.webhook) ORDER BY x.tenant, x.webhook LIMIT 1)
					AS next)
		SELECT h.tenant, h.webhook, l.due_at FROM hook AS h CROSS JOIN LATERAL (SELECT x.due_at FROM waiting AS x
			WHERE x.tenant = h.tenant AND x.webhook = h.webhook AND x.due_at > $1 ORDER BY x.due_at DESC LIMIT 1) AS l`

	// A webhook's rows that were written while the clock was ahead of $3 are due as if they had been written then. What
	// another node ($4 is this one) has in memory is left alone. Told are their number and the latest time that gave
	// one away.
	recallRows = `WITH late AS (
			SELECT w.event, CASE WHEN w.attempts = 0 THEN w.due_at ELSE o.at END AS seen,
				$3::timestamptz + CASE WHEN w.attempts = 0 THEN '0' ELSE greatest(o.next_at - o.at, '0') END AS due
			FROM waiting AS w LEFT JOIN LATERAL (SELECT x.at, x.next_at FROM outcomes AS x
				WHERE x.tenant = w.tenant AND x.webhook = w.webhook AND x.event = w.event ORDER BY x.attempt DESC LIMIT 1) AS o
					ON true
			WHERE w.tenant = $1 AND w.webhook = $2 AND w.due_at > $3 AND (w.node IS NULL OR w.node = $4)
				AND (w.attempts = 0 OR o.at > $3)
			ORDER BY w.event FOR UPDATE OF w),
		moved AS (UPDATE waiting AS w SET due_at = late.due FROM late
			WHERE w.tenant = $1 AND w.webhook = $2 AND w.event = late.event AND late.due < w.due_at RETURNING late.seen)
		SELECT count(*), coalesce(max(seen), $3) FROM moved`

	aheadEvent = time.Second // an event so long after now is a sign that the clock was ahead
)

// Recall brings back what was written while the clock was ahead; see store.Journal.
func (db *DB) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error) {
	node := db.node.Load()
	if node == nil {
		return 0, 0, errNotJoined
	}
	now = floor(now)
	last, err := db.LastSeq(ctx)
	if err != nil {
		return 0, 0, err
	}
	if by := last.Time().Sub(now); by > aheadEvent {
		ahead = by
	}
	type hook struct {
		Tenant  string
		Webhook int64
		DueAt   time.Time
	}
	sign := ahead > 0
	hooks, err := collect(ctx, db.pool, "look for times ahead", pgx.RowToStructByPos[hook], selectLast, now)
	for _, h := range hooks {
		sign = sign || h.DueAt.After(now.Add(store.LongestWait))
	}
	if err != nil || !sign {
		return 0, ahead, err
	}
	for _, h := range hooks {
		var moved int
		var seen time.Time
		err := db.pool.QueryRow(ctx, recallRows, h.Tenant, h.Webhook, now, node.id).Scan(&moved, &seen)
		if err != nil {
			return n, ahead, wrap(err, fmt.Sprintf("bring back what webhook %d has ahead", h.Webhook))
		}
		n, ahead = n+moved, max(ahead, seen.Sub(now))
	}
	return n, ahead, nil
}
