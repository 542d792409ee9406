package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

// A webhook's deliveries come from three places: outcomes, waiting rows, and (accepted lately, neither) the engine's
// memory. Each list is newest first from ?2 down to ?3, up to ?4 rows; ?1 is the webhook.
const (
	listTried = `SELECT DISTINCT event FROM outcomes WHERE webhook = ?1 AND event <= ?2 AND event >= ?3
		ORDER BY event DESC LIMIT ?4`

	listWaiting = `SELECT event FROM waiting WHERE webhook = ?1 AND event <= ?2 AND event >= ?3
		ORDER BY event DESC LIMIT ?4`

	// These two look at up to ?5 outcomes, and keep the order in which they are looked at.
	listDelivered = `SELECT event FROM (` + lookTried + ` LIMIT ?5) AS o WHERE kind = 'delivered'` + settledBy +
		` LIMIT ?4`

	listGivenUp = `SELECT event FROM (` + lookGivenUp + ` LIMIT ?5) AS o WHERE true` + settledBy + ` LIMIT ?4`

	lookTried = `SELECT webhook, event, attempt, kind FROM outcomes WHERE webhook = ?1 AND event <= ?2 AND event >= ?3
			ORDER BY event DESC, attempt DESC`

	// The first condition on kind is the index's own; without it SQLite does not use the index.
	lookGivenUp = `SELECT webhook, event, attempt FROM outcomes INDEXED BY outcomes_given_up
			WHERE webhook = ?1 AND event <= ?2 AND event >= ?3 AND kind IN ('exhausted', 'cancelled') AND kind = ?6
			ORDER BY event DESC, attempt DESC`

	// The event of the last outcome that they look at, of which they know the last word.
	lastTried   = `SELECT event FROM (` + lookTried + ` LIMIT 1 OFFSET ?5 - 1) AS o`
	lastGivenUp = `SELECT event FROM (` + lookGivenUp + ` LIMIT 1 OFFSET ?5 - 1) AS o`

	lastUnsettled = `SELECT seq FROM events INDEXED BY events_by_tenant WHERE tenant = ?1 AND seq <= ?2 AND seq >= ?3
			ORDER BY seq DESC LIMIT 1 OFFSET ?4 - 1`

	// The outcome is the delivery's last word.
	settledBy = `
		AND NOT EXISTS (SELECT 1 FROM waiting AS w WHERE w.webhook = o.webhook AND w.event = o.event)
		AND NOT EXISTS (SELECT 1 FROM outcomes AS l WHERE l.webhook = o.webhook AND l.event = o.event AND l.attempt > o.attempt)`

	// Of one tenant (?1) or of one of its webhooks (?5, or 0), below delivery (?6, ?7). ?3 is at or above the recovery
	// mark.
	listUnsettled = `SELECT e.seq, w.value
		FROM events AS e INDEXED BY events_by_tenant CROSS JOIN json_each(e.webhooks) AS w
		WHERE e.tenant = ?1 AND e.seq <= ?2 AND e.seq >= ?3 AND (?5 = 0 OR w.value = ?5)
			AND (e.seq < ?6 OR w.value < ?7)
			AND NOT EXISTS (SELECT 1 FROM outcomes AS o WHERE o.webhook = w.value AND o.event = e.seq)
			AND NOT EXISTS (SELECT 1 FROM waiting AS x WHERE x.webhook = w.value AND x.event = e.seq)
		ORDER BY e.seq DESC, w.value DESC LIMIT ?4`

	selectTenantWebhooks = `SELECT num, id FROM webhooks WHERE tenant = ?1 AND (?2 = 0 OR num = ?2)`

	selectDelivery = `SELECT w.due_at, ` + eventColumns + ` FROM events AS e
		LEFT JOIN waiting AS w ON w.webhook = ?2 AND w.event = e.seq
		WHERE e.seq = ?3 AND e.tenant = ?1`

	selectOutcomes = `SELECT attempt, kind, at, duration, sent, status, next_at, class, key_id, response, timings FROM outcomes
		WHERE webhook = ? AND event = ? ORDER BY attempt`

	// The same without what a list does not show.
	selectState = `SELECT w.due_at, e.id, e.type FROM events AS e
		LEFT JOIN waiting AS w ON w.webhook = ?2 AND w.event = e.seq
		WHERE e.seq = ?3 AND e.tenant = ?1`

	selectTries = `SELECT attempt, kind, at, duration, sent, status, next_at, class, NULL, NULL, NULL FROM outcomes
		WHERE webhook = ? AND event = ? ORDER BY attempt`
)

