package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quantfolio/qhook/internal/failpoint"
)

// edit replaces a text in a file of the module, for one build.
type edit struct{ file, old, new string }

// small has the engine keep little in memory, so that what needs a long backlog otherwise happens at once: deliveries
// are spilled, and late ones get their waiting rows.
var small = []edit{
	{"internal/engine/engine.go", "c.QueueLength = 8192", "c.QueueLength = 24"},
	{"internal/engine/engine.go", "c.LateAfter = 10 * time.Second", "c.LateAfter = 300 * time.Millisecond"},
}

// markBug is a mistake that was made once: the mark takes a delivery that was handed over for committed, although its
// row may come after the batch that carries the mark.
var markBug = edit{"internal/engine/ledger.go", "if o.open > o.settling {", `if func() bool {
			for _, d := range o.deliveries {
				if d.owed != nil && d.place == inMemory {
					return true
				}
			}
			return false
		}() {`}

// built has the programs that were built with edits, by these.
var built struct {
	sync.Mutex
	programs map[string]string
}

// buildWith builds the program with failpoints and the edits, of which the source keeps nothing.
func buildWith(t *testing.T, edits ...edit) (program string) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if program = built.programs[fmt.Sprint(edits)]; program != "" {
		return program
	}
	dir, err := os.MkdirTemp(filepath.Dir(binary), "built")
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string]string{}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for _, e := range edits {
		path, err := filepath.Abs(filepath.Join("..", "..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := changed[path]; !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed[path] = string(b)
		}
		if n := strings.Count(changed[path], e.old); n != 1 {
			t.Fatalf("%s has %q %d times, want once: the edit needs the place where this is decided now", e.file,
				e.old, n)
		}
		changed[path] = strings.Replace(changed[path], e.old, e.new, 1)
		overlay.Replace[path] = filepath.Join(dir, filepath.Base(path))
		mustWrite(t, overlay.Replace[path], []byte(changed[path]))
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	mustWrite(t, list, b)
	program = filepath.Join(dir, "qhook")
	build := exec.Command("go", "build", "-tags", "failpoints", "-overlay", list, "-o", program,
		"github.com/quantfolio/qhook/cmd/qhook")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with failpoints: %v\n%s", err, out)
	}
	if built.programs == nil {
		built.programs = map[string]string{}
	}
	built.programs[fmt.Sprint(edits)] = program
	return program
}

func mustWrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFailpointsAreNotShipped looks for what failpoints leave in a program: nothing in the shipped one.
func TestFailpointsAreNotShipped(t *testing.T) {
	for _, c := range []struct {
		name, program string
		want          bool
	}{{"the shipped program", binary, false}, {"the program with failpoints", buildWith(t), true}} {
		b, err := os.ReadFile(c.program)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range failpoint.Points() {
			if got := bytes.Contains(b, []byte(p)); got != c.want {
				t.Errorf("%s has the name of the point %s: %t, want %t", c.name, p, got, c.want)
			}
		}
		if got := bytes.Contains(b, []byte(failpoint.Setting)); got != c.want {
			t.Errorf("%s has the name of the setting: %t, want %t", c.name, got, c.want)
		}
	}
}
