package storetest

import (
	"slices"
	"testing"

	"github.com/quantfolio/qhook/internal/store"
)

// notCopied are the columns of tables that are copied which are not, for a reason.
var notCopied = map[string][]string{
	"api_keys": {"kind", "parent", "webhook", "expires_at",
		"signed_in_for"}, // of links and sign-ins, which end with the move
	"events":   {"packed", "slot", "id_given"}, // how a store keeps, numbers and finds them
	"rollups":  {"slot", "part"},               // whose part of a row it is; parts are added up
	"webhooks": {"changed"},                    // how nodes hear of changes
}

// Copied checks that a copy takes along every column that a store's tables have: one that a migration adds, too.
// columns lists those of a table.
func Copied(t *testing.T, columns func(table string) []string) {
	for _, table := range store.Tables {
		if table.Name == "waiting" {
			continue // a view of what each store keeps in its own way
		}
		for _, name := range columns(table.Name) {
			if table.Index(name) < 0 && !slices.Contains(notCopied[table.Name], name) {
				t.Errorf("column %s of %s is not copied", name, table.Name)
			}
		}
	}
}
