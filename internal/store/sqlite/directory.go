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

var tenantColumns = store.TenantFields.Names()

// CreateTenant writes t; see store.Directory.
func (db *DB) CreateTenant(ctx context.Context, t store.Tenant) error {
	return db.change(ctx, "create tenant "+t.ID, func(tx *sql.Tx) error {
		query, args := store.TenantFields.Insert("tenants", &t, placeholder, unixMilli)
		_, err := tx.ExecContext(ctx, query, args...)
		return constraint(err)
	})
}

// UpdateTenant changes t; see store.Directory.
func (db *DB) UpdateTenant(ctx context.Context, t store.Tenant) error {
	return db.change(ctx, "change tenant "+t.ID, func(tx *sql.Tx) error {
		query, args := store.TenantFields.Update("tenants", &t, placeholder, unixMilli)
		r, err := tx.ExecContext(ctx, query+` WHERE id = ?`, append(args, t.ID)...)
		return found(r, err)
	})
}

// TenantByID finds a tenant; see store.Directory.
func (db *DB) TenantByID(ctx context.Context, id string) (store.Tenant, error) {
	var t store.Tenant
	err := db.rdb.QueryRowContext(ctx, `SELECT `+tenantColumns+` FROM tenants WHERE id = ?`, id).
		Scan(store.TenantFields.Targets(&t, readMillis)...)
	if err != nil {
		return store.Tenant{}, wrap(notFound(err), "tenant "+id)
	}
	return t, nil
}

// ListTenants lists all tenants by ID; see store.Directory.
func (db *DB) ListTenants(ctx context.Context) (list []store.Tenant, _ error) {
	rows, err := db.rdb.QueryContext(ctx, `SELECT `+tenantColumns+` FROM tenants ORDER BY id`)
	err = each(rows, err, func() error {
		var t store.Tenant
		err := rows.Scan(store.TenantFields.Targets(&t, readMillis)...)
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
		if _, err := tx.ExecContext(ctx, `DELETE FROM api_keys WHERE expires_at <= ?`,
			k.CreatedAt.UnixMilli()); err != nil {
			return err
		}
		expires, ends := store.KeyEnds(&k)
		r, err := tx.ExecContext(ctx, `INSERT INTO api_keys (id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook,
				expires_at, signed_in_for, ends_at, maker, networks)
			SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?14, ? WHERE ?14 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE id = ?14)`,
			k.ID, orNull(k.Tenant), string(k.Role), orNull(k.Advisor), k.Name, k.Hash[:], k.CreatedAt.UnixMilli(),
			string(k.Kind), orNull(k.Parent), k.Webhook, orNullTime(expires), k.SignedInFor.Milliseconds(), orNullTime(ends),
			orNull(k.Maker), k.Networks)
		return found(r, constraint(err))
	})
}

// found is ErrNotFound where a statement changed nothing.
func found(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

const apiKeyColumns = `SELECT id, tenant, role, advisor, name, hash, created_at, kind, parent, webhook, expires_at, signed_in_for,
	ends_at, maker, networks, used_at, used_from FROM api_keys`

func scanAPIKey(scan func(...any) error) (store.APIKey, error) {
	var k store.APIKey
	var tenant, advisor, parent, maker sql.NullString
	var hash []byte
	var createdAt, signedInFor int64
	var expiresAt, endsAt, usedAt sql.NullInt64
	if err := scan(&k.ID, &tenant, &k.Role, &advisor, &k.Name, &hash, &createdAt, &k.Kind, &parent, &k.Webhook,
		&expiresAt, &signedInFor,
		&endsAt, &maker, &k.Networks, &usedAt, &k.UsedFrom); err != nil {
		return store.APIKey{}, err
	}
	k.Tenant, k.Advisor, k.Parent, k.CreatedAt = tenant.String, advisor.String, parent.String, millis(createdAt)
	k.Maker, k.UsedAt, k.SignedInFor = maker.String, orZero(usedAt), time.Duration(signedInFor)*time.Millisecond
	store.SetKeyEnds(&k, orZero(expiresAt), orZero(endsAt))
	copy(k.Hash[:], hash)
	return k, nil
}

// APIKeyByHash finds a key; see store.Directory.
func (db *DB) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	k, err := scanAPIKey(db.rdb.QueryRowContext(ctx, apiKeyColumns+` WHERE hash = ?`, hash[:]).Scan)
	return k, wrap(notFound(err), "API key by hash")
}

