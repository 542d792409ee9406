package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// CreateTenant writes t; see store.Directory.
func (db *DB) CreateTenant(ctx context.Context, t store.Tenant) error {
	_, err := db.pool.Exec(ctx, `INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)`, t.ID, t.Name, t.CreatedAt)
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
	apiKeyColumns = `SELECT id, coalesce(tenant, ''), role, coalesce(advisor, ''), name, hash, created_at FROM api_keys`
	ofTenant      = `(tenant = $1 OR $1 = '' AND tenant IS NULL)`
)

func scanAPIKey(row pgx.CollectableRow) (k store.APIKey, err error) {
	var hash []byte
	err = row.Scan(&k.ID, &k.Tenant, &k.Role, &k.Advisor, &k.Name, &hash, &k.CreatedAt)
	k.CreatedAt = floor(k.CreatedAt)
	copy(k.Hash[:], hash)
	return k, err
}

// CreateAPIKey writes k; see store.Directory.
func (db *DB) CreateAPIKey(ctx context.Context, k store.APIKey) error {
	_, err := db.pool.Exec(ctx, `INSERT INTO api_keys (id, tenant, role, advisor, name, hash, created_at)
		VALUES ($1, nullif($2, ''), $3, nullif($4, ''), $5, $6, $7)`,
		k.ID, k.Tenant, string(k.Role), k.Advisor, k.Name, k.Hash[:], k.CreatedAt)
	return wrap(constraint(err), "create API key "+k.ID)
}

// APIKeyByHash finds a key; see store.Directory.
func (db *DB) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	return one(ctx, db.pool, "API key by hash", scanAPIKey, apiKeyColumns+` WHERE hash = $1`, hash[:])
}

// ListAPIKeys lists the tenant's keys, oldest first; see store.Directory.
func (db *DB) ListAPIKeys(ctx context.Context, tenant string) ([]store.APIKey, error) {
	return collect(ctx, db.pool, "API keys", scanAPIKey, apiKeyColumns+` WHERE `+ofTenant+` ORDER BY created_at, id COLLATE "C"`, tenant)
}

// DeleteAPIKey removes the tenant's key; see store.Directory.
func (db *DB) DeleteAPIKey(ctx context.Context, tenant, id string) error {
	r, err := db.pool.Exec(ctx, `DELETE FROM api_keys WHERE `+ofTenant+` AND id = $2`, tenant, id)
	if err = notFound(err); err == nil && r.RowsAffected() == 0 {
		err = store.ErrNotFound
	}
	return wrap(err, "delete API key "+id)
}
