package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// notFound turns "no row" into the store's error.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// constraint turns a broken rule into the store's error: taken, or a reference to what does not exist.
func constraint(err error) error {
	switch {
	case isTaken(err):
		return fmt.Errorf("%w: %w", store.ErrExists, err)
	case isOrphan(err):
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}

// CreateTenant writes t; see store.Directory.
func (db *DB) CreateTenant(ctx context.Context, t store.Tenant) error {
	return db.change(ctx, "create tenant "+t.ID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tenants (id, name, created_at) VALUES (?, ?, ?)`,
			t.ID, t.Name, t.CreatedAt.UnixMilli())
		return constraint(err)
	})
}

// TenantByID finds a tenant; see store.Directory.
func (db *DB) TenantByID(ctx context.Context, id string) (store.Tenant, error) {
	t := store.Tenant{ID: id}
	var createdAt int64
	err := db.rdb.QueryRowContext(ctx, `SELECT name, created_at FROM tenants WHERE id = ?`, id).Scan(&t.Name, &createdAt)
	if err != nil {
		return store.Tenant{}, wrap(notFound(err), "tenant "+id)
	}
	t.CreatedAt = millis(createdAt)
	return t, nil
}

// ListTenants lists all tenants by ID; see store.Directory.
func (db *DB) ListTenants(ctx context.Context) (list []store.Tenant, _ error) {
	rows, err := db.rdb.QueryContext(ctx, `SELECT id, name, created_at FROM tenants ORDER BY id`)
	err = each(rows, err, func() error {
		var t store.Tenant
		var createdAt int64
		err := rows.Scan(&t.ID, &t.Name, &createdAt)
		t.CreatedAt = millis(createdAt)
		list = append(list, t)
		return err
	})
	return list, wrap(err, "tenants")
}

// orNull is a column of an API key: NULL where it names nothing, as the tenant of the operator's.
func orNull(name string) sql.NullString { return sql.NullString{String: name, Valid: name != ""} }

// orNullTime is a time in Unix milliseconds, NULL for none.
func orNullTime(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// CreateAPIKey writes k; see store.Directory.
func (db *DB) CreateAPIKey(ctx context.Context, k store.APIKey) error {
	return db.change(ctx, "create API key "+k.ID, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM api_keys WHERE expires_at <= ?`, k.CreatedAt.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO api_keys (id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook, expires_at, signed_in_for)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, orNull(k.Tenant), string(k.Role), orNull(k.Advisor), k.Name, k.Hash[:], k.CreatedAt.UnixMilli(),
			string(k.Kind), orNull(k.Parent), k.Webhook, orNullTime(k.ExpiresAt), k.SignedInFor.Milliseconds())
		return constraint(err)
	})
}

const apiKeyColumns = `SELECT id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook, expires_at, signed_in_for FROM api_keys`

func scanAPIKey(scan func(...any) error) (store.APIKey, error) {
	var k store.APIKey
	var tenant, advisor, parent sql.NullString
	var hash []byte
	var createdAt, signedInFor int64
	var expiresAt sql.NullInt64
	if err := scan(&k.ID, &tenant, &k.Role, &advisor, &k.Name, &hash, &createdAt, &k.Kind, &parent, &k.Webhook, &expiresAt, &signedInFor); err != nil {
		return store.APIKey{}, err
	}
	k.Tenant, k.Advisor, k.Parent, k.CreatedAt = tenant.String, advisor.String, parent.String, millis(createdAt)
	k.ExpiresAt, k.SignedInFor = orZero(expiresAt), time.Duration(signedInFor)*time.Millisecond
	copy(k.Hash[:], hash)
	return k, nil
}

// APIKeyByHash finds a key; see store.Directory.
func (db *DB) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	k, err := scanAPIKey(db.rdb.QueryRowContext(ctx, apiKeyColumns+` WHERE hash = ?`, hash[:]).Scan)
	return k, wrap(notFound(err), "API key by hash")
}

// ListAPIKeys lists the tenant's keys, oldest first; see store.Directory.
func (db *DB) ListAPIKeys(ctx context.Context, tenant string) (list []store.APIKey, _ error) {
	rows, err := db.rdb.QueryContext(ctx, apiKeyColumns+` WHERE tenant IS ? AND kind = '' ORDER BY created_at, id`, orNull(tenant))
	err = each(rows, err, func() error {
		k, err := scanAPIKey(rows.Scan)
		list = append(list, k)
		return err
	})
	return list, wrap(err, "API keys")
}

// DeleteAPIKey removes the tenant's key; see store.Directory.
func (db *DB) DeleteAPIKey(ctx context.Context, tenant, id string) error {
	return db.change(ctx, "delete API key "+id, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM api_keys WHERE id = ? AND tenant IS ?`, id, orNull(tenant))
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err
	})
}
