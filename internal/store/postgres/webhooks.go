package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

var webhookColumns = store.WebhookFields.Names()

// telling has the other nodes told of a statement's webhook when it commits; see Watch.
func telling(query string) string {
	return "WITH new AS (" + query + " RETURNING num) SELECT num, pg_notify('" + channel + "', num::text) FROM new"
}

// CreateWebhook writes w; see store.Webhooks. Errors: store.ErrNotFound for an unknown tenant, store.ErrExists.
func (db *DB) CreateWebhook(ctx context.Context, w *webhook.Webhook) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := store.RecordOf(db.keyring, w)
	if err == nil {
		r.W.Version = 1
		query, args := store.WebhookFields.Insert("webhooks", r, placeholder, asTime)
		var num int64
		if err = db.pool.QueryRow(ctx, telling(query), args...).Scan(&num, nil); err == nil {
			w.Num, w.Version = num, 1
		}
	}
	return wrap(constraint(err), "create webhook "+w.ID)
}

// UpdateWebhook writes w over the version that it was read as; see store.Webhooks.
func (db *DB) UpdateWebhook(ctx context.Context, w *webhook.Webhook) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := store.RecordOf(db.keyring, w)
	if err == nil {
		query, args := store.WebhookFields.Update("webhooks", r, placeholder, asTime)
		n := len(args)
		query += fmt.Sprintf(`, changed = pg_current_xact_id()
			WHERE tenant = $%d AND id = $%d AND version = $%d AND deleted_at IS NULL`, n+1, n+2, n+3)
		err = db.pool.QueryRow(ctx, telling(query), append(args, w.Tenant, w.ID, w.Version)...).Scan(nil, nil)
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

// HoldWebhook has the webhook held; see store.Webhooks.
func (db *DB) HoldWebhook(ctx context.Context, num int64, url string, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := db.pool.Exec(ctx, telling(`UPDATE webhooks SET held_until = $1, changed = pg_current_xact_id()
		WHERE num = $2 AND url = $3 AND deleted_at IS NULL AND coalesce(held_until, '-infinity') < $1`), until, num, url)
	return wrap(err, fmt.Sprintf("hold webhook %d", num))
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
	return collectAll(ctx, db.pool, "all webhooks", db.scanWebhook(),
		`SELECT `+webhookColumns+` FROM webhooks ORDER BY num`)
}

// loadTime bounds what no request waits for, such as the reading of all webhooks.
const loadTime = 30 * time.Second

// scanWebhook is what reads the rows of one query.
func (db *DB) scanWebhook() pgx.RowToFunc[*webhook.Webhook] {
	o := store.NewOpener(db.keyring)
	return func(row pgx.CollectableRow) (*webhook.Webhook, error) { return scanWebhook(o, row) }
}

func scanWebhook(o *store.Opener, row pgx.CollectableRow) (*webhook.Webhook, error) {
	r := new(store.WebhookRecord)
	if err := row.Scan(store.WebhookFields.Targets(r, readAt)...); err != nil {
		return nil, err
	}
	if err := o.Open(&r.R, &r.W); err != nil {
		return nil, err
	}
	return &r.W, nil
}

// placeholder is that of the n-th value.
func placeholder(n int) string { return "$" + strconv.Itoa(n) }

// asTime is a time as it is written, and readAt reads it.
func asTime(t time.Time) any { return t }

func readAt(t *time.Time) any { return (*floorTime)(t) }

// floorTime is a time in the resolution of the stores; NULL is the zero time.
type floorTime time.Time

// ScanTimestamptz is called by pgx.
func (t *floorTime) ScanTimestamptz(v pgtype.Timestamptz) error {
	*t = floorTime{}
	if v.Valid {
		*t = floorTime(floor(v.Time))
	}
	return nil
}
