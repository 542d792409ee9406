package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
)

// maxBytes bounds a request, far enough below the API's 8 MiB that escapes do not matter; it is what is in memory, too.
const maxBytes = 4 << 20

// row is one of the outbox.
type row struct {
	seq    int64
	tenant string
	event  client.Event
}

// read gives the first rows that are not set aside and not passed over, as many as fit into one request.
func (r *Relay) read(ctx context.Context, conn *pgx.Conn, passed []int64) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	found, err := conn.Query(ctx, `SELECT seq, extract(epoch FROM clock_timestamp() - written_at)::float8, tenant,
		id::text, type, object_id, object_owner_id, owner_id, time, data::text
		FROM qhook_outbox WHERE failed_at IS NULL AND seq <> ALL($2) ORDER BY seq LIMIT $1`, r.cfg.Batch, passed)
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
		if err := found.Scan(&w.seq, &age, &w.tenant, &e.ID, &e.Type, &e.ObjectID, &e.ObjectOwnerID, &e.OwnerID,
			&e.Time.Time, &data); err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		if len(rows) == 0 {
			oldest = age
		}
		e.Time, e.Data = client.At(e.Time.UTC()), json.RawMessage(data)
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

// move publishes rows in their order, those of one tenant together where they follow each other. Its error is an
// apiError, or the source's; what is left then is still in the outbox. locked are the rows that it is done with and
// that another transaction holds.
func (r *Relay) move(ctx context.Context, conn *pgx.Conn, rows []row) (locked []int64, err error) {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].tenant == rows[0].tenant {
			n++
		}
		more, err := r.publish(ctx, conn, rows[:n])
		if locked = append(locked, more...); err != nil {
			return locked, err
		}
		rows = rows[n:]
	}
	return locked, nil
}

// publish publishes rows of one tenant and deletes them. A batch that is refused goes out in halves, in the same order,
// until the refused rows are alone; they are set aside.
func (r *Relay) publish(ctx context.Context, conn *pgx.Conn, rows []row) (locked []int64, err error) {
	err = r.send(ctx, rows)
	switch {
	case err == nil:
		return r.remove(ctx, conn, rows)
	case len(rows) == 1 && refused(&rows[0], err):
		return r.setAside(ctx, conn, rows[0], err)
	case len(rows) == 1 || !divisible(err):
		return nil, apiError{err}
	}
	half := len(rows) / 2
	if locked, err = r.publish(ctx, conn, rows[:half]); err != nil {
		return locked, err
	}
	more, err := r.publish(ctx, conn, rows[half:])
	return append(locked, more...), err
}

// apiError is a failure that is not surely due to a row: the API could not be reached, will take the same later, or was
// not what answered.
type apiError struct{ error }

// Unwrap is the failure.
func (e apiError) Unwrap() error { return e.error }

// send publishes the rows; nil is the server's word that each of them is committed.
func (r *Relay) send(ctx context.Context, rows []row) error {
	c := r.client(rows[0].tenant)
	if len(rows) == 1 {
		_, err := c.Publish(ctx, rows[0].event)
		return err
	}
	events := make([]client.Event, len(rows))
	for i := range rows {
		events[i] = rows[i].event
	}
	_, err := c.PublishBatch(ctx, events)
	return err
}

// divisible tells whether err of several events may be due to one of them, or to how many they are.
func divisible(err error) bool {
	if errors.As(err, new(*json.MarshalerError)) {
		return true
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return false
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return p.Status == http.StatusNotFound && p.Refused != ""
}

// refused tells whether err is surely the server's refusal of this row for what it is: the answer names it, as no
// proxy, no other program and no answer to another request does; or the row cannot be read as an event here either. A
// wrong key is not due to the row, so what a tenant's own key may not do is no such refusal.
func refused(w *row, err error) bool {
	if errors.As(err, new(*json.MarshalerError)) {
		return true // data that PostgreSQL takes for JSON and Go does not
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return false
	}
	switch p.Status {
	case http.StatusNotFound:
		return p.Refused == w.tenant
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return p.Refused == w.event.ID || unreadable(&w.event)
	}
	return false
}

// unreadable tells whether no server can find the event in what is sent of it: it is too large, or no text. What else
// may be wrong with an event the server knows better.
func unreadable(e *client.Event) bool {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(e) != nil {
		return true
	}
	_, err := event.Parse(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	broken, _ := errors.AsType[event.Violations](err)
	return len(broken) > 0 && broken[0].Field == ""
}

// remove deletes rows whose events are committed, by their very numbers: a transaction that commits late may bring
// lower ones at any time. It does not wait for rows that another transaction has locked; it gives them back.
func (r *Relay) remove(ctx context.Context, conn *pgx.Conn, rows []row) (locked []int64, err error) {
	seqs := make([]int64, len(rows))
	for i := range rows {
		seqs[i] = rows[i].seq
	}
	n, err := r.exec(ctx, conn, `DELETE FROM qhook_outbox WHERE seq IN `+free, seqs)
	if err != nil {
		return nil, fmt.Errorf("delete %d rows from %d on: %w", len(rows), rows[0].seq, err)
	}
	r.metrics.moved.Add(float64(n))
	if int(n) == len(rows) {
		return nil, nil
	}
	return r.locked(ctx, conn, seqs)
}

// free are those of the rows $1 that no other transaction has locked.
const free = `(SELECT seq FROM qhook_outbox WHERE seq = ANY($1) FOR UPDATE SKIP LOCKED)`

// locked gives those of the rows that another transaction has locked.
func (r *Relay) locked(ctx context.Context, conn *pgx.Conn, seqs []int64) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	const query = `SELECT seq FROM qhook_outbox WHERE seq = ANY($1) AND seq NOT IN ` + free
	rows, _ := conn.Query(ctx, query, seqs) // the next call gives the error
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return list, wrap("find locked rows", err)
}

// maxReason bounds what is written of a refusal, bytes.
const maxReason = 2000

// setAside marks a row as refused, unless another transaction has locked it; then it gives it back.
func (r *Relay) setAside(ctx context.Context, conn *pgx.Conn, w row, refusal error) (locked []int64, err error) {
	reason := cut(refusal.Error())
	const query = `UPDATE qhook_outbox SET error = $2, failed_at = now() WHERE seq IN ` + free
	n, err := r.exec(ctx, conn, query, []int64{w.seq}, reason)
	if err != nil {
		return nil, fmt.Errorf("set row %d aside: %w", w.seq, err)
	}
	if n == 0 {
		return r.locked(ctx, conn, []int64{w.seq})
	}
	r.metrics.due = true
	r.log.Error("an event was refused and is set aside", "seq", w.seq, "event", w.event.ID, "tenant", w.tenant,
		"error", reason)
	return nil, nil
}

// cut makes what others wrote short enough for a log and text for PostgreSQL.
func cut(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), maxReason)], "\x00", ""), "")
}
