package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
)

// RemoveTenant removes some of an ended tenant; see store.Directory. Events go with what is theirs, each in one
// transaction; the rest in an order in which nothing refers to what is gone.
func (db *DB) RemoveTenant(ctx context.Context, id string, limit int) (done bool, _ error) {
	err := db.change(ctx, "remove tenant "+id, func(tx *sql.Tx) error {
		var one int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM tenants WHERE id = ? AND ended_at IS NOT NULL`, id).Scan(&one)
		if err != nil {
			return notFound(err)
		}
		for _, remove := range []func(context.Context, *sql.Tx, string, int) (bool, error){
			removeEvents, removeObjects, removeKeys, removeWebhook,
		} {
			if some, err := remove(ctx, tx, id, limit); some || err != nil {
				return err
			}
		}
		done = true
		return found(tx.ExecContext(ctx, `DELETE FROM tenants WHERE id = ?`, id))
	})
	return done && err == nil, err
}

func removeEvents(ctx context.Context, tx *sql.Tx, tenant string, limit int) (some bool, _ error) {
	type old struct {
		seq      int64
		webhooks []int64
	}
	var list []old
	rows, err := tx.QueryContext(ctx, `SELECT seq, webhooks FROM events WHERE tenant = ? LIMIT ?`, tenant, limit)
	err = each(rows, err, func() error {
		var x old
		var hooks string
		if err := rows.Scan(&x.seq, &hooks); err != nil {
			return err
		}
		list = append(list, x)
		return json.Unmarshal([]byte(hooks), &list[len(list)-1].webhooks)
	})
	for _, x := range list {
		for _, num := range x.webhooks {
			if err == nil {
				err = runAll(ctx, tx, []string{`DELETE FROM outcomes WHERE webhook = ? AND event = ?`,
					`DELETE FROM waiting WHERE webhook = ? AND event = ?`}, num, x.seq)
			}
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM events WHERE seq = ?`, x.seq)
		}
	}
	if err == nil && len(list) > 0 {
		_, err = tx.ExecContext(ctx, trimParts)
	}
	return len(list) > 0, err
}

// removeObjects removes the advisory platform's.
func removeObjects(ctx context.Context, tx *sql.Tx, tenant string, limit int) (some bool, _ error) {
	for _, table := range []string{"reports", "advice_sessions", "investors"} {
		r, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE num IN (SELECT num FROM `+table+
			` WHERE tenant = ? LIMIT ?)`, tenant, limit)
		if err != nil {
			return false, err
		}
		if n, err := r.RowsAffected(); n > 0 || err != nil {
			return true, err
		}
	}
	return false, nil
}

// removeKeys removes keys of both kinds, and advisors, whose keys refer to them; there are few.
func removeKeys(ctx context.Context, tx *sql.Tx, tenant string, _ int) (some bool, _ error) {
	return false, runAll(ctx, tx, []string{`DELETE FROM api_keys WHERE tenant = ?`,
		`DELETE FROM advisors WHERE tenant = ?`, `DELETE FROM idempotency_keys WHERE tenant = ?`}, tenant)
}

// removeWebhook removes one webhook with its numbers, and what is left of deliveries; at last the numbers of all.
func removeWebhook(ctx context.Context, tx *sql.Tx, tenant string, limit int) (some bool, _ error) {
	var num int64
	err := tx.QueryRowContext(ctx, `SELECT num FROM webhooks WHERE tenant = ? LIMIT 1`, tenant).Scan(&num)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `DELETE FROM rollups WHERE tenant = ?`, tenant)
		return false, err
	}
	if err != nil {
		return false, err
	}
	r, err := tx.ExecContext(ctx, `DELETE FROM outcomes WHERE (webhook, event, attempt) IN
		(SELECT webhook, event, attempt FROM outcomes WHERE webhook = ? LIMIT ?)`, num, limit)
	if err != nil {
		return false, err
	}
	if n, err := r.RowsAffected(); n > 0 || err != nil {
		return true, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM rollups WHERE tenant = ? AND webhook = ?`, tenant, num); err != nil {
		return false, err
	}
	return true, runAll(ctx, tx, []string{`DELETE FROM waiting WHERE webhook = ?`,
		`DELETE FROM webhooks WHERE num = ?`}, num)
}

// runAll executes statements with the same values.
func runAll(ctx context.Context, tx *sql.Tx, queries []string, args ...any) error {
	for _, q := range queries {
		if _, err := tx.ExecContext(ctx, q, args...); err != nil {
			return err
		}
	}
	return nil
}
