package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/quantfolio/qhook/internal/store/storetest"
)

// TestEveryColumnIsCopied: what a migration adds is not left behind by a move to another store.
func TestEveryColumnIsCopied(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	storetest.Copied(t, func(table string) (names []string) {
		rows, err := db.rdb.QueryContext(t.Context(), `SELECT name FROM pragma_table_info(?)`, table)
		err = each(rows, err, func() error {
			var name string
			err := rows.Scan(&name)
			names = append(names, name)
			return err
		})
		if err != nil || len(names) == 0 {
			t.Fatalf("columns of %s = %v, %v", table, names, err)
		}
		return names
	})
}

// TestRemoveTenant: see storetest.Removed.
func TestRemoveTenant(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	storetest.Removed(t, db, func(table, tenant string, hook int64) (n int) {
		where := map[string]string{"outcomes": "webhook = ?2", "waiting": "webhook = ?2", "tenants": "id = ?1"}[table]
		if where == "" {
			where = "tenant = ?1"
		}
		err := db.rdb.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table+" WHERE "+where, tenant, hook).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	})
}
