package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Backlogs lists.
func (db *DB) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	n := db.node.Load()
	if n == nil {
		return nil, errNotJoined
	}
	rows, _ := db.pool.Query(ctx, `SELECT webhook, min(due_at) FROM waiting WHERE node IS NULL OR node = $1 GROUP BY webhook`, n.id)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[store.Backlog])
	return list, wrap(err, "backlogs")
}

// Recall brings back.
func (db *DB) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error) {
	return 0, 0, nil
}

// WebhookByNum finds.
func (db *DB) WebhookByNum(ctx context.Context, num int64) (*webhook.Webhook, error) {
	list, err := db.AllWebhooks(ctx)
	for _, w := range list {
		if w.Num == num {
			return w, nil
		}
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return nil, err
}
