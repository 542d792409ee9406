package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quantfolio/qhook/internal/store"
)

// A webhook's deliveries come from three places: outcomes, waiting rows, and (accepted lately, neither) the engines'
// memory. A tenant's come from its events where that is quicker. Each gives its newest $7 at most, from event $4 down to
// $3, or for webhooks from $6 on from event $5.
//
// The statements are written so that they are planned as steps from row to row in the order of an index, however wrong
// the estimates are: what is looked up for a row is a subquery, since EXISTS could become a join with everything there
// is; and so could a lateral one without OFFSET.
const (
	// The tenant's webhooks ($2, or 0 for all); the deleted ones too.
	hook  = `WITH hook AS (SELECT num, id FROM webhooks WHERE tenant = $1 AND ($2::bigint = 0 OR num = $2::bigint)),`
	hooks = hook + `
		found AS (`

	tried = `SELECT h.num, d.event FROM hook AS h CROSS JOIN LATERAL (
			SELECT DISTINCT o.event FROM outcomes AS o
			WHERE o.tenant = $1 AND o.webhook = h.num AND o.event BETWEEN $3 AND $4 AND (o.event <= $5 OR h.num < $6)
			ORDER BY o.event DESC LIMIT $7) AS d`

	waits = `SELECT h.num, d.event FROM hook AS h CROSS JOIN LATERAL (
			SELECT x.event FROM waiting AS x
			WHERE x.tenant = $1 AND x.webhook = h.num AND x.event BETWEEN $3 AND $4 AND (x.event <= $5 OR h.num < $6)
			ORDER BY x.event DESC LIMIT $7) AS d`

	ended = `SELECT h.num, d.event FROM hook AS h CROSS JOIN LATERAL (
			SELECT o.event FROM outcomes AS o
			WHERE o.tenant = $1 AND o.webhook = h.num AND o.event BETWEEN $3 AND $4 AND (o.event <= $5 OR h.num < $6)
				AND o.kind = `
	// The index knows the kind only as one of two.
	givenUp = `$8 AND o.kind IN ('exhausted', 'cancelled')`
	// The outcome is the delivery's last word.
	lastWord = `
				AND (SELECT 1 FROM waiting AS x WHERE x.tenant = $1 AND x.webhook = o.webhook AND x.event = o.event) IS NULL
				AND (SELECT 1 FROM outcomes AS l WHERE l.tenant = $1 AND l.webhook = o.webhook AND l.event = o.event
					AND l.attempt > o.attempt LIMIT 1) IS NULL
			ORDER BY o.event DESC LIMIT $7) AS d`

	accepted = `(SELECT w.num, e.seq AS event FROM events AS e CROSS JOIN LATERAL unnest(e.webhooks) AS w (num)
		WHERE e.tenant = $1 AND e.seq BETWEEN $3 AND $4 AND (e.seq <= $5 OR w.num < $6) AND w.num = ANY (ARRAY(SELECT num FROM hook))`
	noRow = `
			AND (SELECT 1 FROM waiting AS x WHERE x.tenant = $1 AND x.webhook = w.num AND x.event = e.seq) IS NULL`
	// Every event below $8 is settled or waiting.
	inMemory = accepted + noRow + ` AND e.seq >= $8
			AND (SELECT 1 FROM outcomes AS o WHERE o.tenant = $1 AND o.webhook = w.num AND o.event = e.seq LIMIT 1) IS NULL`
	wereDelivered = accepted + noRow + `
			AND (SELECT o.kind FROM outcomes AS o WHERE o.tenant = $1 AND o.webhook = w.num AND o.event = e.seq
				ORDER BY o.attempt DESC LIMIT 1) = 'delivered'`
	acceptedLast = `
		ORDER BY e.seq DESC, w.num DESC LIMIT $7)`

	states = `),
		page AS (SELECT num, event FROM found ORDER BY event DESC, num DESC LIMIT $7)
		SELECT p.num, p.event, h.id, e.id, e.type, x.due_at
		FROM page AS p JOIN hook AS h ON h.num = p.num
			CROSS JOIN LATERAL (SELECT id, type FROM events
				WHERE tenant = $1 AND seq = p.event AND seq BETWEEN $3 AND $4 OFFSET 0) AS e
			LEFT JOIN LATERAL (SELECT due_at FROM waiting
				WHERE tenant = $1 AND webhook = p.num AND event = p.event OFFSET 0) AS x ON true
		ORDER BY p.event DESC, p.num DESC`

	// What is counted is the same, up to $7; what is found has each delivery once.
	howMany = `) SELECT count(*) FROM (SELECT 1 FROM found LIMIT $7) AS n`

	findAll          = hooks + accepted + acceptedLast
	findAllOfOne     = hooks + tried + ` UNION ` + waits + ` UNION ` + inMemory + acceptedLast
	findWaiting      = hooks + waits + ` UNION ALL ` + inMemory + acceptedLast // what is in memory only has no row
	findDelivered    = hooks + wereDelivered + acceptedLast
	findDeliveredOne = hooks + ended + `'delivered'` + lastWord
	findGivenUp      = hooks + ended + givenUp + lastWord

	// The same, looking up the last word of those alone that are the newest before that. Where one of those falls away,
	// they are fewer than $7, and it is not known what else there is.
	findGivenUpSoon = hook + `
		top AS (` + ended + givenUp + `
			ORDER BY o.event DESC LIMIT $7) AS d ORDER BY d.event DESC, h.num DESC LIMIT $7),
		found AS (SELECT DISTINCT t.num, t.event FROM top AS t
			WHERE (SELECT 1 FROM waiting AS x WHERE x.tenant = $1 AND x.webhook = t.num AND x.event = t.event) IS NULL
				AND (SELECT l.kind FROM outcomes AS l WHERE l.tenant = $1 AND l.webhook = t.num AND l.event = t.event
					ORDER BY l.attempt DESC LIMIT 1) = $8`

	// Of all nodes.
	selectLeastMark = `SELECT coalesce(min((SELECT m.recover_from FROM marks AS m WHERE m.node = f.node
		ORDER BY m.number DESC LIMIT 1)), 0)
		FROM fences AS f`

	// A list does not show the rest.
	selectTries = `SELECT o.webhook, o.event, o.attempt, o.kind, o.at, o.duration, o.sent, o.status, o.next_at,
			coalesce(o.class, ''), '', NULL::bytea, NULL::bytea
		FROM unnest($2::bigint[], $3::bigint[]) AS k (webhook, event) CROSS JOIN LATERAL (SELECT * FROM outcomes AS o
			WHERE o.tenant = $1 AND o.webhook = k.webhook AND o.event = k.event OFFSET 0) AS o
		ORDER BY o.webhook, o.event, o.attempt`

	selectOutcomes = `SELECT o.webhook, o.event, o.attempt, o.kind, o.at, o.duration, o.sent, o.status, o.next_at,
			coalesce(o.class, ''), coalesce(o.key_id, ''), o.response, o.timings
		FROM outcomes AS o WHERE o.tenant = $1 AND o.webhook = $2 AND o.event = $3 ORDER BY o.attempt`

	selectDelivery = `SELECT h.id, x.due_at, ` + recordColumns + `
		FROM webhooks AS h JOIN events AS e ON e.tenant = h.tenant AND h.num = ANY (e.webhooks)
			LEFT JOIN waiting AS x ON x.tenant = h.tenant AND x.webhook = h.num AND x.event = e.seq
		WHERE h.tenant = $1 AND h.num = $2 AND e.tenant = $1 AND e.seq = $3`
)