// lookedAt is how many outcomes, and how many events, a list of a webhook's deliveries looks at. It takes some
// milliseconds.
const lookedAt = 10_000

// ListDeliveries lists deliveries, newest first; see store.Records.
func (db *DB) ListDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, before store.DeliveryKey,
	limit int) (list []store.DeliveryRecord, next store.DeliveryKey, err error) {
	err = db.snapshot(ctx, "list deliveries", func(ctx context.Context, tx *sql.Tx) error {
		q := deliveries{tx: tx, read: &db.read, tenant: tenant, f: f, before: before, limit: limit,
			look: max(lookedAt, limit), now: db.Now()}
		keys, err := q.keys(ctx)
		if err != nil {
			return err
		}
		for _, key := range keys {
			r, err := q.record(ctx, key)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		if len(list) < limit && q.to != 0 {
			next = store.DeliveryKey{Event: q.to}
		}
		return nil
	})
	if err != nil {
		return nil, next, err
	}
	return list, next, nil
}

// CountDeliveries counts deliveries; see store.Records.
func (db *DB) CountDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, limit int) (
	n int, more bool, err error) {
	err = db.snapshot(ctx, "count deliveries", func(ctx context.Context, tx *sql.Tx) error {
		q := deliveries{tx: tx, read: &db.read, tenant: tenant, f: f, limit: limit, look: limit, now: db.Now(),
			before: store.DeliveryKey{Event: math.MaxInt64, Webhook: math.MaxInt64}}
		n, err = q.count(ctx)
		more = n == limit || q.to != 0
		return err
	})
	return n, more, err
}

// count counts the list's deliveries without reading them.
func (q *deliveries) count(ctx context.Context) (n int, err error) {
	if err := q.webhooks(ctx); err != nil {
		return 0, err
	}
	low, high := store.Span(q.f.Since, q.f.Until, q.now)
	if q.f.Event != 0 {
		low, high = max(low, q.f.Event), min(high, q.f.Event)
	}
	found := map[store.DeliveryKey]struct{}{}
	if err := q.memory(ctx, low, high, found); err != nil {
		return 0, err
	}
	n = len(found)
	list, ok := map[store.Status]string{
		"": `SELECT event FROM (` + listTried + `) UNION SELECT event FROM (` + listWaiting + `)`, store.StatusWaiting: listWaiting,
		store.StatusDelivered: listDelivered, store.StatusExhausted: listGivenUp, store.StatusCancelled: listGivenUp,
	}[q.f.Status]
	if !ok {
		return 0, fmt.Errorf("unknown status %q", q.f.Status)
	}
	for num := range q.names {
		if n >= q.limit {
			break
		}
		args := q.args(num, low, high, q.limit-n)
		var here int
		if err := q.tx.QueryRowContext(ctx, `SELECT count(*) FROM (`+list+`)`, args...).Scan(&here); err != nil {
			return 0, err
		}
		if n += here; n < q.limit {
			if err := q.far(ctx, args); err != nil {
				return 0, err
			}
		}
	}
	return min(n, q.limit), nil
}

// deliveries is one list being made.
type deliveries struct {
	tx     *sql.Tx
	read   *statements
	tenant string
	f      store.DeliveryFilter
	before store.DeliveryKey
	limit  int
	look   int       // outcomes of a webhook that are looked at
	to     store.Seq // the newest event that the list came to for some webhook, and no further; 0: it came to the end
	now    time.Time
	names  map[int64]string // the tenant's webhooks
}

// keys finds the list's deliveries.
func (q *deliveries) keys(ctx context.Context) ([]store.DeliveryKey, error) {
	if err := q.webhooks(ctx); err != nil {
		return nil, err
	}
	low, high := store.Span(q.f.Since, q.f.Until, q.now)
	if q.f.Event != 0 {
		low, high = max(low, q.f.Event), min(high, q.f.Event)
	}
	if q.before.Event == 0 {
		q.before = store.DeliveryKey{Event: high, Webhook: math.MaxInt64}
	}
	found := map[store.DeliveryKey]struct{}{}
	for num := range q.names {
		top := min(high, q.before.Event)
		if num >= q.before.Webhook {
			top = min(high, q.before.Event-1)
		}
		if err := q.webhook(ctx, num, low, top, found); err != nil {
			return nil, err
		}
	}
	if err := q.memory(ctx, low, high, found); err != nil {
		return nil, err
	}
	maps.DeleteFunc(found, func(k store.DeliveryKey, _ struct{}) bool { return k.Event < q.to })
	keys := slices.SortedFunc(maps.Keys(found), func(a, b store.DeliveryKey) int {
		return cmp.Or(cmp.Compare(b.Event, a.Event), cmp.Compare(b.Webhook, a.Webhook))
	})
	return keys[:min(len(keys), q.limit)], nil
}

