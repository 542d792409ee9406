package arch

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/quantfolio/qhook/"

// house is the packages from the door down: each may import only those below it.
var house = []string{
	"internal/arch", "internal/crashtest", "internal/pgtest",
	"cmd/qhook", "internal/cli", "internal/bench", "internal/demo", "internal/inbox", "qhooktest", "internal/app", "internal/server", "internal/ui", "internal/api", "internal/advisory",
	"internal/engine", "internal/attempt", "internal/pgserver", "internal/live", "internal/relay", "outbox", "client", "internal/receivers", "internal/netguard",
	"internal/store/storetest", "internal/store/sqlite", "internal/store/postgres", "internal/pgsession", "internal/store", "internal/webhook",
	"internal/event", "internal/failpoint", "internal/budget", "internal/inert", "signature",
}

type pkg struct {
	ImportPath, Dir                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		at := slices.Index(house, name)
		if at < 0 {
			t.Errorf("package %s is not in the house; give it its place", name)
			continue
		}
		for _, imp := range p.Imports {
			below, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if slices.Index(house, below) <= at {
				t.Errorf("%s imports %s, which is not below it", name, below)
			}
			if strings.HasPrefix(below, "internal/store/") && below != "internal/store/storetest" &&
				name != "internal/app" {
				t.Errorf("%s imports a concrete store; only internal/app does", name)
			}
		}
	}
}

func TestReceiversImportOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range packages(t, "-deps", "./signature") {
		first, _, _ := strings.Cut(p.ImportPath, "/")
		if strings.Contains(first, ".") && p.ImportPath != module+"signature" {
			t.Errorf("signature pulls in %s", p.ImportPath)
		}
	}
}

func TestEveryPackageSaysItsJob(t *testing.T) {
	for _, p := range packages(t, "./...") {
		if !slices.ContainsFunc(p.GoFiles, func(f string) bool {
			a, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil,
				parser.ParseComments|parser.PackageClauseOnly)
			return err == nil && a.Doc != nil
		}) {
			t.Errorf("package %s has no comment that says its job", p.ImportPath)
		}
	}
}
