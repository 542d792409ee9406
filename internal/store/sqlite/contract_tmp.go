package sqlite

import (
	"context"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Backlogs lists.
func (db *DB) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	var list []store.Backlog
	rows, err := db.rdb.QueryContext(ctx, `SELECT webhook, min(due_at) FROM waiting GROUP BY webhook`)
	err = each(rows, err, func() error {
		var b store.Backlog
		var at int64
		err := rows.Scan(&b.Webhook, &at)
		b.DueAt = millis(at)
		list = append(list, b)
		return err
	})
	return list, wrap(err, "backlogs")
}

// Recall brings back.
func (db *DB) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error) {
	return 0, 0, nil
}

// WebhookByNum finds.
func (db *DB) WebhookByNum(ctx context.Context, num int64) (*webhook.Webhook, error) {
	row := db.rdb.QueryRowContext(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE num = ?`, num)
	w, err := db.scanWebhook(row.Scan)
	if err != nil {
		return nil, wrap(notFound(err), "webhook")
	}
	return w, nil
}
