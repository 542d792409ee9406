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
