package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
)

// TestAPICommands runs what docs/api.md shows, in its order and in one shell, and looks for what it says of each
// answer.
func TestAPICommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", pgtest.FreePort(t))
	started(t, app.Config{Listen: addr, PublicURL: "http://" + addr})
	script, said := strings.Builder{}, []string{}
	script.WriteString("set -euo pipefail\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.Replace(line, "127.0.0.1:8080", addr, 1)
			command, want, answers := strings.Cut(strings.TrimSuffix(line, "\n"), "   # ")
			script.WriteString(command + "\n")
			if answers && strings.HasPrefix(command, "call ") {
				said = append(said, command+"\n"+want)
				script.WriteString("printf '\\n---\\n'\n")
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Env = append(os.Environ(), "QHOOK_KEY="+strings.Repeat("k", 32))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the commands: %v\n%s", err, out)
	}
	answers := strings.Split(string(out), "\n---\n")
	if len(answers) != len(said)+1 || len(said) < 20 {
		t.Fatalf("%d answers to %d commands", len(answers)-1, len(said))
	}
	for i, s := range said {
		if command, want, _ := strings.Cut(s, "\n"); !strings.Contains(answers[i], want) {
			t.Errorf("%s\nprints %s\nwant it to have %s", command, answers[i], want)
		}
	}
}
