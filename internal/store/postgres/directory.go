package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quantfolio/qhook/internal/store"
)

var tenantColumns = store.TenantFields.Names()

// CreateTenant writes t; see store.Directory.
func (db *DB) CreateTenant(ctx context.Context, t store.Tenant) error {
	query, args := store.TenantFields.Insert("tenants", &t, placeholder, asTime)
	_, err := execute(ctx, db.pool, query, args...)
	return wrap(constraint(err), "create tenant "+t.ID)
}

// UpdateTenant changes t; see store.Directory.
func (db *DB) UpdateTenant(ctx context.Context, t store.Tenant) error {
	query, args := store.TenantFields.Update("tenants", &t, placeholder, asTime)
	tag, err := execute(ctx, db.pool, query+` WHERE id = `+placeholder(len(args)+1), append(args, t.ID)...)
	return wrap(changed(tag, err), "change tenant "+t.ID)
}

func scanTenant(row pgx.CollectableRow) (t store.Tenant, err error) {
	err = row.Scan(store.TenantFields.Targets(&t, readAt)...)
	return t, err
}

// TenantByID finds a tenant; see store.Directory.
func (db *DB) TenantByID(ctx context.Context, id string) (store.Tenant, error) {
	return one(ctx, db.pool, "tenant "+id, scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE id = $1`, id)
}

// ListTenants lists all tenants by ID; see store.Directory.
func (db *DB) ListTenants(ctx context.Context) ([]store.Tenant, error) {
	return collect(ctx, db.pool, "tenants", scanTenant, `SELECT `+tenantColumns+` FROM tenants ORDER BY id COLLATE "C"`)
}

// A key of the operator's has no tenant; no tenant's ID is empty.
const (
	apiKeyColumns = `SELECT id, coalesce(tenant, ''), role, coalesce(advisor, ''), name, hash, created_at, kind, coalesce(parent, ''), webhook,
		expires_at, signed_in_for, ends_at, coalesce(maker, ''), networks, used_at, used_from FROM api_keys`
	ofTenant = `(tenant = $1 OR $1 = '' AND tenant IS NULL)`
)

func scanAPIKey(row pgx.CollectableRow) (k store.APIKey, err error) {
	var hash []byte
	var expiresAt, endsAt, usedAt *time.Time
	var signedInFor int64
	err = row.Scan(&k.ID, &k.Tenant, &k.Role, &k.Advisor, &k.Name, &hash, &k.CreatedAt, &k.Kind, &k.Parent,
		&k.Webhook, &expiresAt,
		&signedInFor, &endsAt, &k.Maker, &k.Networks, &usedAt, &k.UsedFrom)
	k.CreatedAt, k.SignedInFor = floor(k.CreatedAt), time.Duration(signedInFor)*time.Millisecond
	k.UsedAt = orZero(usedAt)
	store.SetKeyEnds(&k, orZero(expiresAt), orZero(endsAt))
	copy(k.Hash[:], hash)
	return k, err
}

func orNullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// CreateAPIKey writes k; see store.Directory.
func (db *DB) CreateAPIKey(ctx context.Context, k store.APIKey) error {
	expires, ends := store.KeyEnds(&k)
	r, err := execute(ctx, db.pool, `WITH over AS (DELETE FROM api_keys WHERE expires_at <= $7),
			maker AS (SELECT id FROM api_keys WHERE id = $14 FOR KEY SHARE)
		INSERT INTO api_keys (id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook, expires_at, signed_in_for,
			ends_at, maker, networks)
		SELECT $1, nullif($2, ''), $3, nullif($4, ''), $5, $6, $7::timestamptz, $8, nullif($9, ''), $10, $11::timestamptz, $12::bigint,
			$13::timestamptz, nullif($14, ''), $15
		WHERE $14 = '' OR EXISTS (SELECT 1 FROM maker)`,
		k.ID, k.Tenant, string(k.Role), k.Advisor, k.Name, k.Hash[:], k.CreatedAt,
		string(k.Kind), k.Parent, k.Webhook, orNullTime(expires), k.SignedInFor.Milliseconds(), orNullTime(ends), k.Maker, k.Networks)
	return wrap(changed(r, constraint(err)), "create API key "+k.ID)
}

// changed is ErrNotFound where a statement changed nothing.
func changed(r pgconn.CommandTag, err error) error {
	if err == nil && r.RowsAffected() == 0 {
		return store.ErrNotFound
	}
	return err
}

// UpdateAPIKey writes what may be changed of a key; see store.Directory.
func (db *DB) UpdateAPIKey(ctx context.Context, k store.APIKey) error {
	_, ends := store.KeyEnds(&k)
	r, err := execute(ctx, db.pool, `UPDATE api_keys SET name = $3, networks = $4, ends_at = $5 WHERE `+ofTenant+` AND id = $2`,
		k.Tenant, k.ID, k.Name, k.Networks, orNullTime(ends))
	return wrap(changed(r, err), "change API key "+k.ID)
}

// UseAPIKeys writes when keys were last used; see store.Directory.
func (db *DB) UseAPIKeys(ctx context.Context, list []store.KeyUse) error {
	ids, at, from := make([]string, len(list)), make([]time.Time, len(list)), make([]string, len(list))
	for i, u := range list {
		ids[i], at[i], from[i] = u.ID, u.At, u.From
	}
	_, err := execute(ctx, db.pool, `UPDATE api_keys AS k SET used_at = u.at, used_from = u.place
		FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS u (id, at, place) WHERE k.id = u.id`, ids, at, from)
	return wrap(err, "write when API keys were used")
}

// APIKeyByHash finds a key; see store.Directory.
func (db *DB) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	return one(ctx, db.pool, "API key by hash", scanAPIKey, apiKeyColumns+` WHERE hash = $1`, hash[:])
}

// APIKeyByID finds a key; see store.Directory.
func (db *DB) APIKeyByID(ctx context.Context, id string) (store.APIKey, error) {
	return one(ctx, db.pool, "API key "+id, scanAPIKey, apiKeyColumns+` WHERE id = $1`, id)
}

// CountAPIKeys counts the tenant's keys; see store.Directory.
func (db *DB) CountAPIKeys(ctx context.Context, tenant string, kind store.KeyKind) (int, error) {
	return one(ctx, db.pool, "count API keys", pgx.RowTo[int],
		`SELECT count(*) FROM api_keys WHERE `+ofTenant+` AND kind = $2`,
		tenant, string(kind))
}

// ListAPIKeys lists the tenant's keys, oldest first; see store.Directory.
func (db *DB) ListAPIKeys(ctx context.Context, tenant string, kind store.KeyKind, from time.Time, skip,
	limit int) ([]store.APIKey, error) {
	return collect(ctx, db.pool, "API keys", scanAPIKey, apiKeyColumns+` WHERE `+ofTenant+` AND kind = $2 AND created_at >= $3
		ORDER BY created_at, id COLLATE "C" LIMIT $4 OFFSET $5`, tenant, string(kind), from, limit, skip)
}

// deleteKey deletes a key and what was made with it, at any distance; with $3 not the API keys, nor what was made with
// those, which are nobody's then.
const deleteKey = `WITH RECURSIVE made (id) AS (SELECT id FROM api_keys WHERE ` + ofTenant + ` AND id = $2
		UNION SELECT k.id FROM api_keys AS k JOIN made ON k.maker = made.id OR k.parent = made.id WHERE NOT ($3 AND k.kind = '')),
	freed AS (UPDATE api_keys SET maker = NULL WHERE $3 AND kind = '' AND maker IN (SELECT id FROM made)
		AND id NOT IN (SELECT id FROM made))
	DELETE FROM api_keys WHERE id IN (SELECT id FROM made)`

// DeleteAPIKey removes the tenant's key; see store.Directory.
func (db *DB) DeleteAPIKey(ctx context.Context, tenant, id string, keep bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var r pgconn.CommandTag
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
		// Whoever is making a key with it just now comes first, so that the next statement sees what was made.
		if _, err = tx.Exec(ctx, `SELECT FROM api_keys WHERE id = $1 FOR UPDATE`, id); err == nil {
			r, err = tx.Exec(ctx, deleteKey, tenant, id, keep)
		}
		return err
	})
	return wrap(changed(r, notFound(err)), "delete API key "+id)
}
