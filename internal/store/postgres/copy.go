package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgsession"
	"github.com/quantfolio/qhook/internal/store"
)

// dump reads on one connection, while another keeps nodes from joining. It writes as the store does.
type dump struct {
	db         *DB
	conn, hold *pgx.Conn
	days       map[time.Time]bool // that have their partitions
}

// Dump opens the store for a copy; see store.Dump. It refuses a database that nodes use, and none can join it until
// Close.
func (db *DB) Dump(ctx context.Context) (store.Dump, error) {
	d := &dump{db: db, days: map[time.Time]bool{}}
	c, err := pgsession.Config(db.cfg.URL, pgsession.Options{Name: name, Settings: map[string]string{
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}}) // a whole table is read at once
	if err != nil {
		return nil, err
	}
	for _, to := range []**pgx.Conn{&d.conn, &d.hold} {
		if *to, err = pgx.ConnectConfig(ctx, c.ConnConfig); err != nil {
			return nil, errors.Join(wrap(err, "connect for a copy"), d.Close())
		}
	}
	if err := d.alone(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// alone makes sure that no node uses the database, as long as the transaction that it begins is open.
func (d *dump) alone(ctx context.Context) error {
	_, err := d.hold.Exec(ctx, `BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE`)
	if code(err) == lockNotAvailable {
		return errors.New("another copy uses the database: wait until it ends, or end it")
	}
	if err != nil {
		return wrap(err, "lock the nodes")
	}
	rows, _ := d.hold.Query(ctx, `SELECT name FROM nodes ORDER BY joined`) // CollectRows says what is wrong
	nodes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return wrap(err, "read the nodes")
	}
	if len(nodes) > 0 {
		return fmt.Errorf("the database is used by %d nodes (%s): stop them; if one was killed, start a node, give it ten seconds to take over what the killed one had, and stop it too",
			len(nodes), strings.Join(nodes, ", "))
	}
	return nil
}

const lockNotAvailable = "55P03"

// Close lets nodes join again. It fails when they could before.
func (d *dump) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	if d.hold != nil {
		if _, err = d.hold.Exec(ctx, "COMMIT"); err != nil {
			err = fmt.Errorf("the connection that kept nodes from joining was lost; make sure that none runs, and run the copy again: %w", err)
		}
		_ = d.hold.Close(ctx)
	}
	if d.conn != nil {
		_ = d.conn.Close(ctx)
	}
	return err
}

// source is what is read of a table: of rollups, what all nodes' come to.
func source(t *store.Table) string {
	if t.Name != "rollups" {
		return t.Name
	}
	var sums []string
	for _, c := range rollupCounts {
		sums = append(sums, "sum("+c+")::bigint AS "+c)
	}
	return "(SELECT tenant, webhook, span, start, " + strings.Join(sums, ", ") +
		" FROM rollups GROUP BY tenant, webhook, span, start) AS r"
}

// Count tells how many rows the table has.
func (d *dump) Count(ctx context.Context, t *store.Table) (n int64, err error) {
	query := `SELECT count(*) FROM ` + source(t)
	if t.Only != "" {
		query += " WHERE " + t.Only
	}
	err = d.conn.QueryRow(ctx, query).Scan(&n)
	return n, wrap(err, "count "+t.Name)
}

// selectRows is a query of Rows. Text is put in order by its bytes, as in every store.
func selectRows(t *store.Table, in store.Scope, after store.Row, limit int64) (query string, args []any, err error) {
	var columns, where, key, marks []string
	param := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	for _, c := range t.Columns {
		switch c.Form {
		case store.FormJSON:
			columns = append(columns, c.Name+"::text")
		case store.FormNums:
			columns = append(columns, "array_to_json("+c.Name+")::text")
		default:
			columns = append(columns, c.Name)
		}
	}
	if t.Per != store.PerStore {
		where = append(where, "tenant = "+param(in.Tenant))
	}
	if t.Per == store.PerWebhook {
		where = append(where, "webhook = "+param(in.Webhook))
	}
	if t.Only != "" {
		where = append(where, t.Only)
	}
	for _, c := range t.Key {
		if c.Form == store.FormText {
			c.Name += ` COLLATE "C"`
		}
		key = append(key, c.Name)
	}
	if after != nil {
		for i, v := range after {
			v, err := native(t.Key[i].Form, v)
			if err != nil {
				return "", nil, err
			}
			marks = append(marks, param(v))
		}
		where = append(where, "("+strings.Join(key, ", ")+") > ("+strings.Join(marks, ", ")+")")
	}
	query = "SELECT " + strings.Join(columns, ", ") + " FROM " + source(t)
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY " + strings.Join(key, ", ")
	if limit > 0 {
		query += " LIMIT " + param(limit)
	}
	return query, args, nil
}