// snapshot runs fn on one state of the database, for a request.
func snapshot(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) error {
			return fn(ctx, tx)
		})
}

// state is a delivery without its outcomes.
type state struct {
	record store.DeliveryRecord
	due    *time.Time // of the waiting row
}

func scanState(row pgx.CollectableRow) (s state, err error) {
	r := &s.record
	err = row.Scan(&r.Webhook, &r.Event, &r.WebhookID, &r.EventID, &r.EventType, &s.due)
	return s, err
}

// finding is the beginning of a statement that finds deliveries, with its arguments.
type finding struct {
	query string
	args  []any
}

// find chooses how the filter's deliveries are found.
func find(tenant string, f store.DeliveryFilter, before store.DeliveryKey, limit int, now time.Time) (
	q finding, err error) {
	low, high := store.Span(f.Since, f.Until, now)
	if f.Event != 0 {
		low, high = max(low, f.Event), min(high, f.Event)
	}
	if before.Event == 0 {
		before = store.DeliveryKey{Event: high, Webhook: math.MaxInt64}
	}
	q.args = []any{tenant, f.Webhook, int64(low), int64(min(high, before.Event)), int64(min(high, before.Event-1)),
		before.Webhook, limit}
	switch one := f.Webhook != 0; {
	case f.Status == "" && one:
		q.query = findAllOfOne
	case f.Status == "":
		q.query = findAll
	case f.Status == store.StatusWaiting:
		q.query = findWaiting
	case f.Status == store.StatusDelivered && one:
		q.query = findDeliveredOne
	case f.Status == store.StatusDelivered:
		q.query = findDelivered
	case f.Status == store.StatusExhausted, f.Status == store.StatusCancelled:
		q.query, q.args = findGivenUp, append(q.args, string(f.Status))
	default:
		return q, fmt.Errorf("unknown status %q", f.Status)
	}
	return q, nil
}

