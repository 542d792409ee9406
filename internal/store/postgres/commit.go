package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/pgsession"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	// fence fails with fencedOff when another node has taken this one's work over, or when this commit was given up and
	// is late; see settle.
	fence = `SELECT hold_fence($1, $2)`

	// newEpoch waits for the commit under way, if one runs. One that has not taken place by then, and whose bytes may
	// still be on their way on a lost connection, finds another epoch and never will.
	newEpoch = `UPDATE fences SET epoch = epoch + 1 WHERE node = $1 RETURNING epoch`

	// moveMark replaces the row of the mark: the key is new, so that dead versions are not on the way to it.
	moveMark = `UPDATE marks SET number = $2, recover_from = coalesce(nullif($3::bigint, 0), recover_from)
		WHERE node = $1 AND number = $2::bigint - 1`

	selectMark = `SELECT number, recover_from FROM marks WHERE node = $1 ORDER BY number DESC LIMIT 1`

	insertEvents = `INSERT INTO events
			(tenant, seq, slot, id, id_given, type, object_id, object_owner_id, owner_id, time, webhooks, data)
		SELECT tenant, seq, $12, id, id_given, type, object_id, object_owner_id, owner_id, time, webhooks::bigint[], data
		FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::boolean[], $5::text[], $6::text[], $7::text[], $8::text[],
			$9::timestamptz[], $10::text[], $11::text[])
			AS e (tenant, seq, id, id_given, type, object_id, object_owner_id, owner_id, time, webhooks, data)`

	// In the order of the key, so that nodes that write the same IDs wait for each other and never in a circle.
	insertIDs = `INSERT INTO event_ids (tenant, id, seq)
		SELECT tenant, id, seq FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS i (tenant, id, seq) ORDER BY tenant, id`

	insertOutcomes = `INSERT INTO outcomes
			(tenant, webhook, event, attempt, kind, at, duration, sent, status, next_at, class, key_id, response, timings)
		SELECT tenant, webhook, event, attempt, kind, at, duration, sent, status, next_at, nullif(class, ''), nullif(key_id, ''), response, timings
		FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[], $5::text[], $6::timestamptz[], $7::bigint[],
			$8::boolean[], $9::integer[], $10::timestamptz[], $11::text[], $12::text[], $13::bytea[], $14::bytea[])
			AS o (tenant, webhook, event, attempt, kind, at, duration, sent, status, next_at, class, key_id, response, timings)`

	foundColumns = `e.tenant, e.id, e.type, e.object_id, e.object_owner_id, e.owner_id, e.time, e.data, cardinality(e.webhooks)`

	findGiven = `SELECT ` + foundColumns + `
		FROM unnest($1::text[], $2::uuid[]) AS k (tenant, id)
		JOIN event_ids AS i ON i.tenant = k.tenant AND i.id = k.id
		JOIN events AS e ON e.tenant = i.tenant AND e.seq = i.seq`

	// A publisher may repeat an event with the ID that was made here; see madeBetween.
	findMade = `SELECT ` + foundColumns + `
		FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[]) AS k (tenant, id, low, high)
		JOIN events AS e ON e.tenant = k.tenant AND e.id = k.id AND NOT e.id_given AND e.seq BETWEEN k.low AND k.high`

	commitTries = 20               // of a commit that other nodes got in the way of, or whose connection was cut
	commitTime  = 15 * time.Second // for all tries: a machine that was switched off does not say so
)

// link is a connection that is opened when it is needed.
type link struct {
	conn   *pgx.Conn
	turned func() // called when the server says that it can no longer write; see pgsession.Options
}

func (l *link) close() {
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(ctx)
		l.conn = nil
	}
}

func (l *link) closed() bool { return l.conn == nil || l.conn.IsClosed() }

// journalPlans are the settings that the journal's statements are planned with. Planning a look-up by a few IDs anew,
// for all partitions, takes ten times as long as the look-up. A bitmap, or an index that does not give the order, of a
// table with few live rows reads all dead ones too, and beside a long transaction there are many.
var journalPlans = map[string]string{"plan_cache_mode": "force_generic_plan", "enable_bitmapscan": "off",
	"enable_sort": "off"}

// open makes sure that there is a connection.
func (l *link) open(ctx context.Context, url string) error {
	if !l.closed() {
		return nil
	}
	c, err := pgsession.Config(url, pgsession.Options{Name: name, Turned: l.turned, Settings: journalPlans})
	if err != nil {
		return err
	}
	l.conn, err = pgx.ConnectConfig(ctx, c.ConnConfig)
	return err
}

