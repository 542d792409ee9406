package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	selectDue = `SELECT w.event, w.attempts, w.due_at, e.tenant,
			e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, ` + dataOf + `
		FROM waiting AS w CROSS JOIN events AS e ON e.seq = w.event
		WHERE w.webhook = ? AND w.due_at >= ? AND w.due_at <= ? AND w.event NOT IN (SELECT value FROM json_each(?))
		ORDER BY w.due_at, w.event LIMIT ?`

	selectNextDue = `SELECT due_at FROM waiting WHERE webhook = ?1 AND due_at >= ?2
		AND event NOT IN (SELECT value FROM json_each(?3)) ORDER BY due_at LIMIT 1`

	selectAttempts = `SELECT coalesce(max(attempt), 0) FROM outcomes WHERE webhook = ? AND event = ?`

	selectLastSeq = `SELECT coalesce(max(seq), 0) FROM events`

	selectRecoverFrom = `SELECT recover_from FROM meta WHERE one = 1`

	// The webhooks of each event that are neither settled nor waiting.
	selectUnsettled = `SELECT e.seq, e.tenant, (
			SELECT json_group_array(w.value) FROM json_each(e.webhooks) AS w
			WHERE NOT EXISTS (SELECT 1 FROM outcomes WHERE webhook = w.value AND event = e.seq)
				AND NOT EXISTS (SELECT 1 FROM waiting WHERE webhook = w.value AND event = e.seq)),
			e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, ` + dataOf + `
		FROM events AS e WHERE e.seq >= ? ORDER BY e.seq LIMIT ?`
)

// statements are the prepared reads.
type statements struct {
	due, nextDue, attempts, lastSeq, recoverFrom, unsettled *stmt
	events, partAt, partLast, partsDown                     *stmt
	tried, waiting, delivered, givenUp, inMemory            *stmt
	lastUnsettled                                           *stmt
	tenantWebhooks, state, tries                            *stmt
	advisor, investor, session                              *stmt

	all []*sql.Stmt
}

func (s *statements) prepare(ctx context.Context, r *reads) error {
	for query, to := range map[string]**stmt{
		selectDue: &s.due, selectNextDue: &s.nextDue, selectAttempts: &s.attempts, selectLastSeq: &s.lastSeq,
		selectRecoverFrom: &s.recoverFrom, selectUnsettled: &s.unsettled,
		listEvents: &s.events, selectPartAt: &s.partAt, selectPartLast: &s.partLast, selectParts: &s.partsDown,
		listTried: &s.tried, listWaiting: &s.waiting, listDelivered: &s.delivered, listGivenUp: &s.givenUp,
		listUnsettled: &s.inMemory, lastUnsettled: &s.lastUnsettled, selectTenantWebhooks: &s.tenantWebhooks,
		selectState: &s.state, selectTries: &s.tries,
		selectAdvisor: &s.advisor, selectInvestor: &s.investor, selectSession: &s.session,
	} {
		prepared, err := r.db.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		*to = &stmt{prepared, r}
		s.all = append(s.all, prepared)
	}
	return nil
}

func (s *statements) close() {
	for _, stmt := range s.all {
		_ = stmt.Close() // the pool is closed next and says what is wrong
	}
}

// eventDest are the destinations of an event's columns, in the order id, type, object_id, object_owner_id, owner_id,
// time, data; done fills the event from them.
type eventDest struct {
	id   []byte
	time int64
	data []byte
}

func (d *eventDest) columns(e *event.Event) []any {
	return []any{&d.id, &e.Type, &e.ObjectID, &e.ObjectOwnerID, &e.OwnerID, &d.time, &d.data}
}

func (d *eventDest) done(e *event.Event) (err error) {
	e.Time = millis(d.time)
	if e.Data, err = unpack(d.data); err != nil {
		return err
	}
	e.ID, err = uuid.FromBytes(d.id)
	return err
}

