package sqlite

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

const eventColumns = `e.seq, e.webhooks, e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, ` + dataOf

// The condition that all lists share: newest first from ?2 down to ?3, up to ?4 rows, and the filters, ” or '[]' for
// none. ?1 is the tenant.
const eventFilters = ` AND e.seq <= ?2 AND e.seq >= ?3
	AND (?5 = '' OR e.object_id = ?5) AND (?6 = '' OR e.object_owner_id = ?6) AND (?7 = '' OR e.owner_id = ?7)
	AND (?8 = '[]' OR e.type IN (SELECT value FROM json_each(?8)))
	ORDER BY e.seq DESC LIMIT ?4`

const listEvents = `SELECT ` + eventColumns + ` FROM events AS e INDEXED BY events_by_tenant
	WHERE e.tenant = ?1` + eventFilters

func scanEvent(scan func(...any) error, before ...any) (store.EventRecord, error) {
	var r store.EventRecord
	var webhooks []byte
	var ev eventDest
	if err := scan(append(append(before, &r.Seq, &webhooks), ev.columns(&r.Event)...)...); err != nil {
		return r, err
	}
	if err := json.Unmarshal(webhooks, &r.Webhooks); err != nil {
		return r, err
	}
	return r, ev.done(&r.Event)
}

// EventByID finds the tenant's event; see store.Records.
func (db *DB) EventByID(ctx context.Context, tenant string, id uuid.UUID) (store.EventRecord, error) {
	r, err := scanEvent(db.rdb.QueryRowContext(ctx, `SELECT `+eventColumns+` FROM events AS e
		WHERE e.tenant = ? AND e.id = ?`, tenant, id[:]).Scan)
	if err != nil {
		return store.EventRecord{}, wrap(notFound(err), "event "+id.String())
	}
	return r, nil
}

// ListEvents lists events, newest first; see store.Records.
func (db *DB) ListEvents(ctx context.Context, tenant string, f store.EventFilter, before store.Seq, limit int) (
	[]store.EventRecord, error) {
	low, high := store.Span(f.Since, f.Until, db.Now())
	if before > 0 {
		high = min(high, before-1)
	}
	types, err := json.Marshal(append([]string{}, f.Types...))
	if err != nil {
		return nil, err
	}
	var list []store.EventRecord
	read := func(low, high store.Seq) error {
		rows, err := db.read.events.QueryContext(ctx, tenant, int64(high), int64(low), limit-len(list),
			f.ObjectID, f.ObjectOwnerID, f.OwnerID, string(types))
		return each(rows, err, func() error {
			r, err := scanEvent(rows.Scan)
			list = append(list, r)
			return err
		})
	}
	want := wanted(tenant, f)
	if len(want) == 0 {
		err = read(low, high)
	} else {
		err = db.parts(ctx, want, low, high, func(low, high store.Seq) (bool, error) {
			err := read(low, high)
			return len(list) < limit, err
		})
	}
	if err != nil {
		return nil, wrap(err, "list events")
	}
	return list, nil
}