// Rows reads rows; see store.Dump.
func (d *dump) Rows(ctx context.Context, t *store.Table, in store.Scope, after store.Row,
	limit int64) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		query, args, err := selectRows(t, in, after, limit)
		if err != nil {
			yield(nil, wrap(err, "read "+t.Name))
			return
		}
		rows, err := d.conn.Query(ctx, query, args...)
		if err != nil {
			yield(nil, wrap(err, "read "+t.Name))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, err := rows.Values()
			if err != nil {
				yield(nil, wrap(err, "read "+t.Name))
				return
			}
			for i := range row {
				row[i] = canonical(row[i])
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, wrap(err, "read "+t.Name))
		}
	}
}

// canonical makes a store.Row's value of what was read.
func canonical(v any) any {
	switch x := v.(type) {
	case int16:
		return int64(x)
	case int32:
		return int64(x)
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		return x.UnixMilli()
	case [16]byte:
		return x[:]
	}
	return v
}

// native makes what is written of a store.Row's value.
func native(f store.Form, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch f {
	case store.FormBool:
		return v.(int64) != 0, nil
	case store.FormTime:
		return time.UnixMilli(v.(int64)).UTC(), nil
	case store.FormUUID:
		id, err := uuid.FromBytes(v.([]byte))
		return [16]byte(id), err
	case store.FormNums:
		list := []int64{}
		err := json.Unmarshal([]byte(v.(string)), &list)
		return list, err
	}
	return v, nil
}

// Put writes rows in one transaction; see store.Dump. Numbers are written as given, also where the database makes them
// otherwise: that is how COPY does it.
func (d *dump) Put(ctx context.Context, t *store.Table, rows []store.Row) error {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = c.Name
	}
	var ids [][]any
	if t.Name == "events" {
		columns = append(columns, "slot", "id_given")
		if err := d.makeDays(ctx, t, rows); err != nil {
			return wrap(err, "make partitions")
		}
	}
	write := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		row := make([]any, len(t.Columns), len(columns))
		for c := range row {
			v, err := native(t.Columns[c].Form, rows[i][c])
			if err != nil {
				return nil, err
			}
			row[c] = v
		}
		if t.Name == "events" {
			tenant, seq, id := row[t.Index("tenant")], row[t.Index("seq")].(int64), row[t.Index("id")].([16]byte)
			given := !foundByTime(id, store.Seq(seq))
			if given {
				ids = append(ids, []any{tenant, id, seq})
			}
			row = append(row, int16(0), given)
		}
		return row, nil
	})
	err := pgx.BeginFunc(ctx, d.db.pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, columns, write)
		if err != nil || len(ids) == 0 {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"event_ids"}, []string{"tenant", "id", "seq"}, pgx.CopyFromRows(ids))
		return err
	})
	return wrap(err, "write "+t.Name)
}

// foundByTime tells whether the event is found by the time in its ID, as if the ID was made here. Whoever made it does
// not matter then; another event's ID is looked up in event_ids.
func foundByTime(id uuid.UUID, seq store.Seq) bool {
	low, high, ok := madeBetween(id)
	return ok && low <= seq && seq <= high
}

// makeDays makes the partitions that the events belong to; old ones are dropped by the day, like those of any other.
func (d *dump) makeDays(ctx context.Context, t *store.Table, rows []store.Row) error {
	for _, r := range rows {
		from := store.Seq(r[t.Index("seq")].(int64)).Time().Truncate(day)
		if d.days[from] {
			continue
		}
		if err := d.db.makeDay(ctx, from); err != nil && code(err) != checkViolation {
			return err
		}
		d.days[from] = true
	}
	return nil
}

// Finish has the next numbers follow those that were put, and lets the database count what it has.
func (d *dump) Finish(ctx context.Context) error {
	for i := range store.Tables {
		t := &store.Tables[i]
		query := "ANALYZE " + t.Name
		if t.Index("num") >= 0 {
			query = fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%[1]s', 'num'), max(num)) FROM %[1]s HAVING max(num) IS NOT NULL; %[2]s", t.Name, query)
		}
		if _, err := d.conn.Exec(ctx, query); err != nil {
			return wrap(err, "finish "+t.Name)
		}
	}
	return nil
}