// millis is the time that a column holds.
func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// cursor is sql.Rows, or ours.
type cursor interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// each calls scan for every row and closes the rows.
func each(rows cursor, err error, scan func() error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := scan(); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// Due lists the webhook's waiting deliveries that are due; see store.Journal.
func (db *DB) Due(ctx context.Context, _ string, webhook int64, from, to time.Time, limit int, skip map[store.Seq]struct{}) ([]store.Due, error) {
	var list []store.Due
	rows, err := db.read.due.QueryContext(ctx, webhook, from.UnixMilli(), to.UnixMilli(), array(skip), limit)
	err = each(rows, err, func() error {
		d := store.Due{Waiting: store.Waiting{DeliveryKey: store.DeliveryKey{Webhook: webhook}}}
		var dueAt int64
		var ev eventDest
		if err := rows.Scan(append([]any{&d.DeliveryKey.Event, &d.Attempts, &dueAt, &d.Tenant},
			ev.columns(&d.Event)...)...); err != nil {
			return err
		}
		d.DueAt = millis(dueAt)
		list = append(list, d)
		return ev.done(&list[len(list)-1].Event)
	})
	if err != nil {
		return nil, wrap(err, fmt.Sprintf("due deliveries of webhook %d", webhook))
	}
	return list, nil
}

// array is the JSON array of the keys.
func array(keys map[store.Seq]struct{}) string {
	b := append(make([]byte, 0, 2+20*len(keys)), '[')
	for seq := range keys {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(seq), 10)
	}
	return string(append(b, ']'))
}

// Now is this process's time, which a step of the machine's clock does not move: there is no other node.
func (db *DB) Now() time.Time { return db.clock.Now() }

// Next is the next Seq; see store.Journal.
func (db *DB) Next(last store.Seq) store.Seq { return store.NextSeq(last, db.Now()) }

// Lease returns at once: nobody else has the file open.
func (db *DB) Lease(context.Context) error { return nil }

// Unclaimed is empty: nobody else writes.
func (db *DB) Unclaimed(context.Context) ([]int64, error) { return nil, nil }

// NextDue tells when the earliest of the webhook's waiting deliveries is due; see store.Journal.
func (db *DB) NextDue(ctx context.Context, _ string, webhook int64, from time.Time, skip map[store.Seq]struct{}) (
	time.Time, bool, error) {
	var at int64
	err := db.read.nextDue.QueryRowContext(ctx, webhook, from.UnixMilli(), array(skip)).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, wrap(err, fmt.Sprintf("next due delivery of webhook %d", webhook))
	}
	return millis(at), true, nil
}

// Attempts is the largest attempt number on record; see store.Journal.
func (db *DB) Attempts(ctx context.Context, _ string, key store.DeliveryKey) (int, error) {
	var n int
	err := db.read.attempts.QueryRowContext(ctx, key.Webhook, int64(key.Event)).Scan(&n)
	return n, wrap(err, "attempts of a delivery")
}

// LastSeq is the largest Seq stored; see store.Journal.
func (db *DB) LastSeq(ctx context.Context) (store.Seq, error) {
	var seq store.Seq
	err := db.read.lastSeq.QueryRowContext(ctx).Scan(&seq)
	return seq, wrap(err, "last seq")
}

// RecoverFrom is the stored mark; see store.Journal.
func (db *DB) RecoverFrom(ctx context.Context) (store.Seq, error) {
	var seq store.Seq
	err := db.read.recoverFrom.QueryRowContext(ctx).Scan(&seq)
	return seq, wrap(err, "recovery mark")
}

// Unsettled lists events with deliveries that have neither an outcome nor a waiting row; see store.Journal.
func (db *DB) Unsettled(ctx context.Context, from store.Seq, limit int) (
	found []store.Unsettled, next store.Seq, err error) {
	looked, last := 0, store.Seq(0)
	rows, err := db.read.unsettled.QueryContext(ctx, int64(from), limit)
	err = each(rows, err, func() error {
		var u store.Unsettled
		var webhooks []byte
		var ev eventDest
		if err := rows.Scan(append([]any{&u.Seq, &u.Tenant, &webhooks}, ev.columns(&u.Event)...)...); err != nil {
			return err
		}
		looked, last = looked+1, u.Seq
		if err := json.Unmarshal(webhooks, &u.Webhooks); err != nil || len(u.Webhooks) == 0 {
			return err
		}
		slices.Sort(u.Webhooks)
		if err := ev.done(&u.Event); err != nil {
			return err
		}
		found = append(found, u)
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
