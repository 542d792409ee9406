package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

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

var upsertRollup = func() string {
	var sums []string
	for _, c := range rollupCounts {
		sums = append(sums, c+" = "+c+" + excluded."+c)
	}
	return "INSERT INTO rollups (tenant, webhook, span, start, " + strings.Join(rollupCounts, ", ") +
		") VALUES (?" + strings.Repeat(", ?", 3+len(rollupCounts)) + ") ON CONFLICT DO UPDATE SET " +
		strings.Join(sums, ", ")
}()

const trimRollups = `DELETE FROM rollups WHERE (tenant, webhook, span, start) IN
	(SELECT tenant, webhook, span, start FROM rollups WHERE span = ? AND start < ? LIMIT ?)`

// trimRollupsStep is how many rollups of each span one transaction removes at most.
const trimRollupsStep = 500

// addRollups adds to the rollups of minutes and hours.
func (w *writer) addRollups(list []store.Rollup) error {
	for i := range list {
		r := &list[i]
		for span, length := range []time.Duration{store.PerMinute: time.Minute, store.PerHour: time.Hour} {
			s := w.addRollup
			s.set(0, r.Tenant).set(1, r.Webhook).set(2, int64(span)).set(3, r.At.Truncate(length).UnixMilli())
			s.set(4, r.Delivered).set(5, r.Retried).set(6, r.Exhausted).set(7, r.Cancelled)
			for j, n := range r.Latency {
				s.set(8+j, n)
			}
			if _, err := s.exec(); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeRollups removes some of what is too old; hours are kept as long as events.
func (w *writer) removeRollups(t *store.Trim) error {
	for span, end := range []time.Time{store.PerMinute: t.Minutes, store.PerHour: t.Before.Time()} {
		if _, err := w.trimRollups.set(0, int64(span)).set(1, end.UnixMilli()).set(2,
			int64(trimRollupsStep)).exec(); err != nil {
			return err
		}
	}
	return nil
}

// Rollups lists rollups; see store.Stats.
func (db *DB) Rollups(ctx context.Context, q store.RollupQuery) (list []store.Rollup, _ error) {
	if len(q.Webhooks) == 0 {
		return nil, nil
	}
	var sums []string
	for _, c := range rollupCounts {
		sums = append(sums, "sum("+c+")")
	}
	query := `SELECT webhook, (start - ?) / ? AS step, ` + strings.Join(sums, ", ") + ` FROM rollups
		WHERE tenant = ? AND webhook IN (?` + strings.Repeat(", ?", len(q.Webhooks)-1) + `) AND span = ? AND start >= ? AND start < ?
		GROUP BY webhook, step ORDER BY webhook, step`
	args := []any{q.Since.UnixMilli(), q.Step.Milliseconds(), q.Tenant}
	for _, w := range q.Webhooks {
		args = append(args, w)
	}
	rows, err := db.rdb.QueryContext(ctx, query, append(args, int(q.Span), q.Since.UnixMilli(), q.Until.UnixMilli())...)
	err = each(rows, err, func() error {
		r := store.Rollup{Tenant: q.Tenant}
		var step int64
		to := []any{&r.Webhook, &step, &r.Delivered, &r.Retried, &r.Exhausted, &r.Cancelled}
		for i := range r.Latency {
			to = append(to, &r.Latency[i])
		}
		err := rows.Scan(to...)
		r.At = q.Since.Add(time.Duration(step) * q.Step).UTC()
		list = append(list, r)
		return err
	})
	return list, wrap(err, "rollups")
}

// selectWaitingCounts counts the waiting rows of the webhooks ?1 up to ?2 each.
const selectWaitingCounts = `SELECT value, (SELECT min(event) FROM waiting WHERE webhook = value),
	(SELECT count(*) FROM (SELECT 1 FROM waiting WHERE webhook = value LIMIT ?2)) FROM json_each(?1)`

// WaitingCounts counts waiting rows; see store.Stats.
func (db *DB) WaitingCounts(ctx context.Context, _ string, webhooks []int64, limit int) (
	list []store.WaitingCount, _ error) {
	hooks, err := json.Marshal(append([]int64{}, webhooks...))
	if err != nil {
		return nil, err
	}
	rows, err := db.rdb.QueryContext(ctx, selectWaitingCounts, string(hooks), limit)
	err = each(rows, err, func() error {
		var c store.WaitingCount
		var oldest sql.NullInt64
		err := rows.Scan(&c.Webhook, &oldest, &c.Waiting)
		if c.Oldest = store.Seq(oldest.Int64); oldest.Valid {
			list = append(list, c)
		}
		return err
	})
	return list, wrap(err, "waiting counts")
}

// selectLastOutcomes finds the last outcomes of the webhooks ?1.
const selectLastOutcomes = `SELECT o.webhook, o.event, attempt, kind, at, duration, sent, status, next_at, class, key_id
	FROM json_each(?1) AS w CROSS JOIN outcomes AS o ON o.webhook = w.value
		AND o.event = (SELECT max(event) FROM outcomes WHERE webhook = w.value)
	WHERE o.attempt = (SELECT max(attempt) FROM outcomes WHERE webhook = w.value AND event = o.event)`

// LastOutcomes gives the last outcome of the newest event that was tried; see store.Stats.
func (db *DB) LastOutcomes(ctx context.Context, tenant string, webhooks []int64) (list []store.Outcome, _ error) {
	hooks, err := json.Marshal(append([]int64{}, webhooks...))
	if err != nil {
		return nil, err
	}
	rows, err := db.rdb.QueryContext(ctx, selectLastOutcomes, string(hooks))
	err = each(rows, err, func() error {
		o := store.Outcome{Tenant: tenant}
		var at int64
		var next sql.NullInt64
		var class, keyID sql.NullString
		err := rows.Scan(&o.Webhook, &o.Event, &o.Attempt, &o.Kind, &at, &o.Duration, &o.Sent, &o.Status, &next, &class,
			&keyID)
		o.At, o.NextAt, o.Class, o.KeyID = millis(at), orZero(next), class.String, keyID.String
		list = append(list, o)
		return err
	})
	return list, wrap(err, "last outcomes")
}
