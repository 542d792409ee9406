package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/quantfolio/qhook/internal/store"
)

// dump reads on a connection of its own, on which unwritten has what only the memory of a process knew.
type dump struct {
	db   *DB
	conn *sql.Conn
}

const (
	createUnwritten = `CREATE TEMP TABLE unwritten (webhook INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (webhook, event)) WITHOUT ROWID`

	fillUnwritten = `INSERT INTO temp.unwritten SELECT w.value, e.seq FROM events AS e, json_each(e.webhooks) AS w
		WHERE e.seq >= (SELECT recover_from FROM meta WHERE one = 1)
			AND EXISTS (SELECT 1 FROM webhooks WHERE num = w.value)
			AND NOT EXISTS (SELECT 1 FROM outcomes WHERE webhook = w.value AND event = e.seq)
			AND NOT EXISTS (SELECT 1 FROM waiting WHERE webhook = w.value AND event = e.seq)`

	// Due when it was accepted, as where it does not fit the queue.
	createWaitingAll = `CREATE TEMP VIEW waiting_all AS SELECT webhook, event, attempts, due_at FROM main.waiting
		UNION ALL SELECT webhook, event, 0, event >> 20 FROM temp.unwritten`

	// What is put has a waiting row or an outcome for each delivery.
	raiseRecoverFrom = `UPDATE meta SET recover_from = max(recover_from, ?) WHERE one = 1`

	selectForParts = `SELECT seq, tenant, type, object_id, object_owner_id, owner_id FROM events ORDER BY seq`
)

// Dump opens the store for a copy; see store.Dump. Close it before the store.
func (db *DB) Dump(ctx context.Context) (store.Dump, error) {
	conn, err := db.rdb.db.Conn(ctx)
	if err != nil {
		return nil, wrap(err, "open for a copy")
	}
	for _, query := range []string{"PRAGMA query_only(0)", createUnwritten, fillUnwritten, createWaitingAll,
		"PRAGMA query_only(1)"} {
		if _, err := conn.ExecContext(ctx, query); err != nil {
			return nil, wrap(err, "find what has to be delivered")
		}
	}
	return &dump{db, conn}, nil
}

// Close releases the connection.
func (d *dump) Close() error { return d.conn.Close() }

func source(t *store.Table) string {
	switch t.Name {
	case "waiting":
		return "waiting_all"
	case "events":
		return "events AS e"
	}
	return t.Name
}

// Count tells how many rows the table has.
func (d *dump) Count(ctx context.Context, t *store.Table) (n int64, err error) {
	query := `SELECT count(*) FROM ` + source(t)
	if t.Only != "" {
		query += " WHERE " + t.Only
	}
	err = d.conn.QueryRowContext(ctx, query).Scan(&n)
	return n, wrap(err, "count "+t.Name)
}

// selectRows is a query of Rows. A table of a webhook's deliveries has no tenant; the scope knows it.
func selectRows(t *store.Table, in store.Scope, after store.Row, limit int64) (query string, args []any) {
	var where []string
	columns := names(t.Columns)
	switch t.Per {
	case store.PerTenant:
		where, args = append(where, "tenant = ?"), append(args, in.Tenant)
	case store.PerWebhook:
		columns[t.Index("tenant")] = "?"
		where, args = append(where, "webhook = ?"), append(args, in.Tenant, in.Webhook)
	}
	if t.Only != "" {
		where = append(where, t.Only)
	}
	if t.Name == "events" {
		columns[t.Index("data")] = dataOf
	}
	key := strings.Join(names(t.Key), ", ")
	if after != nil {
		where, args = append(where, "("+key+") > (?"+strings.Repeat(", ?", len(after)-1)+")"), append(args, after...)
	}
	query = "SELECT " + strings.Join(columns, ", ") + " FROM " + source(t)
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY " + key
	if limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", limit)
	}
	return query, args
}

func names(columns []store.Column) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.Name
	}
	return list
}

// Rows reads rows; see store.Dump.
func (d *dump) Rows(ctx context.Context, t *store.Table, in store.Scope, after store.Row,
	limit int64) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		query, args := selectRows(t, in, after, limit)
		rows, err := d.conn.QueryContext(ctx, query, args...)
		if err != nil {
			yield(nil, wrap(err, "read "+t.Name))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row := make(store.Row, len(t.Columns))
			to := make([]any, len(row))
			for i := range row {
				to[i] = &row[i]
			}
			err := rows.Scan(to...)
			if err == nil && t.Name == "events" {
				err = unpackIn(row, t.Index("data"))
			}
			if err != nil {
				yield(nil, wrap(err, "read "+t.Name))
				return
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

// Put writes rows in one transaction; see store.Dump.
func (d *dump) Put(ctx context.Context, t *store.Table, rows []store.Row) error {
	columns, skip := names(t.Columns), -1
	if t.Per == store.PerWebhook {
		skip = t.Index("tenant")
		columns = slices.Delete(columns, skip, skip+1)
	}
	insert := "INSERT INTO " + t.Name + " (" + strings.Join(columns, ", ") + ") VALUES (?" +
		strings.Repeat(", ?", len(columns)-1) + ")"
	err := d.db.change(ctx, "write "+t.Name, func(tx *sql.Tx) error {
		stmt, err := tx.PrepareContext(ctx, insert)
		if err != nil {
			return err
		}
		defer stmt.Close()
		var next int64
		for _, r := range rows {
			if t.Name == "events" {
				next = max(next, r[t.Index("seq")].(int64)+1)
			}
			if skip >= 0 {
				r = slices.Delete(slices.Clone(r), skip, skip+1)
			}
			if _, err := stmt.ExecContext(ctx, r...); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, raiseRecoverFrom, next)
		return err
	})
	if err != nil {
		return err
	}
	return d.tidy()
}

// tidy keeps the log short.
func (d *dump) tidy() error {
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	return d.db.moved(d.db.w.conn.Raw(d.db.tidy))
}

// Finish cuts the history into parts. The store is opened anew before it is used.
func (d *dump) Finish(ctx context.Context) error {
	err := d.db.change(ctx, "cut the history into parts", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM event_parts`); err != nil {
			return err
		}
		var p part
		rows, err := d.conn.QueryContext(ctx, selectForParts)
		return each(rows, err, func() error {
			var seq store.Seq
			var tenant, typ, object, objectOwner, owner string
			if err := rows.Scan(&seq, &tenant, &typ, &object, &objectOwner, &owner); err != nil {
				return err
			}
			p.put(seq, tenant, typ, object, objectOwner, owner)
			if p.events < partSize {
				return nil
			}
			_, err := tx.ExecContext(ctx, insertPart, int64(p.last), newFilter(p.hashes))
			p = part{}
			return err
		})
	})
	if err != nil {
		return err
	}
	return d.tidy()
}
