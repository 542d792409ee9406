package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	// A row that another node has in memory stays as it is: the delivery is under way there. Who asks for another
	// attempt while that node makes one knows of too few; the record knows of all.
	upsertWaiting = `INSERT INTO waiting (tenant, webhook, event, attempts, due_at, node)
		SELECT tenant, webhook, event, CASE WHEN attempts = 0 THEN 0 ELSE greatest(attempts, (SELECT max(o.attempt) FROM outcomes AS o
				WHERE o.tenant = w.tenant AND o.webhook = w.webhook AND o.event = w.event)) END,
			due_at, CASE WHEN held THEN $7::uuid END
		FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::boolean[])
			AS w (tenant, webhook, event, attempts, due_at, held)
		ON CONFLICT (tenant, webhook, event) DO UPDATE
			SET attempts = excluded.attempts, due_at = excluded.due_at, node = excluded.node
			WHERE waiting.node IS NULL OR waiting.node = $7::uuid`

	deleteWaiting = `DELETE FROM waiting AS w USING unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (tenant, webhook, event)
		WHERE w.tenant = k.tenant AND w.webhook = k.webhook AND w.event = k.event`

	// The fence is locked, so that a node whose work was taken over takes nothing that nobody would give back. The rows
	// are updated where they were found: by their key, all of the webhook's could be read for each.
	takeDue = `WITH alive AS (SELECT 1 FROM fences WHERE node = $5 FOR KEY SHARE),
		due AS (SELECT ctid AS at FROM waiting
			WHERE tenant = $1 AND webhook = $2 AND due_at >= $3 AND due_at <= $4 AND (node IS NULL OR node = $5)
				AND event NOT IN (SELECT unnest($6::bigint[])) AND EXISTS (SELECT 1 FROM alive)
			ORDER BY due_at, event LIMIT $7 FOR UPDATE SKIP LOCKED),
		taken AS (UPDATE waiting AS w SET node = $5 FROM due WHERE w.ctid = due.at AND w.tenant = $1 AND w.webhook = $2
			RETURNING w.event, w.attempts, w.due_at)
		SELECT t.event, t.attempts, t.due_at, e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, e.data
		FROM taken AS t JOIN events AS e ON e.tenant = $1 AND e.seq = t.event ORDER BY t.due_at, t.event`

	selectNextDue = `SELECT due_at FROM waiting WHERE tenant = $1 AND webhook = $2 AND due_at >= $3
			AND (node IS NULL OR node = $4) AND event NOT IN (SELECT unnest($5::bigint[]))
		ORDER BY due_at LIMIT 1`

	// From webhook to webhook that has a row which no node has, so that only the earliest of each is read.
	free = `WITH RECURSIVE free AS (
			(SELECT tenant, webhook, due_at FROM waiting WHERE node IS NULL ORDER BY tenant, webhook, due_at LIMIT 1)
			UNION ALL
			SELECT next.* FROM free AS f CROSS JOIN LATERAL (SELECT x.tenant, x.webhook, x.due_at FROM waiting AS x
				WHERE x.node IS NULL AND (x.tenant, x.webhook) > (f.tenant, f.webhook) ORDER BY x.tenant, x.webhook, x.due_at
					LIMIT 1) AS next)
		`

	selectUnclaimed = free + `SELECT f.webhook FROM free AS f
		WHERE f.due_at <= (SELECT CASE WHEN w.deleted_at IS NOT NULL THEN 'infinity' WHEN w.enabled THEN now() END
			FROM webhooks AS w WHERE w.tenant = f.tenant AND w.num = f.webhook)`

	selectBacklogs = free + `SELECT webhook, min(due_at) FROM (
			SELECT webhook, due_at FROM free UNION ALL SELECT webhook, due_at FROM waiting WHERE node = $1) AS b
		GROUP BY webhook ORDER BY webhook`

	// From tenant to tenant, so that only the end of each one's events is read.
	selectLastSeq = `WITH RECURSIVE t AS (
			(SELECT tenant FROM events ORDER BY tenant LIMIT 1)
			UNION ALL
			SELECT (SELECT e.tenant FROM events AS e WHERE e.tenant > t.tenant ORDER BY e.tenant LIMIT 1) FROM t WHERE t.tenant IS NOT NULL)
		SELECT coalesce(max((SELECT e.seq FROM events AS e WHERE e.tenant = t.tenant ORDER BY e.seq DESC LIMIT 1)), 0) FROM t`

	// What is looked up for a row is a subquery: EXISTS could become a join with everything there is.
	selectUnsettled = `SELECT e.seq, e.tenant, ARRAY(
			SELECT w.num FROM unnest(e.webhooks) AS w (num)
			WHERE (SELECT 1 FROM outcomes AS o WHERE o.tenant = e.tenant AND o.webhook = w.num AND o.event = e.seq LIMIT 1) IS NULL
				AND (SELECT 1 FROM waiting AS x WHERE x.tenant = e.tenant AND x.webhook = w.num AND x.event = e.seq) IS NULL
			ORDER BY w.num),
			e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, e.data
		FROM events AS e WHERE e.seq >= $1 AND e.slot = $2 ORDER BY e.seq LIMIT $3`
)