// webhooks reads the tenant's webhooks that the list is about; the deleted ones too.
func (q *deliveries) webhooks(ctx context.Context) error {
	q.names = map[int64]string{}
	rows, err := q.tx.StmtContext(ctx, q.read.tenantWebhooks.Stmt).QueryContext(ctx, q.tenant, q.f.Webhook)
	return each(rows, err, func() error {
		var num int64
		var id string
		err := rows.Scan(&num, &id)
		q.names[num] = id
		return err
	})
}

// webhook finds one webhook's deliveries that are on record.
func (q *deliveries) webhook(ctx context.Context, num int64, low, high store.Seq,
	found map[store.DeliveryKey]struct{}) error {
	args := q.args(num, low, high, q.limit)
	var stmts []*stmt
	switch q.f.Status {
	case "":
		stmts = []*stmt{q.read.tried, q.read.waiting}
	case store.StatusWaiting:
		stmts = []*stmt{q.read.waiting}
	case store.StatusDelivered:
		stmts = []*stmt{q.read.delivered}
	case store.StatusExhausted, store.StatusCancelled:
		stmts = []*stmt{q.read.givenUp}
	default:
		return fmt.Errorf("unknown status %q", q.f.Status)
	}
	n := 0
	for _, stmt := range stmts {
		rows, err := q.tx.StmtContext(ctx, stmt.Stmt).QueryContext(ctx, args...)
		err = each(rows, err, func() error {
			key := store.DeliveryKey{Webhook: num}
			err := rows.Scan(&key.Event)
			found[key] = struct{}{}
			n++
			return err
		})
		if err != nil {
			return err
		}
	}
	if n == q.limit {
		return nil
	}
	return q.far(ctx, args)
}

// args are those of a webhook's list.
func (q *deliveries) args(num int64, low, high store.Seq, limit int) []any {
	args := []any{num, int64(high), int64(low), limit}
	switch q.f.Status {
	case store.StatusDelivered:
		args = append(args, q.look)
	case store.StatusExhausted, store.StatusCancelled:
		args = append(args, q.look, string(q.f.Status))
	}
	return args
}

// far notes how far a webhook's list came that looked at as much as it may.
func (q *deliveries) far(ctx context.Context, args []any) error {
	query := lastTried
	switch len(args) {
	case 4: // it has all
		return nil
	case 6:
		query = lastGivenUp
	}
	return q.came(q.tx.QueryRowContext(ctx, query, args...))
}

func (q *deliveries) came(row *sql.Row) error {
	var to store.Seq
	err := row.Scan(&to)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	q.to = max(q.to, to)
	return err
}

// memory finds the deliveries that are not on record yet.
func (q *deliveries) memory(ctx context.Context, low, high store.Seq, found map[store.DeliveryKey]struct{}) error {
	if len(q.names) == 0 || q.f.Status != "" && q.f.Status != store.StatusWaiting {
		return nil
	}
	var mark store.Seq
	if err := q.tx.StmtContext(ctx, q.read.recoverFrom.Stmt).QueryRowContext(ctx).Scan(&mark); err != nil {
		return err
	}
	low, high = max(low, mark), min(high, q.before.Event)
	row := q.tx.StmtContext(ctx, q.read.lastUnsettled.Stmt).QueryRowContext(ctx, q.tenant, int64(high), int64(low),
		lookedAt)
	if err := q.came(row); err != nil {
		return err
	}
	rows, err := q.tx.StmtContext(ctx, q.read.inMemory.Stmt).QueryContext(ctx, q.tenant, int64(high),
		int64(max(low, q.to)), q.limit,
		q.f.Webhook, int64(q.before.Event), q.before.Webhook)
	return each(rows, err, func() error {
		var key store.DeliveryKey
		if err := rows.Scan(&key.Event, &key.Webhook); err != nil {
			return err
		}
		if _, ok := q.names[key.Webhook]; ok {
			found[key] = struct{}{}
		}
		return nil
	})
}

