package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// FillWebhooksConfig says what FillWebhooks makes.
type FillWebhooksConfig struct {
	To           string   // a new data folder, or an empty PostgreSQL database
	MasterKeyset string   // for a database
	Tenants      int      // besides the default one, as TenantName says
	Webhooks     int      // dealt to those tenants in turn
	URL          string   // of all of them
	EventTypes   []string // of all of them
}

// TenantName is the ID of the nth tenant that FillWebhooks makes.
func TenantName(n int) string { return fmt.Sprintf("tenant-%05d", n) }

// FillWebhooks puts tenants with signed webhooks into an empty store, for measurements.
func FillWebhooks(ctx context.Context, cfg FillWebhooksConfig, log *slog.Logger) (err error) {
	ring, err := fillRing(cfg.To, cfg.MasterKeyset)
	if err != nil {
		return err
	}
	var to side
	defer func() { err = errors.Join(err, to.close()) }()
	if err := to.open(ctx, ring, log, cfg.To); err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	tenants := make([]store.Row, cfg.Tenants)
	for i := range tenants {
		tenants[i] = rowOf("tenants", map[string]any{"id": TenantName(i), "name": TenantName(i), "created_at": now.UnixMilli(),
			"consent": int64(0)})
	}
	if err := putAll(ctx, &to, "tenants", tenants); err != nil {
		return err
	}
	hooks := make([]store.Row, cfg.Webhooks)
	for i := range hooks {
		w := &webhook.Webhook{Tenant: TenantName(i % cfg.Tenants), ID: uuid.NewString(), Num: int64(i + 1),
			URL:    cfg.URL,
			Method: webhook.POST, EventTypes: cfg.EventTypes, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true,
			SigningKeys: []webhook.SigningKey{{ID: "k1", Key: webhook.NewSecret(uuid.NewString())}},
			Timeout:     5 * time.Second, RetrySchedule: webhook.DefaultRetrySchedule(), CreatedAt: now, UpdatedAt: now}
		if hooks[i], err = webhookRow(ring, w); err != nil {
			return err
		}
	}
	if err := putAll(ctx, &to, "webhooks", hooks); err != nil {
		return err
	}
	return to.dump.Finish(ctx)
}

// fillRing is the keyring of a store that is filled.
func fillRing(to, keyset string) (*webhook.Keyring, error) {
	if keyset != "" {
		return webhook.ParseKeyring([]byte(keyset))
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, err
	}
	return webhook.LoadOrCreateKeyring(filepath.Join(to, keyFile))
}

func putAll(ctx context.Context, to *side, table string, rows []store.Row) error {
	for len(rows) > 0 {
		n := min(len(rows), fillBatch)
		if err := to.dump.Put(ctx, tableOf(table), rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return ctx.Err()
}

// webhookRow is the enabled webhook as a row of its table; columns that are not named here stay NULL.
func webhookRow(ring *webhook.Keyring, w *webhook.Webhook) (store.Row, error) {
	r, err := store.SealWebhook(ring, w)
	values := map[string]any{"tenant": w.Tenant, "num": w.Num, "id": w.ID, "url": w.URL, "method": string(w.Method),
		"event_types": r.EventTypes, "owner_id": w.OwnerID, "auth": r.Auth, "headers": r.Headers,
		"signing_keys": r.SigningKeys, "signing_keys_sealed": r.SigningKeysSealed, "description": w.Description,
		"enabled": int64(1), "disabled_reason": "", "timeout": int64(w.Timeout), "retry_schedule": r.RetrySchedule,
		"version": int64(1), "created_at": w.CreatedAt.UnixMilli(), "updated_at": w.UpdatedAt.UnixMilli()}
	return rowOf("webhooks", values), err
}

// rowOf is a row of a table; columns that have no value stay NULL.
func rowOf(table string, values map[string]any) store.Row {
	t := tableOf(table)
	row := make(store.Row, len(t.Columns))
	for i, c := range t.Columns {
		row[i] = values[c.Name]
	}
	return row
}