// queueWaiting appends what happens to waiting rows, in the order of their key, so that nodes never wait in a circle.
func queueWaiting(n *node, ops []store.RowOp, batch *pgx.Batch) {
	slices.SortFunc(ops, func(a, b store.RowOp) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	var tenant, goneTenant []string
	var webhook, ev, goneWebhook, goneEvent []int64
	var attempts []int32
	var due []time.Time
	var held []bool
	for i := range ops {
		op := &ops[i]
		if op.Delete {
			goneTenant, goneWebhook, goneEvent = append(goneTenant, op.Tenant), append(goneWebhook,
				op.Webhook), append(goneEvent, int64(op.Event))
			continue
		}
		tenant, webhook, ev = append(tenant, op.Tenant), append(webhook, op.Webhook), append(ev, int64(op.Event))
		attempts, due, held = append(attempts, int32(op.Attempts)), append(due, floor(op.DueAt)), append(held, op.Held)
	}
	if len(ev) > 0 {
		batch.Queue(upsertWaiting, tenant, webhook, ev, attempts, due, held, n.id)
	}
	if len(goneEvent) > 0 {
		batch.Queue(deleteWaiting, goneTenant, goneWebhook, goneEvent)
	}
}

// floor is the resolution that is stored.
func floor(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// bound is a time that PostgreSQL can compare with.
func bound(t time.Time) time.Time {
	return time.UnixMilli(min(max(t.UnixMilli(), 0), int64(math.MaxInt64>>store.SeqShift))).UTC()
}

func keys(skip map[store.Seq]struct{}) []int64 {
	list := make([]int64, 0, len(skip))
	for seq := range skip {
		list = append(list, int64(seq))
	}
	return list
}

// readTime bounds the engine's reads: a connection that was lost without a word does not say so.
const readTime = 10 * time.Second

// Due takes the webhook's waiting deliveries that are due; see store.Journal.
func (db *DB) Due(ctx context.Context, tenant string, webhook int64, from, to time.Time, limit int, skip map[store.Seq]struct{}) ([]store.Due, error) {
	n := db.node.Load()
	if n == nil {
		return nil, errNotJoined
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var list []store.Due
	var d store.Due
	rows, _ := db.pool.Query(ctx, takeDue, tenant, webhook, bound(from), bound(to), n.id, keys(skip),
		limit) // ForEachRow says what is wrong
	_, err := pgx.ForEachRow(rows, append([]any{&d.DeliveryKey.Event, &d.Attempts, &d.DueAt}, eventColumns(&d.Event)...), func() error {
		x := d
		x.Webhook, x.Tenant, x.DueAt = webhook, tenant, d.DueAt.UTC()
		own(&x.Event)
		list = append(list, x)
		return nil
	})
	if err != nil {
		return nil, wrap(err, fmt.Sprintf("due deliveries of webhook %d", webhook))
	}
	return list, nil
}

// eventColumns are the destinations of id, type, object_id, object_owner_id, owner_id, time, data.
func eventColumns(e *event.Event) []any {
	return []any{&e.ID, &e.Type, &e.ObjectID, &e.ObjectOwnerID, &e.OwnerID, &e.Time, &e.Data}
}

// own makes an event independent of the row that it was read from.
func own(e *event.Event) {
	e.Time, e.Data = e.Time.UTC(), append([]byte(nil), e.Data...)
}

// NextDue tells when the earliest waiting delivery is due; see store.Journal.
func (db *DB) NextDue(ctx context.Context, tenant string, webhook int64, from time.Time, skip map[store.Seq]struct{}) (
	time.Time, bool, error) {
	n := db.node.Load()
	if n == nil {
		return time.Time{}, false, errNotJoined
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var at time.Time
	err := db.pool.QueryRow(ctx, selectNextDue, tenant, webhook, bound(from), n.id, keys(skip)).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, false, nil
	}
	return at.UTC(), err == nil, wrap(err, fmt.Sprintf("next due delivery of webhook %d", webhook))
}

// Unclaimed lists webhooks with due deliveries that no node has; see store.Journal.
func (db *DB) Unclaimed(ctx context.Context) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	rows, _ := db.pool.Query(ctx, selectUnclaimed) // CollectRows says what is wrong
	nums, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return nums, wrap(err, "deliveries that no node has")
}

// Backlogs lists webhooks with waiting deliveries that no other node has; see store.Journal.
func (db *DB) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	n := db.node.Load()
	if n == nil {
		return nil, errNotJoined
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	return collect(ctx, db.pool, "backlogs", func(row pgx.CollectableRow) (b store.Backlog, err error) {
		err = row.Scan(&b.Webhook, &b.DueAt)
		b.DueAt = b.DueAt.UTC()
		return b, err
	}, selectBacklogs, n.id)
}

// Attempts is the largest attempt number on record; see store.Journal.
func (db *DB) Attempts(ctx context.Context, tenant string, key store.DeliveryKey) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err = db.pool.QueryRow(ctx, `SELECT coalesce(max(attempt), 0) FROM outcomes WHERE tenant = $1 AND webhook = $2 AND event = $3`,
		tenant, key.Webhook, int64(key.Event)).Scan(&n)
	return n, wrap(err, "attempts of a delivery")
}

// LastSeq is the largest Seq stored; see store.Journal.
func (db *DB) LastSeq(ctx context.Context) (seq store.Seq, err error) {
	err = db.pool.QueryRow(ctx, selectLastSeq).Scan(&seq)
	return seq, wrap(err, "last seq")
}

// RecoverFrom is this node's mark; see store.Journal.
func (db *DB) RecoverFrom(ctx context.Context) (seq store.Seq, err error) {
	n := db.node.Load()
	if n == nil {
		return 0, errNotJoined
	}
	err = db.pool.QueryRow(ctx, selectMark, n.id).Scan(nil, &seq)
	return seq, wrap(notFound(err), "recovery mark")
}

// Unsettled lists this node's events with unsettled deliveries; see store.Journal. Those of other nodes become waiting
// deliveries when the nodes leave or die.
func (db *DB) Unsettled(ctx context.Context, from store.Seq, limit int) (
	found []store.Unsettled, next store.Seq, err error) {
	n := db.node.Load()
	if n == nil {
		return nil, 0, errNotJoined
	}
	looked, last := 0, store.Seq(0)
	var u store.Unsettled
	rows, _ := db.pool.Query(ctx, selectUnsettled, int64(from), n.slot, limit) // ForEachRow says what is wrong
	_, err = pgx.ForEachRow(rows, append([]any{&u.Seq, &u.Tenant, &u.Webhooks}, eventColumns(&u.Event)...),
		func() error {
			looked, last = looked+1, u.Seq
			if len(u.Webhooks) > 0 {
				x := u
				x.Webhooks = slices.Clone(u.Webhooks)
				own(&x.Event)
				found = append(found, x)
			}
			return nil
		})
	if err != nil {
		return nil, 0, wrap(err, "unsettled events")
	}
	if looked == limit {
		next = last + 1
	}
	return found, next, nil
}
