package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/quantfolio/qhook/internal/store"
)

// withMigrations opens the file without a store.
func withMigrations(t *testing.T, path string, fn func(*sql.DB, *goose.Provider) error) {
	t.Helper()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, write))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err == nil {
		err = fn(db, p)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateAPIKeys: the table of API keys is made anew for the advisors' keys, and back; the others stay.
func TestMigrateAPIKeys(t *testing.T) {
	t.Parallel()
	ctx, path, ring := context.Background(), filepath.Join(t.TempDir(), "q.db"), mustRing(t)
	at := time.UnixMilli(1_700_000_000_001).UTC()
	tenant := store.Tenant{ID: "a", Name: "Firm", CreatedAt: at}
	var keys []store.APIKey
	for i, role := range []store.Role{store.Publisher, store.Viewer, store.Admin, store.Operator} {
		k := store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: role, Name: "schlüssel", Hash: [32]byte{byte(i)},
			CreatedAt: at.Add(time.Duration(i) * time.Second)}
		if role == store.Operator {
			k.Tenant = ""
		}
		keys = append(keys, k)
	}
	withMigrations(t, path, func(db *sql.DB, p *goose.Provider) error {
		if _, err := p.UpTo(ctx, 1); err != nil {
			return err
		}
		_, err := db.ExecContext(ctx, `INSERT INTO tenants (id, name, created_at) VALUES (?, ?, ?)`, tenant.ID,
			tenant.Name, at.UnixMilli())
		for _, k := range keys {
			_, e := db.ExecContext(ctx,
				`INSERT INTO api_keys (id, tenant, role, name, hash, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
				k.ID, orNull(k.Tenant), string(k.Role), k.Name, k.Hash[:], k.CreatedAt.UnixMilli())
			err = errors.Join(err, e)
		}
		return err
	})
	wantKeys := func(db *DB, extra ...store.APIKey) {
		t.Helper()
		a, err := db.ListAPIKeys(ctx, "a", store.KindAPIKey, time.Time{}, 0, 100)
		operator, err2 := db.ListAPIKeys(ctx, "", store.KindAPIKey, time.Time{}, 0, 100)
		if want := append(keys[:3:3], extra...); err != nil || !reflect.DeepEqual(a, want) {
			t.Errorf("ListAPIKeys(a) = %+v, %v, want %+v, nil", a, err, want)
		}
		used := keys[3]
		used.UsedAt = used.CreatedAt
		if err2 != nil || !reflect.DeepEqual(operator, []store.APIKey{used}) {
			t.Errorf("ListAPIKeys() = %+v, %v, want %+v, nil", operator, err2, used)
		}
	}
	db := mustOpen(t, path, ring)
	wantKeys(db)
	if err := db.CreateAPIKey(ctx, keys[1]); !errors.Is(err, store.ErrExists) {
		t.Errorf("CreateAPIKey with a used hash = %v, want ErrExists", err)
	}
	a := &store.Advisor{Object: store.Object{Tenant: "a", ID: uuid.NewString(), Version: 1, CreatedAt: at,
		UpdatedAt: at}}
	s := &store.Submission{Tenant: "a", Change: &store.Change{Advisor: a}}
	if err := db.Commit(ctx, &store.Batch{Submissions: []*store.Submission{s}}); err != nil || s.Err != nil {
		t.Fatalf("Commit = %v, %v, want nil, nil", err, s.Err)
	}
	own := store.APIKey{ID: uuid.NewString(), Tenant: "a", Role: store.AdvisorRole, Advisor: a.ID, Hash: [32]byte{9},
		CreatedAt: at.Add(time.Hour)}
	if err := db.CreateAPIKey(ctx, own); err != nil {
		t.Fatalf("CreateAPIKey = %v, want nil", err)
	}
	wantKeys(db, own)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// Down drops what version 1 does not know; its schema is then as it was made.
	schema := func(path string) (list []string) {
		withMigrations(t, path, func(db *sql.DB, p *goose.Provider) error {
			if _, err := p.UpTo(ctx, 1); err != nil {
				return err
			}
			if _, err := p.DownTo(ctx, 1); err != nil {
				return err
			}
			rows, err := db.QueryContext(ctx, `SELECT m.name || ' ' || coalesce(group_concat(c.name || c.type || c."notnull"), '')
				FROM sqlite_schema AS m LEFT JOIN pragma_table_info(m.name) AS c GROUP BY m.name ORDER BY m.name`)
			return each(rows, err, func() error {
				var s string
				err := rows.Scan(&s)
				list = append(list, s)
				return err
			})
		})
		return list
	}
	if got, want := schema(path), schema(filepath.Join(t.TempDir(), "new.db")); !reflect.DeepEqual(got, want) {
		t.Errorf("the schema after Down = %q, want %q", got, want)
	}
	wantKeys(mustOpen(t, path, ring))
}