// record is the state of one delivery, for a list.
func (q *deliveries) record(ctx context.Context, key store.DeliveryKey) (store.DeliveryRecord, error) {
	r := store.DeliveryRecord{DeliveryKey: key, WebhookID: q.names[key.Webhook]}
	var due sql.NullInt64
	var id []byte
	err := q.tx.StmtContext(ctx, q.read.state.Stmt).QueryRowContext(ctx, q.tenant, key.Webhook,
		int64(key.Event)).Scan(&due, &id, &r.EventType)
	if err != nil {
		return r, fmt.Errorf("event %d: %w", key.Event, err)
	}
	if r.EventID, err = uuid.FromBytes(id); err != nil {
		return r, err
	}
	rows, err := q.tx.StmtContext(ctx, q.read.tries.Stmt).QueryContext(ctx, key.Webhook, int64(key.Event))
	tries, err := scanOutcomes(rows, err, key)
	r.Sum(tries, orZero(due), q.now)
	return r, err
}

// Delivery finds one delivery with its event and outcomes; see store.Records.
func (db *DB) Delivery(ctx context.Context, tenant string, key store.DeliveryKey) (
	r store.DeliveryRecord, e store.EventRecord, list []store.Outcome, err error) {
	err = db.snapshot(ctx, fmt.Sprintf("delivery of event %d to webhook %d", key.Event, key.Webhook),
		func(ctx context.Context, tx *sql.Tx) error {
			q := deliveries{tx: tx, read: &db.read, tenant: tenant, f: store.DeliveryFilter{Webhook: key.Webhook}}
			if key.Webhook == 0 {
				return store.ErrNotFound
			}
			if err := q.webhooks(ctx); err != nil {
				return err
			}
			var due sql.NullInt64
			e, err = scanEvent(tx.QueryRowContext(ctx, selectDelivery, tenant, key.Webhook, int64(key.Event)).Scan,
				&due)
			if err != nil {
				return notFound(err)
			}
			name, ok := q.names[key.Webhook]
			if !ok || !slices.Contains(e.Webhooks, key.Webhook) {
				return store.ErrNotFound
			}
			rows, err := tx.QueryContext(ctx, selectOutcomes, key.Webhook, int64(key.Event))
			if list, err = scanOutcomes(rows, err, key); err != nil {
				return err
			}
			for i := range list {
				list[i].Tenant = tenant
			}
			r = store.DeliveryRecord{DeliveryKey: key, WebhookID: name, EventID: e.Event.ID, EventType: e.Event.Type}
			r.Sum(list, orZero(due), db.Now())
			return nil
		})
	if err != nil {
		return store.DeliveryRecord{}, store.EventRecord{}, nil, err
	}
	return r, e, list, nil
}

func scanOutcomes(rows cursor, err error, key store.DeliveryKey) (list []store.Outcome, _ error) {
	err = each(rows, err, func() error {
		o := store.Outcome{DeliveryKey: key}
		var at int64
		var next sql.NullInt64
		var class, keyID sql.NullString
		var timings []byte
		if err := rows.Scan(&o.Attempt, &o.Kind, &at, &o.Duration, &o.Sent, &o.Status, &next, &class, &keyID,
			&o.Response, &timings); err != nil {
			return err
		}
		o.At, o.NextAt, o.Class, o.KeyID, o.Timings = millis(at), orZero(next), class.String, keyID.String, store.ParseTimings(timings)
		list = append(list, o)
		return nil
	})
	return list, err
}

const lastSigned = `SELECT max(at) FROM
	(SELECT at, key_id FROM outcomes WHERE webhook = ? AND event < ? ORDER BY event DESC LIMIT ?) WHERE key_id = ?`

// LastSigned is when the signing key was last used; see store.Records.
func (db *DB) LastSigned(ctx context.Context, _ string, webhook int64, key string, before store.Seq) (
	time.Time, error) {
	var at sql.NullInt64
	err := db.rdb.QueryRowContext(ctx, lastSigned, webhook, int64(before), store.SignedLooked, key).Scan(&at)
	return orZero(at), wrap(err, "last use of a signing key")
}
