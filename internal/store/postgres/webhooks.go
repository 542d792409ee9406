package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	webhookColumns = `num, tenant, id, url, method, event_types, owner_id, auth, auth_sealed, headers, headers_sealed,
		signing_keys, signing_keys_sealed, description, enabled, disabled_reason, timeout, retry_schedule, version,
		created_at, updated_at, deleted_at`

	// Both tell the other nodes when they commit; see Watch.
	insertWebhook = `WITH new AS (
			INSERT INTO webhooks (tenant, id, url, method, event_types, owner_id, auth, auth_sealed, headers, headers_sealed,
				signing_keys, signing_keys_sealed, description, enabled, disabled_reason, timeout, retry_schedule, updated_at,
				deleted_at, created_at, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 1)
			RETURNING num)
		SELECT num, pg_notify('` + channel + `', num::text) FROM new`

	updateWebhook = `WITH new AS (
			UPDATE webhooks SET url = $3, method = $4, event_types = $5, owner_id = $6, auth = $7, auth_sealed = $8,
				headers = $9, headers_sealed = $10, signing_keys = $11, signing_keys_sealed = $12, description = $13,
				enabled = $14, disabled_reason = $15, timeout = $16, retry_schedule = $17, updated_at = $18, deleted_at = $19,
				version = version + 1, changed = pg_current_xact_id()
			WHERE tenant = $1 AND id = $2 AND version = $20 AND deleted_at IS NULL
			RETURNING num)
		SELECT num, pg_notify('` + channel + `', num::text) FROM new`
)

// CreateWebhook writes w; see store.Webhooks. Errors: store.ErrNotFound for an unknown tenant, store.ErrExists.
func (db *DB) CreateWebhook(ctx context.Context, w *webhook.Webhook) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	args, err := db.webhookArgs(w, w.CreatedAt)
	if err == nil {
		var num int64
		if err = db.pool.QueryRow(ctx, insertWebhook, args...).Scan(&num, nil); err == nil {
			w.Num, w.Version = num, 1
		}
	}
	return wrap(constraint(err), "create webhook "+w.ID)
}

// UpdateWebhook writes w over the version that it was read as; see store.Webhooks.
func (db *DB) UpdateWebhook(ctx context.Context, w *webhook.Webhook) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	args, err := db.webhookArgs(w, w.Version)
	if err == nil {
		err = db.pool.QueryRow(ctx, updateWebhook, args...).Scan(nil, nil)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err = db.WebhookByID(ctx, w.Tenant, w.ID); err == nil {
			err = store.ErrVersion
		}
	}
	if err == nil {
		w.Version++
	}
	return wrap(err, "update webhook "+w.ID)
}

// WebhookByID finds the tenant's webhook; see store.Webhooks.
func (db *DB) WebhookByID(ctx context.Context, tenant, id string) (*webhook.Webhook, error) {
	return one(ctx, db.pool, "webhook "+id, db.scanWebhook(), `SELECT `+webhookColumns+` FROM webhooks
		WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL`, tenant, id)
}

// WebhookByNum finds a webhook of whatever tenant, a deleted one too; see store.Webhooks.
func (db *DB) WebhookByNum(ctx context.Context, num int64) (*webhook.Webhook, error) {
	return one(ctx, db.pool, fmt.Sprintf("webhook %d", num), db.scanWebhook(),
		`SELECT `+webhookColumns+` FROM webhooks WHERE num = $1`, num)
}

// webhooksByNum lists those of the numbers that there are, by Num.
func (db *DB) webhooksByNum(ctx context.Context, nums []int64) ([]*webhook.Webhook, error) {
	return collect(ctx, db.pool, "webhooks by number", db.scanWebhook(), `SELECT `+webhookColumns+` FROM webhooks
		WHERE num = ANY($1::bigint[]) ORDER BY num`, nums)
}

// ListWebhooks lists the tenant's webhooks by Num; see store.Webhooks.
func (db *DB) ListWebhooks(ctx context.Context, tenant string, after int64, limit int) ([]*webhook.Webhook, error) {
	return collect(ctx, db.pool, "webhooks of tenant "+tenant, db.scanWebhook(), `SELECT `+webhookColumns+` FROM webhooks
		WHERE tenant = $1 AND num > $2 AND deleted_at IS NULL ORDER BY num LIMIT $3`, tenant, after, limit)
}

// AllWebhooks lists every tenant's webhooks, the deleted ones included; see store.Webhooks.
func (db *DB) AllWebhooks(ctx context.Context) ([]*webhook.Webhook, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	return collectAll(ctx, db.pool, "all webhooks", db.scanWebhook(), `SELECT `+webhookColumns+` FROM webhooks ORDER BY num`)
}

// loadTime bounds what no request waits for, such as the reading of all webhooks.
const loadTime = 30 * time.Second

// webhookArgs are $1 to $19 of insertWebhook and updateWebhook, and then the last.
func (db *DB) webhookArgs(w *webhook.Webhook, last any) ([]any, error) {
	r, err := store.SealWebhook(db.keyring, w)
	return []any{
		w.Tenant, w.ID, w.URL, string(w.Method), r.EventTypes, w.OwnerID, r.Auth, r.AuthSealed, r.Headers, r.HeadersSealed,
		r.SigningKeys, r.SigningKeysSealed, w.Description, w.Enabled, w.DisabledReason, int64(w.Timeout), r.RetrySchedule,
		w.UpdatedAt, nullable(w.DeletedAt), last,
	}, err
}

// scanWebhook is what reads the rows of one query.
func (db *DB) scanWebhook() pgx.RowToFunc[*webhook.Webhook] {
	o := store.NewOpener(db.keyring)
	return func(row pgx.CollectableRow) (*webhook.Webhook, error) { return scanWebhook(o, row) }
}

func scanWebhook(o *store.Opener, row pgx.CollectableRow) (*webhook.Webhook, error) {
	var w webhook.Webhook
	var r store.WebhookRow
	var deletedAt *time.Time
	if err := row.Scan(&w.Num, &w.Tenant, &w.ID, &w.URL, &w.Method, &r.EventTypes, &w.OwnerID, &r.Auth, &r.AuthSealed,
		&r.Headers, &r.HeadersSealed, &r.SigningKeys, &r.SigningKeysSealed, &w.Description, &w.Enabled, &w.DisabledReason,
		(*int64)(&w.Timeout), &r.RetrySchedule, &w.Version, &w.CreatedAt, &w.UpdatedAt, &deletedAt); err != nil {
		return nil, err
	}
	w.CreatedAt, w.UpdatedAt, w.DeletedAt = floor(w.CreatedAt), floor(w.UpdatedAt), orZero(deletedAt)
	if err := o.Open(&r, &w); err != nil {
		return nil, err
	}
	return &w, nil
}
