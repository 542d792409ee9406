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
	return "WITH had AS (UPDATE rollups SET part = part + (random() < 0.03)::integer, " + strings.Join(sums, ", ") +
		" WHERE ctid = (SELECT ctid FROM rollups WHERE " + key + " ORDER BY part DESC LIMIT 1) RETURNING 1)" +
		" INSERT INTO rollups (tenant, webhook, span, start, slot, " + strings.Join(rollupCounts, ", ") + ")" +
		" SELECT $1, $2, $3, $4, $5, " + strings.Join(marks, ", ") + " WHERE NOT EXISTS (SELECT FROM had)"
}()

var selectRollups = func() string {
	var sums []string
	for _, c := range rollupCounts {
		sums = append(sums, "sum("+c+")::bigint")
	}
	return `SELECT webhook, floor(date_part('epoch', start - $4::timestamptz) / $6::float8)::bigint AS step, ` + strings.Join(sums, ", ") + ` FROM rollups
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
			args := []any{r.Tenant, r.Webhook, int16(span), r.At.Truncate(length), n.slot, r.Delivered, r.Retried,
				r.Exhausted, r.Cancelled}
			for _, h := range r.Latency {
				args = append(args, h)
			}
			batch.Queue(addRollup, args...)
		}
	}
}

// Rollups lists rollups; see store.Stats.
func (db *DB) Rollups(ctx context.Context, q store.RollupQuery) ([]store.Rollup, error) {
	return collectListed(ctx, db.lists, "rollups", func(row pgx.CollectableRow) (store.Rollup, error) {
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

// selectWaitingCounts counts the waiting rows of the webhooks $2 up to $3 each.
const selectWaitingCounts = `SELECT h.webhook, c.waiting, first.event FROM unnest($2::bigint[]) AS h (webhook)
	CROSS JOIN LATERAL (SELECT event FROM waiting WHERE tenant = $1 AND webhook = h.webhook ORDER BY event LIMIT 1)
		AS first
	CROSS JOIN LATERAL (SELECT count(*) AS waiting
		FROM (SELECT 1 FROM waiting WHERE tenant = $1 AND webhook = h.webhook LIMIT $3) AS w) AS c`

// WaitingCounts counts waiting rows; see store.Stats.
func (db *DB) WaitingCounts(ctx context.Context, tenant string, webhooks []int64, limit int) (
	[]store.WaitingCount, error) {
	return collectListed(ctx, db.lists, "waiting counts", pgx.RowToStructByPos[store.WaitingCount], selectWaitingCounts,
		tenant, webhooks, limit)
}

// selectLastOutcomes finds the last outcomes of the webhooks $2.
const selectLastOutcomes = `SELECT h.webhook, o.* FROM unnest($2::bigint[]) AS h (webhook)
	CROSS JOIN LATERAL (SELECT event, attempt, kind, at, duration, sent, status, next_at, coalesce(class, ''),
			coalesce(key_id, ''), NULL::bytea, NULL::bytea
		FROM outcomes WHERE tenant = $1 AND webhook = h.webhook ORDER BY event DESC, attempt DESC LIMIT 1) AS o`

// LastOutcomes gives the last outcome of the newest event that was tried; see store.Stats.
func (db *DB) LastOutcomes(ctx context.Context, tenant string, webhooks []int64) ([]store.Outcome, error) {
	list, err := collectListed(ctx, db.lists, "last outcomes", scanOutcome, selectLastOutcomes, tenant, webhooks)
	for i := range list {
		list[i].Tenant = tenant
	}
	return list, err
}
