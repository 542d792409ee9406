package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsNameTests finds every test that the documentation names, as `package.TestName`, the package below internal.
func TestDocsNameTests(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(b), -1)
	if len(named) < 30 {
		t.Errorf("%d tests are named, want the table's", len(named))
	}
	for _, n := range named {
		files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(n[1]), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "\nfunc "+n[2]+"(t *testing.T)")
		}
		if !found {
			t.Errorf("docs/operating.md names %s.%s, which is not there", n[1], n[2])
		}
	}
}
