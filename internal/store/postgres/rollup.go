package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// rollupCounts are the columns of a rollup that are added up.
var rollupCounts = func() []string {
	list := []string{"delivered", "retried", "exhausted", "cancelled"}
	for i := range store.LatencyBins {
		list = append(list, fmt.Sprintf("h%d", i))
	}
	return list
}()

// addRollup adds to the node's row, or makes it; nobody else writes it. The last part is the row's newest version.
var addRollup = func() string {
	var sums, marks []string
	for i, c := range rollupCounts {
		sums = append(sums, fmt.Sprintf("%s = %[1]s + $%d", c, 6+i))
		marks = append(marks, fmt.Sprintf("$%d", 6+i))
	}
	const key = "tenant = $1 AND webhook = $2 AND span = $3 AND start = $4 AND slot = $5"
	return "WITH had AS (UPDATE rollups SET part = part + (random() < 0.03)::integer, " + strings.Join(sums, ", ") + " WHERE " + key +
		" AND part = (SELECT part FROM rollups WHERE " + key + " ORDER BY part DESC LIMIT 1) RETURNING 1)" +
		" INSERT INTO rollups (tenant, webhook, span, start, slot, " + strings.Join(rollupCounts, ", ") + ")" +
		" SELECT $1, $2, $3, $4, $5, " + strings.Join(marks, ", ") + " WHERE NOT EXISTS (SELECT FROM had)"
}()

var selectRollups = func() string {
	var sums []string
	for _, c := range rollupCounts {
		sums = append(sums, "sum("+c+")::bigint")
	}
	return `SELECT webhook, floor(extract(epoch FROM start - $4::timestamptz) / $6::numeric)::bigint AS step, ` + strings.Join(sums, ", ") + ` FROM rollups
		WHERE tenant = $1 AND webhook = ANY($2::bigint[]) AND span = $3 AND start >= $4 AND start < $5
		GROUP BY webhook, step ORDER BY webhook, step`
}()

// trimRollups removes some of what is too old.
const trimRollups = `DELETE FROM rollups WHERE ctid IN (SELECT ctid FROM rollups WHERE span = $1 AND start < $2 LIMIT 500 FOR UPDATE SKIP LOCKED)`

// queueRollups adds to the node's rollups of minutes and hours.
func queueRollups(n *node, list []store.Rollup, batch *pgx.Batch) {
	for i := range list {
		r := &list[i]
		for span, length := range []time.Duration{store.PerMinute: time.Minute, store.PerHour: time.Hour} {
			args := []any{r.Tenant, r.Webhook, int16(span), r.At.Truncate(length), n.slot, r.Delivered, r.Retried, r.Exhausted, r.Cancelled}
			for _, h := range r.Latency {
				args = append(args, h)
			}
			batch.Queue(addRollup, args...)
		}
	}
}

// Rollups lists rollups; see store.Stats.
func (db *DB) Rollups(ctx context.Context, q store.RollupQuery) ([]store.Rollup, error) {
	return collect(ctx, db.lists, "rollups", func(row pgx.CollectableRow) (store.Rollup, error) {
		r := store.Rollup{Tenant: q.Tenant}
		var step int64
		to := []any{&r.Webhook, &step, &r.Delivered, &r.Retried, &r.Exhausted, &r.Cancelled}
		for i := range r.Latency {
			to = append(to, &r.Latency[i])
		}
		err := row.Scan(to...)
		r.At = q.Since.Add(time.Duration(step) * q.Step).UTC()
		return r, err
	}, selectRollups, q.Tenant, q.Webhooks, int16(q.Span), q.Since, q.Until, int64(q.Step.Seconds()))
}

// Backlog counts waiting rows; see store.Stats.
func (db *DB) Backlog(ctx context.Context, tenant string, webhook int64, limit int) (n int, oldest store.Seq, err error) {
	err = db.lists.QueryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM waiting WHERE tenant = $1 AND webhook = $2 LIMIT $3) AS w),
		coalesce((SELECT event FROM waiting WHERE tenant = $1 AND webhook = $2 ORDER BY event LIMIT 1), 0)`, tenant, webhook, limit).Scan(&n, &oldest)
	return n, oldest, wrap(err, "backlog")
}

// LastOutcome is the last outcome of the newest event that was tried; see store.Stats.
func (db *DB) LastOutcome(ctx context.Context, tenant string, webhook int64) (store.Outcome, error) {
	o, err := one(ctx, db.lists, "last outcome", scanOutcome, `SELECT o.webhook, o.event, o.attempt, o.kind, o.at, o.duration, o.sent, o.status, o.next_at,
			coalesce(o.class, ''), coalesce(o.key_id, ''), o.response, o.timings
		FROM outcomes AS o WHERE o.tenant = $1 AND o.webhook = $2 ORDER BY o.event DESC, o.attempt DESC LIMIT 1`, tenant, webhook)
	if err == nil {
		o.Tenant = tenant
	}
	return o, err
}