// APIKeyByID finds a key; see store.Directory.
func (db *DB) APIKeyByID(ctx context.Context, id string) (store.APIKey, error) {
	k, err := scanAPIKey(db.rdb.QueryRowContext(ctx, apiKeyColumns+` WHERE id = ?`, id).Scan)
	return k, wrap(notFound(err), "API key "+id)
}

// CountAPIKeys counts the tenant's keys; see store.Directory.
func (db *DB) CountAPIKeys(ctx context.Context, tenant string, kind store.KeyKind) (n int, _ error) {
	err := db.rdb.QueryRowContext(ctx, `SELECT count(*) FROM api_keys WHERE tenant IS ? AND kind = ?`, orNull(tenant),
		string(kind)).Scan(&n)
	return n, wrap(err, "count API keys")
}

// ListAPIKeys lists the tenant's keys, oldest first; see store.Directory.
func (db *DB) ListAPIKeys(ctx context.Context, tenant string, kind store.KeyKind, from time.Time, skip,
	limit int) (list []store.APIKey, _ error) {
	rows, err := db.rdb.QueryContext(ctx, apiKeyColumns+` WHERE tenant IS ? AND kind = ? AND created_at >= ?
		ORDER BY created_at, id LIMIT ? OFFSET ?`, orNull(tenant), string(kind), from.UnixMilli(), limit, skip)
	err = each(rows, err, func() error {
		k, err := scanAPIKey(rows.Scan)
		list = append(list, k)
		return err
	})
	return list, wrap(err, "API keys")
}

// UpdateAPIKey writes what may be changed of a key; see store.Directory.
func (db *DB) UpdateAPIKey(ctx context.Context, k store.APIKey) error {
	return db.change(ctx, "change API key "+k.ID, func(tx *sql.Tx) error {
		_, ends := store.KeyEnds(&k)
		return found(tx.ExecContext(ctx,
			`UPDATE api_keys SET name = ?, networks = ?, ends_at = ? WHERE id = ? AND tenant IS ?`,
			k.Name, k.Networks, orNullTime(ends), k.ID, orNull(k.Tenant)))
	})
}

// UseAPIKeys writes when keys were last used; see store.Directory.
func (db *DB) UseAPIKeys(ctx context.Context, list []store.KeyUse) error {
	return db.change(ctx, "write when API keys were used", func(tx *sql.Tx) error {
		for _, u := range list {
			if _, err := tx.ExecContext(ctx, `UPDATE api_keys SET used_at = ?, used_from = ? WHERE id = ?`,
				u.At.UnixMilli(), u.From,
				u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// What was made with a key, at any distance; with ?2 not the API keys, nor what was made with those.
	madeWith = `WITH RECURSIVE made (id) AS (SELECT ?1 UNION SELECT k.id FROM api_keys AS k JOIN made
			ON k.maker = made.id OR k.parent = made.id WHERE NOT (?2 AND k.kind = '')) `

	deleteMade = madeWith + `DELETE FROM api_keys WHERE id IN (SELECT id FROM made) AND id <> ?1`
	freeMade   = `UPDATE api_keys SET maker = NULL WHERE maker IS NOT NULL AND maker NOT IN (SELECT id FROM api_keys)`
)

// DeleteAPIKey removes the tenant's key; see store.Directory.
func (db *DB) DeleteAPIKey(ctx context.Context, tenant, id string, keep bool) error {
	return db.change(ctx, "delete API key "+id, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, deleteMade, id, keep); err != nil {
			return err
		}
		if err := found(tx.ExecContext(ctx, `DELETE FROM api_keys WHERE id = ? AND tenant IS ?`, id,
			orNull(tenant))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, freeMade)
		return err
	})
}
