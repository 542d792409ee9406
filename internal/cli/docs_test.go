package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
)

var update = flag.Bool("update", false, "write the generated documents")

// TestReadmeWalkThrough runs the README's commands as they stand, but for the ports and the way the program is started.
func TestReadmeWalkThrough(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(readme), "## Walk-through")
	if !ok {
		t.Fatal("the README has no walk-through")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "qhook")
	if out, err := exec.Command("go", "build", "-o", binary,
		"github.com/quantfolio/qhook/cmd/qhook").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	api, hook := fmt.Sprint(pgtest.FreePort(t)), fmt.Sprint(pgtest.FreePort(t))
	script := "set -e\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
	wait := fmt.Sprintf("for i in $(seq 100); do curl -fs http://127.0.0.1:%s/readyz >/dev/null && break; sleep 0.1; done\n", api)
	wait += fmt.Sprintf("for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/%s) 2>/dev/null && break; sleep 0.1; done\n", hook)
	settled := fmt.Sprintf("for i in $(seq 100); do curl -s 'http://127.0.0.1:%s/v1/deliveries?status=waiting' "+
		"-H \"Authorization: Bearer $QHOOK_ADMIN_KEY\" | grep -q '\"items\":\\[\\]' && break; sleep 0.1; done\n", api)
	for i, block := range strings.Split(walk, "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		script += commands + "echo\n"
		if i == 0 {
			script += wait
		} else { // a person's pace: the delivery is on record by then
			script += settled
		}
	}
	script = strings.NewReplacer("go run ./cmd/qhook serve", binary+" serve --listen 127.0.0.1:"+api,
		"go run ./cmd/qhook", binary,
		"127.0.0.1:8080", "127.0.0.1:"+api, "--port 9000", "--port "+hook, "127.0.0.1:9000", "127.0.0.1:"+hook).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the walk-through failed: %v\n%s", err, out)
	}
	for _, want := range []string{`"signing_key":"whsec_`, `"deliveries":1`, `"investor_name": "John Doe"`,
		`"status":"delivered","attempt_count":1`,
		`"status":"waiting"`, "#1 qap.investor.created", "#2 qap.investor.created"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the walk-through printed no %s:\n%s", want, out)
		}
	}
}

// TestConfigurationTable keeps docs/configuration.md what serve has.
func TestConfigurationTable(t *testing.T) {
	t.Parallel()
	var c struct {
		app.Config `embed:""`
	}
	k, err := kong.New(&c, kong.Name("qhook"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Configuration\n\nThe settings of `qhook serve`. Flags go before the environment. An unknown flag or `QHOOK_` variable is an error.\n\n" +
		"| flag | environment | default | |\n| --- | --- | --- | --- |\n")
	for _, f := range k.Model.Flags {
		if f.Name == "help" {
			continue
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", f.Name,
			"QHOOK_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), f.Default, f.Help)
	}
	path := filepath.Join("..", "..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not what serve has (%v); run: go test ./internal/cli -run ConfigurationTable -update",
			path, err)
	}
}

// TestPromisesNameTheirTests: each test that docs/security.md and docs/wire.md name is there.
func TestPromisesNameTheirTests(t *testing.T) {
	t.Parallel()
	var doc []byte
	for _, name := range []string{"security.md", "wire.md"} {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		doc = append(doc, page...)
	}
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func Test[A-Za-z0-9_]+\(`,
		filepath.Join("..", "..")).Output()
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(names) < 50 {
		t.Fatalf("the docs name %d tests, want at least 50", len(names))
	}
	for _, m := range names {
		if !strings.Contains(string(out), "func "+m[1]+"(") {
			t.Errorf("docs/security.md or docs/wire.md names %s, which is not there", m[1])
		}
	}
}
