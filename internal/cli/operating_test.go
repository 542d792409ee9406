package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	key, addr := strings.Repeat("k", 32), fmt.Sprintf("127.0.0.1:%d", pgtest.FreePort(t))
	a, err := app.New(t.Context(), app.Config{Listen: addr, Data: t.TempDir(), AdminKey: key,
		PublicURL: "http://" + addr, Retention: time.Hour, UndeleteTime: time.Hour, Concurrency: 32,
		StopTimeout: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		tried++
		line = strings.Replace(line, "127.0.0.1:8080", addr, 1)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
		cmd.Env = append(os.Environ(), "QHOOK_ADMIN_KEY="+key)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"id":"default"`) || !strings.Contains(string(out), `"consent":true`) {
			t.Errorf("%s printed %s, %v", line, out, err)
		}
	}
	if tried != 1 {
		t.Errorf("%d commands were tried, want 1; say here what each prints", tried)
	}
}
