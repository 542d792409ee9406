package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	insertEvents = `INSERT INTO events
		(seq, tenant, id, type, object_id, object_owner_id, owner_id, time, webhooks, data, packed) VALUES `
	insertEventsRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	insertOutcomes = `INSERT INTO outcomes
		(webhook, event, attempt, kind, at, duration, sent, status, next_at, class, key_id, response, timings) VALUES `
	insertOutcomesRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	setRecoverFrom = `UPDATE meta SET recover_from = ? WHERE one = 1`

	findChunk = 16
)

func findEvents(n int) string {
	return `SELECT id, type, object_id, object_owner_id, owner_id, time, ` + dataOf + `, json_array_length(webhooks)
		FROM events AS e WHERE tenant = ? AND id IN (?` + strings.Repeat(", ?", n-1) + `)`
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// Commit writes the batch in one transaction and flushes it; see store.Journal. A context that is done before it begins
// stops it; afterwards it runs to its end.
func (db *DB) Commit(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.yield()
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.ready(ctx); err != nil {
		return err
	}
	w := db.w
	written := false
	err := w.conn.Raw(func(dc any) error {
		if _, err := w.begin.exec(); err != nil {
			return err
		}
		if err := w.write(b); err != nil {
			return err
		}
		if _, err := w.commit.exec(); err != nil {
			return err
		}
		written = true
		w.part.committed()
		return db.tidy(dc)
	})
	if err == nil {
		return nil
	}
	if written {
		return db.moved(err)
	}
	if code(err) == 0 { // not SQLite's: what it interrupted is still open
		db.restore()
	}
	return db.failed(err, "commit")
}

// write puts the batch into the open transaction.
func (w *writer) write(b *store.Batch) error {
	if err := w.find(b.Submissions); err != nil {
		return err
	}
	for _, s := range b.Submissions {
		if !w.repeats.Judge(s) {
			continue
		}
		if s.Change != nil {
			holds, err := w.change(s.Tenant, s.Change)
			if err != nil {
				return err
			}
			if !holds {
				w.repeats.Refuse(s, store.ErrVersion)
				continue
			}
		}
		for i := range s.Events {
			if e := &s.Events[i]; !e.Duplicate {
				if err := w.accept(s.Tenant, e); err != nil {
					return err
				}
			}
		}
	}
	if err := w.events.flush(); err != nil {
		return err
	}
	if err := w.part.cut(w); err != nil {
		return err
	}
	for i := range b.Outcomes {
		if err := w.record(&b.Outcomes[i]); err != nil {
			return err
		}
	}
	if err := w.outcomes.flush(); err != nil {
		return err
	}
	if err := w.settle(b); err != nil {
		return err
	}
	if b.RecoverFrom != 0 {
		if _, err := w.setRecover.set(0, int64(b.RecoverFrom)).exec(); err != nil {
			return err
		}
	}
	if err := w.addRollups(b.Rollups); err != nil {
		return err
	}
	if b.Trim != nil {
		if err := w.trim(b.Trim); err != nil {
			return err
		}
		if err := w.removeRollups(b.Trim); err != nil {
			return err
		}
	}
	w.release()
	return nil
}

// release lets go of the batch's memory.
func (w *writer) release() {
	w.events.reset()
	w.outcomes.reset()
	w.packer.reset()
	w.ids = w.repeats.Reset(nil, w.ids[:0])
	w.rows.Collect(&store.Batch{})
}

// find looks up the events that the given IDs stand for.
func (w *writer) find(list []*store.Submission) error {
	w.part.rollback() // a batch that failed may have left something
	w.ids = w.repeats.Reset(list, w.ids[:0])
	for ids := w.ids; len(ids) > 0; {
		n := 1
		for n < min(findChunk, len(ids)) && ids[n].Tenant == ids[0].Tenant {
			n++
		}
		find := w.findMany
		if n < findChunk {
			n, find = 1, w.findOne
		}
		find.set(0, ids[0].Tenant)
		for i := range n {
			find.set(1+i, ids[i].ID[:])
		}
		if err := find.query(func(v []driver.Value) error { return w.found(ids[0].Tenant, v) }); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (w *writer) found(tenant string, v []driver.Value) error {
	id, err := uuid.FromBytes(v[0].([]byte))
	if err != nil {
		return err
	}
	data, err := unpackValue(v[6])
	if err != nil {
		return err
	}
	w.repeats.Add(tenant, &event.Event{
		ID: id, Type: v[1].(string), ObjectID: v[2].(string), ObjectOwnerID: v[3].(string), OwnerID: v[4].(string),
		Time: time.UnixMilli(v[5].(int64)).UTC(), Data: data,
	}, int(v[7].(int64)))
	return nil
}

// accept writes a new event.
func (w *writer) accept(tenant string, e *store.Submitted) error {
	r := w.events.row()
	r[0].Value = int64(e.Seq)
	r[1].Value = tenant
	r[2].Value = e.Event.ID[:]
	r[3].Value = e.Event.Type
	r[4].Value = e.Event.ObjectID
	r[5].Value = e.Event.ObjectOwnerID
	r[6].Value = e.Event.OwnerID
	r[7].Value = e.Event.Time.UnixMilli()
	r[8].Value = w.numbers(e.Webhooks)
	if packed := w.packer.pack(e.Event.Data); packed != nil {
		r[9].Value, r[10].Value = "", packed
	} else {
		r[9].Value, r[10].Value = string(e.Event.Data), nil
	}
	if err := w.part.add(w, tenant, e); err != nil {
		return err
	}
	return w.events.full()
}

// numbers is the JSON array of the webhooks' numbers.
func (w *writer) numbers(list []int64) string {
	b := append(w.number[:0], '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	w.number = append(b, ']')
	return string(w.number)
}

// record writes an outcome.
func (w *writer) record(o *store.Outcome) error {
	r := w.outcomes.row()
	r[0].Value = o.Webhook
	r[1].Value = int64(o.Event)
	r[2].Value = int64(o.Attempt)
	r[3].Value = string(o.Kind)
	r[4].Value = o.At.UnixMilli()
	r[5].Value = int64(o.Duration)
	r[6].Value = int64(0)
	if o.Sent {
		r[6].Value = int64(1)
	}
	r[7].Value = int64(o.Status)
	r[8].Value = nil
	if o.Kind == store.Retry {
		r[8].Value = o.NextAt.UnixMilli()
	}
	r[9].Value, r[10].Value, r[11].Value, r[12].Value = nil, nil, nil, nil
	if o.Timings != (store.Timings{}) {
		r[12].Value = o.Timings.Append(make([]byte, 0, 12))
	}
	if o.Class != "" {
		r[9].Value = o.Class
	}
	if o.KeyID != "" {
		r[10].Value = o.KeyID
	}
	if len(o.Response) > 0 {
		r[11].Value = o.Response
	}
	return w.outcomes.full()
}