// inOrder keeps the planner from reading all of a webhook's history by a bitmap, to sort it: of what the look-ups for
// each row leave it expects next to nothing, and it is almost everything. And it plans once: for all days' partitions
// that takes longer than the list.
const inOrder = `SET LOCAL enable_bitmapscan = off; SET LOCAL plan_cache_mode = force_generic_plan`

// mark prepares the transaction, and adds the argument that says from where on deliveries may be in memory only, where
// it is needed.
func (q *finding) mark(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, inOrder); err != nil {
		return err
	}
	if q.query != findAllOfOne && q.query != findWaiting {
		return nil
	}
	var mark int64
	err := tx.QueryRow(ctx, selectLeastMark).Scan(&mark)
	q.args = append(q.args, mark)
	return err
}

// recent is how far back is looked at first for a list, which is newest first: what takes time is to begin in the
// partitions of all days, for each webhook, although almost always those of two have enough.
const recent = day

// newest finds the newest deliveries, in the recent days first.
func (q *finding) newest(ctx context.Context, tx pgx.Tx, now time.Time, limit int) ([]state, error) {
	low, high := store.Seq(q.args[2].(int64)), min(store.Seq(q.args[3].(int64)), store.SeqAt(now))
	if from := store.SeqAt(high.Time().Add(-recent)); from > low {
		args, query := slices.Clone(q.args), q.query
		if args[2] = int64(from); query == findGivenUp {
			query = findGivenUpSoon
		}
		found, err := collect(ctx, tx, "find the recent ones", scanState, query+states, args...)
		if err != nil || len(found) == limit {
			return found, err
		}
	}
	return collect(ctx, tx, "find them", scanState, q.query+states, q.args...)
}

// CountDeliveries counts deliveries; see store.Records.
func (db *DB) CountDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, limit int) (
	n int, more bool, err error) {
	q, err := find(tenant, f, store.DeliveryKey{}, limit, db.Now())
	if err == nil {
		err = snapshotListed(ctx, db.lists, func(ctx context.Context, tx pgx.Tx) error {
			q := q // its mark is another each time
			if err := q.mark(ctx, tx); err != nil {
				return err
			}
			return tx.QueryRow(ctx, q.query+howMany, q.args...).Scan(&n)
		})
	}
	return n, n == limit, wrap(err, "count deliveries")
}

