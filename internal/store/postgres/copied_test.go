package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store/storetest"
)

// TestEveryColumnIsCopied: what a migration adds is not left behind by a move to another store.
func TestEveryColumnIsCopied(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	storetest.Copied(t, func(table string) []string {
		names, err := collect(t.Context(), db.pool, "columns of "+table, pgx.RowTo[string],
			`SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`, table)
		if err != nil || len(names) == 0 {
			t.Fatalf("columns of %s = %v, %v", table, names, err)
		}
		return names
	})
}

// TestRemoveTenant: see storetest.Removed.
func TestRemoveTenant(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	rows := func(table, tenant string, _ int64) (n int) {
		column := "tenant"
		if table == "tenants" {
			column = "id"
		}
		err := db.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" WHERE "+column+" = $1", tenant).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	storetest.Removed(t, db, rows)
	if n := rows("event_ids", "a", 0); n != 1 { // of the event that came after
		t.Errorf("%d IDs of events are left, want 1", n)
	}
}
