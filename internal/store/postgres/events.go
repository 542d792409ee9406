package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	recordColumns = `e.seq, e.webhooks, e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, e.data`

	// An ID that was made here is looked for only where its own time says; see madeBetween.
	selectEvent = `SELECT ` + recordColumns + ` FROM event_ids AS i JOIN events AS e ON e.tenant = i.tenant AND e.seq = i.seq
		WHERE i.tenant = $1 AND i.id = $2
		UNION ALL
		SELECT ` + recordColumns + ` FROM events AS e
		WHERE e.tenant = $1 AND e.id = $2 AND NOT e.id_given AND e.seq BETWEEN $3 AND $4
		LIMIT 1`

	// Each filter has an index in the order of seq. Of several types, the newest of each are merged.
	listEvents = `SELECT ` + recordColumns + ` FROM events AS e WHERE e.tenant = $1 AND e.seq BETWEEN $2 AND $3`
	newest     = ` ORDER BY e.seq DESC LIMIT $4`

	// Rows are compared as a whole, and put in order by both columns, so that nothing but the index by type will do:
	// with an equality PostgreSQL takes the primary key and passes over all other types.
	listTypes = `SELECT e.* FROM unnest($5::text[]) AS t (type) CROSS JOIN LATERAL (` + listEvents + `
			AND (e.type, e.seq) >= (t.type, $2::bigint) AND (e.type, e.seq) <= (t.type, $3::bigint)
		ORDER BY e.type DESC, e.seq DESC LIMIT $4) AS e` + newest
)

func scanEvent(row pgx.CollectableRow) (r store.EventRecord, err error) {
	err = row.Scan(append([]any{&r.Seq, &r.Webhooks}, eventColumns(&r.Event)...)...)
	own(&r.Event)
	return r, err
}

// EventByID finds the tenant's event; see store.Records.
func (db *DB) EventByID(ctx context.Context, tenant string, id uuid.UUID) (store.EventRecord, error) {
	low, high, made := madeBetween(id)
	if !made {
		low, high = 1, 0 // nothing is between them
	}
	return one(ctx, db.pool, "event "+id.String(), scanEvent, selectEvent, tenant, id, int64(low), int64(high))
}

// ListEvents lists events, newest first; see store.Records.
func (db *DB) ListEvents(ctx context.Context, tenant string, f store.EventFilter, before store.Seq, limit int) (
	[]store.EventRecord, error) {
	low, high := store.Span(f.Since, f.Until, db.Now())
	if before > 0 {
		high = min(high, before-1)
	}
	query, args := listEvents, []any{tenant, int64(low), int64(high), limit}
	if len(f.Types) > 0 && f.ObjectID == "" && f.ObjectOwnerID == "" && f.OwnerID == "" {
		return collectListed(ctx, db.lists, "list events", scanEvent, listTypes, append(args, f.Types)...)
	}
	and := func(condition string, v any) {
		args = append(args, v)
		query += fmt.Sprintf(condition, len(args))
	}
	if f.ObjectID != "" {
		and(` AND e.object_id = $%d`, f.ObjectID)
	}
	if f.ObjectOwnerID != "" {
		and(` AND e.object_owner_id = $%d`, f.ObjectOwnerID)
	}
	if f.OwnerID != "" {
		and(` AND e.owner_id = $%d`, f.OwnerID)
	}
	if len(f.Types) > 0 {
		and(` AND e.type = ANY ($%d)`, f.Types)
	}
	return collectListed(ctx, db.lists, "list events", scanEvent, query+newest, args...)
}
