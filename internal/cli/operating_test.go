package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
)

// TestOperatingCommands runs the requests that docs/operating.md shows, as they stand but for the address.
func TestOperatingCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", pgtest.FreePort(t))
	started(t, app.Config{Listen: addr, PublicURL: "http://" + addr})
	tried := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		tried++
		line = strings.Replace(line, "127.0.0.1:8080", addr, 1)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
		cmd.Env = append(os.Environ(), "QHOOK_ADMIN_KEY="+strings.Repeat("k", 32))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"id":"default"`) ||
			!strings.Contains(string(out), `"consent":true`) {
			t.Errorf("%s printed %s, %v", line, out, err)
		}
	}
	if tried != 1 {
		t.Errorf("%d commands were tried, want 1; say here what each prints", tried)
	}
}
