package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
)

// TestFillWebhooks: what measurements begin with can be served, on both stores.
func TestFillWebhooks(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for _, to := range []string{data, pgtest.Shared(t).NewDatabase(t)} {
		cfg, fill := app.Config{Data: data}, app.FillWebhooksConfig{To: to, Tenants: 2, Webhooks: 5,
			URL: "https://receiver.example/", EventTypes: []string{"**"}}
		if to != data {
			cfg.Database = to
			cfg.MasterKeyset = string(must(os.ReadFile(filepath.Join(data, "master.key")))(t))
			fill.MasterKeyset = cfg.MasterKeyset
		}
		if err := app.FillWebhooks(t.Context(), fill, quiet); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		operator, stop := start(t, cfg) // which reads all webhooks
		if list, err := operator.Tenants(t.Context()); err != nil || len(list) != 3 {
			t.Errorf("%s: there are %d tenants, %v, want two and the default one", to, len(list), err)
		}
		stop()
	}
}
