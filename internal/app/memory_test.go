package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGroupLimit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for path, max := range map[string]string{"": "4000\n", "a": "max\n", "a/b": "3000\n", "a/b/c": "9000\n",
		"odd": "nonsense", "none": ""} {
		if err := os.MkdirAll(filepath.Join(root, path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path, "memory.max"), []byte(max), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for of, want := range map[string]int64{
		"0::/\n": 4000, "0::/a\n": 4000, "0::/a/b\n": 3000, "0::/a/b/c\n": 3000, "0::/odd\n": 4000, "0::/none\n": 4000, "0::/missing\n": 4000,
		"12:memory:/a/b\n0::/a\n": 4000, "0::/../../a/b\n": 3000, "12:memory:/a/b\n": 0, "": 0,
	} {
		if got := groupLimit(root, of); got != want {
			t.Errorf("groupLimit(%q) = %d, want %d", of, got, want)
		}
	}
	if got := groupLimit(t.TempDir(), "0::/a\n"); got != 0 {
		t.Errorf("groupLimit without limits = %d, want 0", got)
	}
}