// writer makes the journal's commits; db.mu guards it.
type writer struct {
	link
	repeats store.Repeats
	ids     []store.EventID
	rows    store.RowOps
	proof   proof // of what was tried last
}

// proof is a row that a commit writes and nothing else does. While one is there, so is all else of the commit.
type proof struct {
	query  string // tells whether it is there
	args   []any
	number int64 // of the mark, when it is written; else 0
}

// Commit writes the batch in one transaction; see store.Journal. When the connection is lost while it is not known
// whether the transaction took place, it waits for the database and finds out.
func (db *DB) Commit(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	n := db.node.Load()
	if n == nil {
		return errNotJoined
	}
	soon, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	if n.unsure {
		if _, err := db.settle(soon, n); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		if err := db.w.open(soon, db.cfg.URL); err != nil {
			return wrap(err, "connect to commit")
		}
		err := db.w.write(soon, n, b)
		if err == nil {
			n.number = max(n.number, db.w.proof.number)
			db.retire(n, b.Trim)
			return nil
		}
		if code(err) == fencedOff {
			n.wake(store.ErrFenced)
			return fmt.Errorf("commit: %w", store.ErrFenced)
		}
		cut := db.w.closed() && code(err) != readOnly // which says that nothing was written
		if cut {
			if took, e := db.settle(ctx, n); e != nil || took {
				return e
			}
		}
		if !cut && !overtaken(err) || try == commitTries {
			return wrap(err, "commit")
		}
	}
}

// retire drops old partitions beside the commits, when a round of removal begins.
func (db *DB) retire(n *node, t *store.Trim) {
	if t == nil || t.After != 0 || !db.retiring.CompareAndSwap(false, true) {
		return
	}
	n.done.Go(func() {
		defer db.retiring.Store(false)
		ctx, cancel := context.WithTimeout(n.running, time.Minute)
		defer cancel()
		events, err := db.dropPartitions(ctx, t.Before)
		if err != nil && n.running.Err() == nil {
			db.log.Warn("old partitions could not be dropped; it is tried again", "error", err)
		}
		if events > 0 {
			db.log.Info("old partitions were dropped", "events", events)
		}
	})
}

// overtaken tells whether another node's commit got in between, and another try may succeed.
func overtaken(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch e.Code {
	case uniqueViolation:
		return e.ConstraintName == "event_ids_pk" || e.ConstraintName == "idempotency_keys_pk"
	case serialization, deadlock:
		return true
	}
	return false
}

