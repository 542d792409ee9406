// Package outbox writes events into a platform's own PostgreSQL, in the transaction of the change that they tell of: both
// are committed or neither. `qhook relay` moves them to the server, in order and each once.
//
// It never connects to a database and knows no driver: it gives the SQL, and the platform runs it. Start at Insert;
// Schema is the table.
package outbox

import (
	"bytes"
	_ "embed" // Schema
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
)

// Schema makes the table qhook_outbox and what belongs to it, for PostgreSQL 14 and newer. It may be run again at any
// time. `qhook relay --schema` prints it.
//
//go:embed schema.sql
var Schema string

// MaxEvents is the most events of one Insert.
const MaxEvents = event.MaxBatch

// columns is how many Insert fills of a row.
const columns = 8

// Insert gives one INSERT statement for 1 to MaxEvents events of a tenant (empty: "default"), which go out in their
// order. Run it in the transaction of the change: tx.Exec(ctx, query, args...) of pgx, or tx.ExecContext of database/sql.
//
// An event without ID gets a new one, an event without Time the time of now; events itself stays as it is. The error
// says for every event what the server would refuse of it; roll the transaction back then.
func Insert(tenant string, events ...client.Event) (query string, args []any, err error) {
	if tenant == "" {
		tenant = "default"
	}
	list, err := check(events)
	if err != nil {
		return "", nil, fmt.Errorf("outbox: %w", err)
	}
	var b strings.Builder
	b.WriteString("INSERT INTO qhook_outbox (id, tenant, type, object_id, object_owner_id, owner_id, time, data) VALUES ")
	for i := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		n := i * columns
		fmt.Fprintf(&b, "($%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8)
		e := &list[i]
		args = append(args, e.ID.String(), tenant, e.Type, e.ObjectID, e.ObjectOwnerID, e.OwnerID, e.Time,
			string(e.Data))
	}
	return b.String(), args, nil
}

// check gives the events as the server will read them, IDs and times filled in. Its error is event.Violations, or says
// that an ID could not be made.
func check(given []client.Event) ([]event.Event, error) {
	var v event.Violations
	events := append([]client.Event{}, given...)
	now := time.Now()
	for i := range events {
		e := &events[i]
		if e.ID == "" {
			id, err := uuid.NewV7()
			if err != nil {
				return nil, fmt.Errorf("make an event ID: %w", err)
			}
			e.ID = id.String()
		}
		if e.Time.IsZero() {
			e.Time = client.At(now)
		}
		e.Time = client.At(e.Time.UTC().Truncate(time.Millisecond))
		if y := e.Time.Year(); y < 1 || y > 9999 {
			v.Add(fmt.Sprintf("events[%d].time", i), "must be in the years 1 to 9999, or be left out")
		}
		if len(e.Data) > 0 && !json.Valid(e.Data) {
			v.Add(fmt.Sprintf("events[%d].data", i), "is not valid JSON")
		}
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // data goes out as it was given
	if err := enc.Encode(map[string]any{"events": events}); err != nil {
		return nil, fmt.Errorf("encode the events: %w", err)
	}
	return event.ParseBatch(b.Bytes())
}
