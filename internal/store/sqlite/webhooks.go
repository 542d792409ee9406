package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

var webhookColumns = store.WebhookFields.Names()

// CreateWebhook writes w; see store.Webhooks. Errors: store.ErrNotFound for an unknown tenant, store.ErrExists.
func (db *DB) CreateWebhook(ctx context.Context, w *webhook.Webhook) error {
	r, err := store.RecordOf(db.keyring, w)
	if err != nil {
		return fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	r.W.Version = 1
	var num int64
	err = db.change(ctx, "create webhook "+w.ID, func(tx *sql.Tx) error {
		query, args := store.WebhookFields.Insert("webhooks", r, placeholder, unixMilli)
		return constraint(tx.QueryRowContext(ctx, query+" RETURNING num", args...).Scan(&num))
	})
	if err == nil {
		w.Num, w.Version = num, 1
	}
	return err
}

// UpdateWebhook writes w over the version that it was read as; see store.Webhooks.
func (db *DB) UpdateWebhook(ctx context.Context, w *webhook.Webhook) error {
	row, err := store.RecordOf(db.keyring, w)
	if err != nil {
		return fmt.Errorf("update webhook %s: %w", w.ID, err)
	}
	err = db.change(ctx, "update webhook "+w.ID, func(tx *sql.Tx) error {
		query, args := store.WebhookFields.Update("webhooks", row, placeholder, unixMilli)
		r, err := tx.ExecContext(ctx, query+` WHERE tenant = ? AND id = ? AND version = ? AND deleted_at IS NULL`,
			append(args, w.Tenant, w.ID, w.Version)...)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 1 {
			return err
		}
		var one int
		err = tx.QueryRowContext(ctx, `SELECT 1 FROM webhooks WHERE tenant = ? AND id = ? AND deleted_at IS NULL`,
			w.Tenant, w.ID).Scan(&one)
		if err == nil {
			return store.ErrVersion
		}
		return notFound(err)
	})
	if err == nil {
		w.Version++
	}
	return err
}

// HoldWebhook has the webhook held; see store.Webhooks.
func (db *DB) HoldWebhook(ctx context.Context, num int64, url string, until time.Time) error {
	return db.change(ctx, fmt.Sprintf("hold webhook %d", num), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE webhooks SET held_until = ?1
			WHERE num = ?2 AND url = ?3 AND deleted_at IS NULL AND coalesce(held_until, 0) < ?1`, until.UnixMilli(), num, url)
		return err
	})
}

// WebhookByID finds the tenant's webhook; see store.Webhooks.
func (db *DB) WebhookByID(ctx context.Context, tenant, id string) (*webhook.Webhook, error) {
	row := db.rdb.QueryRowContext(ctx, `SELECT `+webhookColumns+` FROM webhooks
		WHERE tenant = ? AND id = ? AND deleted_at IS NULL`, tenant, id)
	w, err := scanWebhook(store.NewOpener(db.keyring), row.Scan)
	if err != nil {
		return nil, wrap(notFound(err), "webhook "+id)
	}
	return w, nil
}

// WebhookByNum finds a webhook of whatever tenant, a deleted one too; see store.Webhooks.
func (db *DB) WebhookByNum(ctx context.Context, num int64) (*webhook.Webhook, error) {
	row := db.rdb.QueryRowContext(ctx, `SELECT `+webhookColumns+` FROM webhooks WHERE num = ?`, num)
	w, err := scanWebhook(store.NewOpener(db.keyring), row.Scan)
	if err != nil {
		return nil, wrap(notFound(err), fmt.Sprintf("webhook %d", num))
	}
	return w, nil
}

// ListWebhooks lists the tenant's webhooks by Num; see store.Webhooks.
func (db *DB) ListWebhooks(ctx context.Context, tenant string, after int64, limit int) ([]*webhook.Webhook, error) {
	rows, err := db.rdb.QueryContext(ctx, `SELECT `+webhookColumns+` FROM webhooks
		WHERE tenant = ? AND num > ? AND deleted_at IS NULL ORDER BY num LIMIT ?`, tenant, after, limit)
	list, err := db.scanWebhooks(rows, err)
	return list, wrap(err, "webhooks of tenant "+tenant)
}

// AllWebhooks lists every tenant's webhooks, the deleted ones included; see store.Webhooks.
func (db *DB) AllWebhooks(ctx context.Context) ([]*webhook.Webhook, error) {
	rows, err := db.rdb.QueryContext(ctx, `SELECT `+webhookColumns+` FROM webhooks ORDER BY num`)
	list, err := db.scanWebhooks(rows, err)
	return list, wrap(err, "all webhooks")
}

func (db *DB) scanWebhooks(rows cursor, err error) (list []*webhook.Webhook, _ error) {
	o := store.NewOpener(db.keyring)
	err = each(rows, err, func() error {
		w, err := scanWebhook(o, rows.Scan)
		list = append(list, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func scanWebhook(o *store.Opener, scan func(...any) error) (*webhook.Webhook, error) {
	r := new(store.WebhookRecord)
	if err := scan(store.WebhookFields.Targets(r, readMillis)...); err != nil {
		return nil, err
	}
	if err := o.Open(&r.R, &r.W); err != nil {
		return nil, err
	}
	return &r.W, nil
}

// placeholder is that of a value, whichever it is.
func placeholder(int) string { return "?" }

// unixMilli is a time as it is written, and readMillis reads it.
func unixMilli(t time.Time) any { return t.UnixMilli() }

func readMillis(t *time.Time) any { return (*millisTime)(t) }

// millisTime is read from Unix milliseconds; NULL is the zero time.
type millisTime time.Time

// Scan is called by database/sql.
func (t *millisTime) Scan(v any) error {
	switch x := v.(type) {
	case nil:
		*t = millisTime{}
	case int64:
		*t = millisTime(millis(x))
	default:
		return fmt.Errorf("a time is a %T", v)
	}
	return nil
}