// settle finds out, on a new connection, whether the commit whose answer was lost took place; if not, it never will. It
// tries until it is known or ctx ends.
func (db *DB) settle(ctx context.Context, n *node) (took bool, err error) {
	n.unsure = true
	for {
		if err = db.w.open(ctx, db.cfg.URL); err == nil {
			took, err = db.w.settle(ctx, n)
		}
		if err == nil {
			n.unsure = false
			return took, nil
		}
		if errors.Is(err, store.ErrFenced) {
			n.wake(store.ErrFenced)
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, wrap(errors.Join(store.ErrAway, err), "find out whether a commit took place")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// settle makes one try, in one transaction: the proof is looked for when the commit that would have written it is over.
// Being a write, it also waits for the standbys to have what came before.
func (w *writer) settle(ctx context.Context, n *node) (took bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	var batch pgx.Batch
	var epoch, number int64
	batch.Queue(newEpoch, n.id).QueryRow(func(row pgx.Row) error { return row.Scan(&epoch) })
	batch.Queue(selectMark, n.id).QueryRow(func(row pgx.Row) error { return row.Scan(&number, nil) })
	batch.Queue(w.proof.query, w.proof.args...).QueryRow(func(row pgx.Row) error { return row.Scan(&took) })
	err = w.conn.SendBatch(ctx, &batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("find out whether a commit took place: %w", store.ErrFenced)
	}
	if err != nil {
		return false, err
	}
	n.epoch, n.number = epoch, number
	return took, nil
}

// write makes one try. Where nothing has to be read first, which is the happy path, it is a single round trip:
// statements up to a Sync are one transaction.
func (w *writer) write(ctx context.Context, n *node, b *store.Batch) error {
	w.proof = proof{query: `SELECT false`} // until all of it is sent
	w.ids = w.repeats.Reset(b.Submissions, w.ids[:0])
	changes := false
	for _, s := range b.Submissions {
		changes = changes || s.Change != nil
	}
	var batch pgx.Batch
	if len(w.ids) == 0 && !changes {
		for _, s := range b.Submissions {
			w.repeats.Judge(s)
		}
		batch.Queue(fence, n.id, n.epoch)
		w.queue(n, b, &batch)
		return w.conn.SendBatch(ctx, &batch).Close()
	}
	if err := w.steps(ctx, n, b); err != nil {
		if !w.conn.IsClosed() {
			if _, e := w.conn.Exec(ctx, "rollback"); e != nil {
				w.close() // what is written next must not become part of this transaction
				return errors.Join(err, e)
			}
		}
		return err
	}
	return nil
}

// steps writes a batch for which something has to be read first.
func (w *writer) steps(ctx context.Context, n *node, b *store.Batch) error {
	first := &pgx.Batch{}
	first.Queue("begin")
	first.Queue(fence, n.id, n.epoch)
	if len(w.ids) > 0 {
		w.find(first)
		if err := w.conn.SendBatch(ctx, first).Close(); err != nil {
			return err
		}
		first = &pgx.Batch{}
	}
	c := changes{conn: w.conn, batch: first, touched: map[thing]bool{},
		refuse: func(s *store.Submission) { w.repeats.Refuse(s, store.ErrVersion) }}
	for _, s := range b.Submissions {
		if !w.repeats.Judge(s) || s.Change == nil {
			continue
		}
		if err := c.add(ctx, s); err != nil {
			return err
		}
	}
	if err := c.decide(ctx); err != nil {
		return err
	}
	w.queue(n, b, c.batch)
	c.batch.Queue("commit")
	return w.conn.SendBatch(ctx, c.batch).Close()
}

// find looks up the events that the given IDs stand for.
func (w *writer) find(batch *pgx.Batch) {
	if len(w.ids) == 0 {
		return
	}
	var tenants, madeTenants []string
	var ids, made [][16]byte
	var low, high []int64
	for _, k := range w.ids {
		tenants, ids = append(tenants, k.Tenant), append(ids, k.ID)
		if from, to, ok := madeBetween(k.ID); ok {
			madeTenants, made = append(madeTenants, k.Tenant), append(made, k.ID)
			low, high = append(low, int64(from)), append(high, int64(to))
		}
	}
	batch.Queue(findGiven, tenants, ids).Query(w.found)
	if len(made) > 0 {
		batch.Queue(findMade, madeTenants, made, low, high).Query(w.found)
	}
}

func (w *writer) found(rows pgx.Rows) error {
	var tenant string
	var e event.Event
	var webhooks int
	_, err := pgx.ForEachRow(rows, []any{&tenant, &e.ID, &e.Type, &e.ObjectID, &e.ObjectOwnerID, &e.OwnerID, &e.Time, &e.Data, &webhooks}, func() error {
		first := e
		first.Time, first.Data = e.Time.UTC(), append([]byte(nil), e.Data...)
		w.repeats.Add(tenant, &first, webhooks)
		return nil
	})
	return err
}

// madeBetween is the range of Seq in which an event with an ID that was made here was accepted; false: it was not.
func madeBetween(id uuid.UUID) (low, high store.Seq, ok bool) {
	if id.Version() != 7 {
		return 0, 0, false
	}
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	t := time.UnixMilli(min(ms, maxMillis-hour))
	return store.SeqAt(t.Add(-time.Hour)), store.SeqAt(t.Add(time.Hour)), true
}

const (
	maxMillis = int64(1)<<43 - 1 // of a Seq
	hour      = int64(time.Hour / time.Millisecond)
)

// queue appends what is left to write: everything but the changes.
func (w *writer) queue(n *node, b *store.Batch, batch *pgx.Batch) {
	queueEvents(n, b.Submissions, batch)
	queueOutcomes(b.Outcomes, batch)
	w.rows.Collect(b)
	queueWaiting(n, w.rows.List, batch)
	w.proof = prove(n, b)
	if w.proof.number != 0 {
		batch.Queue(moveMark, n.id, w.proof.number, int64(b.RecoverFrom))
	}
	queueRollups(n, b.Rollups, batch)
	if b.Trim != nil {
		queueTrim(b.Trim, batch)
		batch.Queue(trimRollups, int16(store.PerMinute), b.Trim.Minutes)
		batch.Queue(trimRollups, int16(store.PerHour), b.Trim.Before.Time())
	}
}

// prove finds the proof of a batch that is judged: its mark, or its first new event, or its first outcome. One that has
// none of them moves the mark too, to where it is.
func prove(n *node, b *store.Batch) proof {
	if b.RecoverFrom == 0 {
		for _, s := range b.Submissions {
			for i := range s.Events {
				if s.Err == nil && !s.Events[i].Duplicate {
					return proof{query: `SELECT EXISTS (SELECT FROM events WHERE tenant = $1 AND seq = $2)`,
						args: []any{s.Tenant, int64(s.Events[i].Seq)}}
				}
			}
		}
		if len(b.Outcomes) > 0 {
			o := &b.Outcomes[0] // another node may write the same attempt's number, but not the same time
			return proof{query: `SELECT EXISTS (SELECT FROM outcomes
				WHERE tenant = $1 AND webhook = $2 AND event = $3 AND attempt = $4 AND at = $5 AND duration = $6)`,
				args: []any{o.Tenant, o.Webhook, int64(o.Event), o.Attempt, o.At, int64(o.Duration)}}
		}
	}
	number := n.number + 1
	return proof{query: `SELECT EXISTS (SELECT FROM marks WHERE node = $1 AND number = $2)`, args: []any{n.id, number},
		number: number}
}

func queueEvents(n *node, list []*store.Submission, batch *pgx.Batch) {
	var tenant, kind, object, objectOwner, owner, webhooks, data []string
	var seq []int64
	var id [][16]byte
	var given []bool
	var at []time.Time
	var idTenant []string
	var idSeq []int64
	var ids [][16]byte
	for _, s := range list {
		if s.Err != nil {
			continue
		}
		for i := range s.Events {
			e := &s.Events[i]
			if e.Duplicate {
				continue
			}
			tenant, seq, id, given = append(tenant, s.Tenant), append(seq, int64(e.Seq)), append(id,
				e.Event.ID), append(given, e.IDGiven)
			kind, object = append(kind, e.Event.Type), append(object, e.Event.ObjectID)
			objectOwner, owner = append(objectOwner, e.Event.ObjectOwnerID), append(owner, e.Event.OwnerID)
			at, webhooks, data = append(at, e.Event.Time), append(webhooks, array(e.Webhooks)), append(data,
				string(e.Event.Data))
			if e.IDGiven {
				idTenant, ids, idSeq = append(idTenant, s.Tenant), append(ids, e.Event.ID), append(idSeq, int64(e.Seq))
			}
		}
	}
	if len(ids) > 0 {
		batch.Queue(insertIDs, idTenant, ids, idSeq)
	}
	if len(seq) > 0 {
		batch.Queue(insertEvents, tenant, seq, id, given, kind, object, objectOwner, owner, at, webhooks, data, n.slot)
	}
}

// array is a PostgreSQL array literal.
func array(list []int64) string {
	b := append(make([]byte, 0, 2+8*len(list)), '{')
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, '}'))
}

func queueOutcomes(list []store.Outcome, batch *pgx.Batch) {
	if len(list) == 0 {
		return
	}
	size := len(list)
	tenant, kind, class, key := make([]string, size), make([]string, size), make([]string, size), make([]string, size)
	webhook, ev, duration := make([]int64, size), make([]int64, size), make([]int64, size)
	attempt, status := make([]int32, size), make([]int32, size)
	at, next := make([]time.Time, size), make([]*time.Time, size)
	sent, response, timings := make([]bool, size), make([][]byte, size), make([][]byte, size)
	for i := range list {
		o := &list[i]
		tenant[i], webhook[i], ev[i], attempt[i], kind[i] = o.Tenant, o.Webhook, int64(o.Event), int32(o.Attempt), string(o.Kind)
		at[i], duration[i], sent[i], status[i] = o.At, int64(o.Duration), o.Sent, int32(o.Status)
		class[i], key[i] = o.Class, o.KeyID
		if o.Kind == store.Retry {
			next[i] = &o.NextAt
		}
		if len(o.Response) > 0 {
			response[i] = o.Response
		}
		if o.Timings != (store.Timings{}) {
			timings[i] = o.Timings.Append(make([]byte, 0, 12))
		}
	}
	batch.Queue(insertOutcomes, tenant, webhook, ev, attempt, kind, at, duration, sent, status, next, class, key,
		response, timings)
}
