package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// CreateTenant writes t; see store.Directory.
func (db *DB) CreateTenant(ctx context.Context, t store.Tenant) error {
	_, err := execute(ctx, db.pool, `INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)`, t.ID, t.Name,
		t.CreatedAt)
	return wrap(constraint(err), "create tenant "+t.ID)
}

func scanTenant(row pgx.CollectableRow) (t store.Tenant, err error) {
	err = row.Scan(&t.ID, &t.Name, &t.CreatedAt)
	t.CreatedAt = floor(t.CreatedAt)
	return t, err
}

// TenantByID finds a tenant; see store.Directory.
func (db *DB) TenantByID(ctx context.Context, id string) (store.Tenant, error) {
	return one(ctx, db.pool, "tenant "+id, scanTenant, `SELECT id, name, created_at FROM tenants WHERE id = $1`, id)
}

// ListTenants lists all tenants by ID; see store.Directory.
func (db *DB) ListTenants(ctx context.Context) ([]store.Tenant, error) {
	return collect(ctx, db.pool, "tenants", scanTenant, `SELECT id, name, created_at FROM tenants ORDER BY id COLLATE "C"`)
}

// A key of the operator's has no tenant; no tenant's ID is empty.
const (
	apiKeyColumns = `SELECT id, coalesce(tenant, ''), role, coalesce(advisor, ''), name, hash, created_at, kind, coalesce(parent, ''), webhook,
		expires_at, signed_in_for FROM api_keys`
	ofTenant = `(tenant = $1 OR $1 = '' AND tenant IS NULL)`
)

func scanAPIKey(row pgx.CollectableRow) (k store.APIKey, err error) {
	var hash []byte
	var expiresAt *time.Time
	var signedInFor int64
	err = row.Scan(&k.ID, &k.Tenant, &k.Role, &k.Advisor, &k.Name, &hash, &k.CreatedAt, &k.Kind, &k.Parent, &k.Webhook, &expiresAt, &signedInFor)
	k.CreatedAt, k.SignedInFor = floor(k.CreatedAt), time.Duration(signedInFor)*time.Millisecond
	if expiresAt != nil {
		k.ExpiresAt = floor(*expiresAt)
	}
	copy(k.Hash[:], hash)
	return k, err
}

// CreateAPIKey writes k; see store.Directory.
func (db *DB) CreateAPIKey(ctx context.Context, k store.APIKey) error {
	var expiresAt *time.Time
	if !k.ExpiresAt.IsZero() {
		expiresAt = &k.ExpiresAt
	}
	_, err := execute(ctx, db.pool, `WITH over AS (DELETE FROM api_keys WHERE expires_at <= $7)
		INSERT INTO api_keys (id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook, expires_at, signed_in_for)
		VALUES ($1, nullif($2, ''), $3, nullif($4, ''), $5, $6, $7, $8, nullif($9, ''), $10, $11, $12)`,
		k.ID, k.Tenant, string(k.Role), k.Advisor, k.Name, k.Hash[:], k.CreatedAt,
		string(k.Kind), k.Parent, k.Webhook, expiresAt, k.SignedInFor.Milliseconds())
	return wrap(constraint(err), "create API key "+k.ID)
}

// APIKeyByHash finds a key; see store.Directory.
func (db *DB) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	return one(ctx, db.pool, "API key by hash", scanAPIKey, apiKeyColumns+` WHERE hash = $1`, hash[:])
}

// ListAPIKeys lists the tenant's keys, oldest first; see store.Directory.
func (db *DB) ListAPIKeys(ctx context.Context, tenant string) ([]store.APIKey, error) {
	return collect(ctx, db.pool, "API keys", scanAPIKey, apiKeyColumns+` WHERE `+ofTenant+` AND kind = '' ORDER BY created_at, id COLLATE "C"`, tenant)
}

// DeleteAPIKey removes the tenant's key; see store.Directory.
func (db *DB) DeleteAPIKey(ctx context.Context, tenant, id string) error {
	r, err := execute(ctx, db.pool, `DELETE FROM api_keys WHERE `+ofTenant+` AND id = $2`, tenant, id)
	if err = notFound(err); err == nil && r.RowsAffected() == 0 {
		err = store.ErrNotFound
	}
	return wrap(err, "delete API key "+id)
}
