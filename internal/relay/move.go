package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
)

// maxBytes bounds a request, far enough below the API's 8 MiB that escapes do not matter; it is what is in memory, too.
const maxBytes = 4 << 20

// row is one of the outbox.
type row struct {
	seq    int64
	tenant string
	event  client.Event
}

// read gives the first rows that are not set aside, as many as fit into one request.
func (r *Relay) read(ctx context.Context, conn *pgx.Conn) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	found, err := conn.Query(ctx, `SELECT seq, extract(epoch FROM clock_timestamp() - written_at)::float8, tenant,
		id::text, type, object_id, object_owner_id, owner_id, time, data::text
		FROM qhook_outbox WHERE failed_at IS NULL ORDER BY seq LIMIT $1`, r.cfg.Batch)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer found.Close()
	var rows []row
	var oldest float64 // seconds
	size := 0
	for size < maxBytes && found.Next() {
		var w row
		var data string
		var age float64
		e := &w.event
		if err := found.Scan(&w.seq, &age, &w.tenant, &e.ID, &e.Type, &e.ObjectID, &e.ObjectOwnerID, &e.OwnerID, &e.Time, &data); err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		if len(rows) == 0 {
			oldest = age
		}
		e.Time, e.Data = e.Time.UTC(), json.RawMessage(data)
		rows = append(rows, w)
		size += len(data) + len(e.ObjectID) + len(e.ObjectOwnerID) + len(e.OwnerID) + 256
	}
	found.Close()
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	r.metrics.oldest(len(rows), time.Duration(oldest*float64(time.Second)))
	return rows, r.metrics.measure(ctx, conn)
}

// move publishes rows in their order, those of one tenant together where they follow each other. Its error is an apiError,
// or the source's; what is left then is still in the outbox.
func (r *Relay) move(ctx context.Context, conn *pgx.Conn, rows []row) error {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].tenant == rows[0].tenant {
			n++
		}
		if err := r.publish(ctx, conn, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// publish publishes rows of one tenant and deletes them. A batch that is refused goes out in halves, in the same order,
// until the refused rows are alone; they are set aside.
func (r *Relay) publish(ctx context.Context, conn *pgx.Conn, rows []row) error {
	err := r.send(ctx, rows)
	switch {
	case err == nil:
		return r.remove(ctx, conn, rows)
	case !r.refused(ctx, err):
		return apiError{err}
	case len(rows) == 1:
		return r.setAside(ctx, conn, rows[0], err)
	}
	half := len(rows) / 2
	if err := r.publish(ctx, conn, rows[:half]); err != nil {
		return err
	}
	return r.publish(ctx, conn, rows[half:])
}

// apiError is a failure that is not due to a row: the API could not be reached, or will take the same later.
type apiError struct{ error }

// Unwrap is the failure.
func (e apiError) Unwrap() error { return e.error }

// send publishes the rows and reads the answer, which has to name each of them.
func (r *Relay) send(ctx context.Context, rows []row) error {
	c := r.client(rows[0].tenant)
	var published []client.Published
	var err error
	if len(rows) == 1 {
		published = make([]client.Published, 1)
		published[0], err = c.Publish(ctx, rows[0].event)
	} else {
		events := make([]client.Event, len(rows))
		for i := range rows {
			events[i] = rows[i].event
		}
		published, err = c.PublishBatch(ctx, events)
	}
	if err != nil {
		return err
	}
	for i := range rows {
		if len(published) != len(rows) || published[i].ID != rows[i].event.ID {
			return errors.New("the answer does not name the events that were published; is the URL that of a qhook server?")
		}
	}
	return nil
}

// refused tells whether err, of one event or more, is due to what they are: the same again would fail again.
func (r *Relay) refused(ctx context.Context, err error) bool {
	if errors.As(err, new(*json.MarshalerError)) {
		return true // data that PostgreSQL takes for JSON and Go does not
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return false
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	case http.StatusNotFound:
		return r.knowsAPI(ctx)
	}
	return false
}

// knowsAPI tells an unknown tenant, one row's fault, from a wrong URL, which must not set every row aside: the same key
// without a tenant finds the API.
func (r *Relay) knowsAPI(ctx context.Context) bool {
	_, err := r.client("").EventTypes(ctx)
	return err == nil || client.IsStatus(err, http.StatusForbidden) // a publisher's key may not read
}

// remove deletes rows whose events are committed, by their very numbers: a transaction that commits late may bring lower
// ones at any time.
func (r *Relay) remove(ctx context.Context, conn *pgx.Conn, rows []row) error {
	seqs := make([]int64, len(rows))
	for i := range rows {
		seqs[i] = rows[i].seq
	}
	if err := r.exec(ctx, conn, `DELETE FROM qhook_outbox WHERE seq = ANY($1)`, seqs); err != nil {
		return fmt.Errorf("delete %d rows from %d on: %w", len(rows), rows[0].seq, err)
	}
	r.metrics.moved.Add(float64(len(rows)))
	return nil
}

// maxReason bounds what is written of a refusal, bytes.
const maxReason = 2000

func (r *Relay) setAside(ctx context.Context, conn *pgx.Conn, w row, refusal error) error {
	reason := refusal.Error()
	reason = strings.ToValidUTF8(strings.ReplaceAll(reason[:min(len(reason), maxReason)], "\x00", ""), "")
	if err := r.exec(ctx, conn, `UPDATE qhook_outbox SET error = $2, failed_at = now() WHERE seq = $1`, w.seq, reason); err != nil {
		return fmt.Errorf("set row %d aside: %w", w.seq, err)
	}
	r.metrics.due = true
	r.log.Error("an event was refused and is set aside", "seq", w.seq, "event", w.event.ID, "tenant", w.tenant, "error", reason)
	return nil
}