// ListDeliveries lists deliveries, newest first; see store.Records.
func (db *DB) ListDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, before store.DeliveryKey,
	limit int) (_ []store.DeliveryRecord, next store.DeliveryKey, _ error) {
	const what = "list deliveries"
	q, err := find(tenant, f, before, limit, db.Now())
	if err != nil {
		return nil, next, wrap(err, what)
	}
	var found []state
	tries := map[store.DeliveryKey][]store.Outcome{}
	err = snapshotListed(ctx, db.lists, func(ctx context.Context, tx pgx.Tx) (err error) {
		q := q // its mark is another each time
		clear(tries)
		if err := q.mark(ctx, tx); err != nil {
			return err
		}
		if found, err = q.newest(ctx, tx, db.Now(), limit); err != nil || len(found) == 0 {
			return err
		}
		webhooks, events := make([]int64, len(found)), make([]int64, len(found))
		for i, s := range found {
			webhooks[i], events[i] = s.record.Webhook, int64(s.record.Event)
		}
		list, err := collect(ctx, tx, "their outcomes", scanOutcome, selectTries, tenant, webhooks, events)
		for _, o := range list {
			tries[o.DeliveryKey] = append(tries[o.DeliveryKey], o)
		}
		return err
	})
	if err != nil {
		return nil, next, wrap(err, what)
	}
	records, now := make([]store.DeliveryRecord, len(found)), db.Now()
	for i, s := range found {
		records[i] = s.record
		records[i].Sum(tries[s.record.DeliveryKey], orZero(s.due), now)
	}
	return records, next, nil
}

// Delivery finds one delivery with its event and outcomes; see store.Records.
func (db *DB) Delivery(ctx context.Context, tenant string, key store.DeliveryKey) (
	r store.DeliveryRecord, e store.EventRecord, list []store.Outcome, err error) {
	what := fmt.Sprintf("delivery of event %d to webhook %d", key.Event, key.Webhook)
	r.DeliveryKey = key
	var due *time.Time
	err = snapshot(ctx, db.pool, func(ctx context.Context, tx pgx.Tx) (err error) {
		e, err = one(ctx, tx, "find it", func(row pgx.CollectableRow) (e store.EventRecord, err error) {
			err = row.Scan(append([]any{&r.WebhookID, &due, &e.Seq, &e.Webhooks}, eventColumns(&e.Event)...)...)
			own(&e.Event)
			return e, err
		}, selectDelivery, tenant, key.Webhook, int64(key.Event))
		if err != nil {
			return err
		}
		list, err = collect(ctx, tx, "its outcomes", scanOutcome, selectOutcomes, tenant, key.Webhook, int64(key.Event))
		return err
	})
	if err != nil {
		return store.DeliveryRecord{}, store.EventRecord{}, nil, wrap(err, what)
	}
	for i := range list {
		list[i].Tenant = tenant
	}
	r.EventID, r.EventType = e.Event.ID, e.Event.Type
	r.Sum(list, orZero(due), db.Now())
	return r, e, list, nil
}

func scanOutcome(row pgx.CollectableRow) (o store.Outcome, err error) {
	var next *time.Time
	var timings []byte
	err = row.Scan(&o.Webhook, &o.Event, &o.Attempt, &o.Kind, &o.At, (*int64)(&o.Duration), &o.Sent, &o.Status, &next,
		&o.Class, &o.KeyID, &o.Response, &timings)
	o.At, o.NextAt, o.Timings = floor(o.At), orZero(next), store.ParseTimings(timings)
	return o, err
}

const lastSigned = `SELECT max(at) FROM
	(SELECT at, key_id FROM outcomes WHERE tenant = $1 AND webhook = $2 AND event < $3 ORDER BY event DESC LIMIT $4) AS o
	WHERE key_id = $5`

// LastSigned is when the signing key was last used; see store.Records.
func (db *DB) LastSigned(ctx context.Context, tenant string, webhook int64, key string, before store.Seq) (
	time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var at *time.Time
	err := db.pool.QueryRow(ctx, lastSigned, tenant, webhook, int64(before), store.SignedLooked, key).Scan(&at)
	return orZero(at), wrap(err, "last use of a signing key")
}
