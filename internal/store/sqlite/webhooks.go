package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const webhookColumns = `num, tenant, id, url, method, event_types, owner_id, auth, auth_sealed, headers, headers_sealed,
	signing_keys, signing_keys_sealed, description, enabled, disabled_reason, timeout, retry_schedule, version,
	created_at, updated_at, deleted_at`

// CreateWebhook writes w; see store.Webhooks. Errors: store.ErrNotFound for an unknown tenant, store.ErrExists.
func (db *DB) CreateWebhook(ctx context.Context, w *webhook.Webhook) error {
	args, err := db.webhookArgs(w)
	if err != nil {
		return fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	var num int64
	err = db.change(ctx, "create webhook "+w.ID, func(tx *sql.Tx) error {
		args = append(args, w.Tenant, w.ID, w.CreatedAt.UnixMilli())
		return constraint(tx.QueryRowContext(ctx, `INSERT INTO webhooks
				(url, method, event_types, owner_id, auth, auth_sealed, headers, headers_sealed, signing_keys,
				signing_keys_sealed, description, enabled, disabled_reason, timeout, retry_schedule, updated_at, deleted_at,
				tenant, id, created_at, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING num`, args...).Scan(&num))
	})
	if err == nil {
		w.Num, w.Version = num, 1
	}
	return err
}

// UpdateWebhook writes w over the version that it was read as; see store.Webhooks.
func (db *DB) UpdateWebhook(ctx context.Context, w *webhook.Webhook) error {
	args, err := db.webhookArgs(w)
	if err != nil {
		return fmt.Errorf("update webhook %s: %w", w.ID, err)
	}
	err = db.change(ctx, "update webhook "+w.ID, func(tx *sql.Tx) error {
		args = append(args, w.Tenant, w.ID, w.Version)
		r, err := tx.ExecContext(ctx, `UPDATE webhooks SET url = ?, method = ?, event_types = ?, owner_id = ?, auth = ?,
				auth_sealed = ?, headers = ?, headers_sealed = ?, signing_keys = ?, signing_keys_sealed = ?, description = ?,
				enabled = ?, disabled_reason = ?, timeout = ?, retry_schedule = ?, updated_at = ?, deleted_at = ?,
				version = version + 1
			WHERE tenant = ? AND id = ? AND version = ? AND deleted_at IS NULL`, args...)
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

// webhookArgs are the values of url to retry_schedule, updated_at and deleted_at, in the order of CreateWebhook.
func (db *DB) webhookArgs(w *webhook.Webhook) ([]any, error) {
	r, err := store.SealWebhook(db.keyring, w)
	return []any{
		w.URL, string(w.Method), r.EventTypes, w.OwnerID, r.Auth, r.AuthSealed, r.Headers, r.HeadersSealed,
		r.SigningKeys, r.SigningKeysSealed, w.Description, w.Enabled, w.DisabledReason, int64(w.Timeout), r.RetrySchedule,
		w.UpdatedAt.UnixMilli(), nullable(w.DeletedAt),
	}, err
}

func scanWebhook(o *store.Opener, scan func(...any) error) (*webhook.Webhook, error) {
	var w webhook.Webhook
	var r store.WebhookRow
	var createdAt, updatedAt int64
	var deletedAt sql.NullInt64
	if err := scan(&w.Num, &w.Tenant, &w.ID, &w.URL, &w.Method, &r.EventTypes, &w.OwnerID, &r.Auth, &r.AuthSealed,
		&r.Headers, &r.HeadersSealed, &r.SigningKeys, &r.SigningKeysSealed, &w.Description, &w.Enabled, &w.DisabledReason,
		&w.Timeout, &r.RetrySchedule, &w.Version, &createdAt, &updatedAt, &deletedAt); err != nil {
		return nil, err
	}
	w.CreatedAt, w.UpdatedAt, w.DeletedAt = millis(createdAt), millis(updatedAt), orZero(deletedAt)
	if err := o.Open(&r, &w); err != nil {
		return nil, err
	}
	return &w, nil
}
