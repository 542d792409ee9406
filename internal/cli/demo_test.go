package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/pgtest"
)

// TestDemoOnPostgres plays the whole demo on the other store.
func TestDemoOnPostgres(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	url := pgtest.Shared(t).NewDatabase(t)
	if code := Run(t.Context(), []string{"demo", "--exit", "--database", url}, nil, strings.NewReader(""), &out,
		&errs); code != 0 {
		t.Errorf("demo --database = %d, want 0\n%s%s", code, out.String(), errs.String())
	}
}
