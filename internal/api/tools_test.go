package api

import (
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestToolsTakeTheDocument has the tools that integrators use read the OpenAPI document, without a finding, and runs a
// client that was made from it.
func TestToolsTakeTheDocument(t *testing.T) {
	t.Parallel()
	tools, err := filepath.Abs(filepath.Join("testdata", "tools"))
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(tools, "node_modules")
	if _, err := os.Stat(modules); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no %s", modules)
		}
		t.Skipf("SKIPPED: there is no %s; run make test-tools", modules)
	}
	r := newRig(t)
	s := httptest.NewServer(r.h)
	defer s.Close()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		if name != "node" {
			name = filepath.Join(modules, ".bin", name)
		}
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "QHOOK_URL="+s.URL, "QHOOK_KEY="+r.keys[admin], "REDOCLY_TELEMETRY=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	use, err1 := os.ReadFile(filepath.Join(tools, "use.ts"))
	err2 := errors.Join(os.WriteFile(filepath.Join(dir, "openapi.json"),
		[]byte(r.must(200, "", "GET", "/openapi.json", "").body), 0o600),
		os.WriteFile(filepath.Join(dir, "use.ts"), use, 0o600), os.Symlink(modules, filepath.Join(dir, "node_modules")),
		os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o600))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if out := run("redocly", "lint", "--config", filepath.Join(tools, "redocly.yaml"),
		"openapi.json"); strings.Contains(out, "warning.") {
		t.Errorf("redocly lint warns:\n%s", out)
	}
	run("node", "--input-type=module", "-e",
		`import P from "@apidevtools/swagger-parser"; await P.validate("openapi.json")`)
	run("openapi-typescript", "openapi.json", "-o", "api.d.ts")
	run("tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "use.ts")
	if out := run("node", "use.js"); strings.TrimSpace(out) != "used" {
		t.Errorf("the client that was made from the document prints %q, want used", out)
	}
}
