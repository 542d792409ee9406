package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const webhookColumns = `num, tenant, id, url, method, event_types, owner_id, auth, auth_sealed, headers, headers_sealed,
	signing_keys, signing_keys_sealed, description, enabled, disabled_reason, timeout, retry_schedule, version,
	created_at, updated_at, deleted_at`

// authRow, keyRow are the parts of a webhook that are stored as JSON; nothing in them is secret.
type authRow struct {
	Type     webhook.AuthType `json:"type"`
	Username string           `json:"username,omitempty"`
	Header   string           `json:"header,omitempty"`
}

type keyRow struct {
	ID        string    `json:"id"`
	SwitchAt  time.Time `json:"switch_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

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
	w, err := db.scanWebhook(row.Scan)
	if err != nil {
		return nil, wrap(notFound(err), "webhook "+id)
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

func (db *DB) scanWebhooks(rows *sql.Rows, err error) (list []*webhook.Webhook, _ error) {
	err = each(rows, err, func() error {
		w, err := db.scanWebhook(rows.Scan)
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
	names, values := make([]string, len(w.Headers)), make([]string, len(w.Headers))
	for i, h := range w.Headers {
		names[i], values[i] = h.Name, h.Value.Reveal()
	}
	keys, secrets := make([]keyRow, len(w.SigningKeys)), make([]string, len(w.SigningKeys))
	for i, k := range w.SigningKeys {
		keys[i], secrets[i] = keyRow{k.ID, k.SwitchAt, k.ExpiresAt}, k.Key.Reveal()
	}
	var errs []error
	text := func(v any) string {
		b, err := json.Marshal(v)
		errs = append(errs, err)
		return string(b)
	}
	seal := func(column, v string, none bool) any {
		if none {
			return nil
		}
		b, err := db.keyring.Seal(webhook.NewSecret(v), w.Tenant, w.ID, column)
		errs = append(errs, err)
		return b
	}
	list := func(v []string) []string { return append([]string{}, v...) }
	args := []any{
		w.URL, string(w.Method), text(list(w.EventTypes)), w.OwnerID,
		text(authRow{w.Auth.Type, w.Auth.Username, w.Auth.Header}),
		seal("auth_sealed", w.Auth.Secret.Reveal(), w.Auth.Secret.IsZero()),
		text(names), seal("headers_sealed", text(values), len(values) == 0),
		text(keys), seal("signing_keys_sealed", text(secrets), len(secrets) == 0),
		w.Description, w.Enabled, w.DisabledReason, int64(w.Timeout),
		text(append([]time.Duration{}, w.RetrySchedule...)), w.UpdatedAt.UnixMilli(), nil,
	}
	if w.Deleted() {
		args[len(args)-1] = w.DeletedAt.UnixMilli()
	}
	return args, errors.Join(errs...)
}

func (db *DB) scanWebhook(scan func(...any) error) (*webhook.Webhook, error) {
	var (
		w                                     webhook.Webhook
		types, auth, headers, keys, schedule  []byte
		authSealed, headersSealed, keysSealed []byte
		createdAt, updatedAt                  int64
		deletedAt                             sql.NullInt64
		a                                     authRow
		names, values, secrets                []string
		keyRows                               []keyRow
	)
	if err := scan(&w.Num, &w.Tenant, &w.ID, &w.URL, &w.Method, &types, &w.OwnerID, &auth, &authSealed, &headers,
		&headersSealed, &keys, &keysSealed, &w.Description, &w.Enabled, &w.DisabledReason, &w.Timeout, &schedule,
		&w.Version, &createdAt, &updatedAt, &deletedAt); err != nil {
		return nil, err
	}
	w.CreatedAt, w.UpdatedAt = millis(createdAt), millis(updatedAt)
	if deletedAt.Valid {
		w.DeletedAt = millis(deletedAt.Int64)
	}
	open := func(column string, sealed []byte) (webhook.Secret, error) {
		if sealed == nil {
			return webhook.Secret{}, nil
		}
		s, err := db.keyring.Open(sealed, w.Tenant, w.ID, column)
		if err != nil {
			return s, fmt.Errorf("open %s of webhook %s: %w", column, w.ID, err)
		}
		return s, nil
	}
	openList := func(column string, sealed []byte, want int) ([]string, error) {
		s, err := open(column, sealed)
		if err != nil || s.IsZero() && want == 0 {
			return nil, err
		}
		var list []string
		if err := json.Unmarshal([]byte(s.Reveal()), &list); err != nil || len(list) != want {
			return nil, fmt.Errorf("%s of webhook %s do not match their names", column, w.ID) // err could show the content
		}
		return list, nil
	}
	err := errors.Join(json.Unmarshal(types, &w.EventTypes), json.Unmarshal(auth, &a), json.Unmarshal(headers, &names),
		json.Unmarshal(keys, &keyRows), json.Unmarshal(schedule, &w.RetrySchedule))
	if err != nil {
		return nil, fmt.Errorf("read webhook %s: %w", w.ID, err)
	}
	w.Auth = webhook.Auth{Type: a.Type, Username: a.Username, Header: a.Header}
	if w.Auth.Secret, err = open("auth_sealed", authSealed); err != nil {
		return nil, err
	}
	if values, err = openList("headers_sealed", headersSealed, len(names)); err != nil {
		return nil, err
	}
	if secrets, err = openList("signing_keys_sealed", keysSealed, len(keyRows)); err != nil {
		return nil, err
	}
	for i, name := range names {
		w.Headers = append(w.Headers, webhook.Header{Name: name, Value: webhook.NewSecret(values[i])})
	}
	for i, k := range keyRows {
		w.SigningKeys = append(w.SigningKeys, webhook.SigningKey{ID: k.ID, Key: webhook.NewSecret(secrets[i]),
			SwitchAt: k.SwitchAt, ExpiresAt: k.ExpiresAt})
	}
	return &w, nil
}
