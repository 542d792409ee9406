package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// Events go with what is theirs.
const removeEvents = `WITH old AS (SELECT tenant, seq, id, id_given, webhooks FROM events WHERE tenant = $1 LIMIT $2),
	outcome AS (
		DELETE FROM outcomes AS o USING old WHERE o.tenant = old.tenant AND o.webhook = ANY (old.webhooks) AND o.event = old.seq),
	waits AS (
		DELETE FROM waiting AS w USING old WHERE w.tenant = old.tenant AND w.webhook = ANY (old.webhooks) AND w.event = old.seq),
	given AS (
		DELETE FROM event_ids AS i USING old WHERE old.id_given AND i.tenant = old.tenant AND i.id = old.id)
	DELETE FROM events AS e USING old WHERE e.tenant = old.tenant AND e.seq = old.seq`

// removed are a tenant's rows of each table, in an order in which nothing refers to what is gone.
var removed = []string{
	removeEvents, someOf("outcomes", "tenant, webhook, event, attempt"), someOf("waiting", "tenant, webhook, event"),
	someOf("event_ids", "tenant, id"), someOf("reports", "tenant, id"), someOf("advice_sessions", "tenant, id"),
	someOf("investors", "tenant, id"), someOf("api_keys", "id"), someOf("advisors", "tenant, id"),
	someOf("idempotency_keys", "tenant, caller, key"), someOf("rollups", "tenant, webhook, span, start, slot"),
	someOf("webhooks", "tenant, num"),
}

// someOf removes up to $2 rows of the tenant $1 from a table with such a key.
func someOf(table, key string) string {
	return `DELETE FROM ` + table + ` WHERE (` + key + `) IN
		(SELECT ` + key + ` FROM ` + table + ` WHERE tenant = $1 LIMIT $2)`
}

// RemoveTenant removes some of an ended tenant; see store.Directory.
func (db *DB) RemoveTenant(ctx context.Context, id string, limit int) (done bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var one int
		err := tx.QueryRow(ctx, `SELECT 1 FROM tenants WHERE id = $1 AND ended_at IS NOT NULL FOR UPDATE`, id).Scan(&one)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		} else if err != nil {
			return err
		}
		for _, query := range removed {
			if tag, err := tx.Exec(ctx, query, id, limit); err != nil || tag.RowsAffected() > 0 {
				return err
			}
		}
		done = true
		_, err = tx.Exec(ctx, `DELETE FROM tenants WHERE id = $1`, id)
		return err
	})
	return done && err == nil, wrap(err, "remove tenant "+id)
}
