package api

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestProblemsAreDescribed: each problem's address is in the page that it leads to, and no other is.
func TestProblemsAreDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, s := range strings.Split(string(page), `<a id="`)[1:] {
		id, _, _ := strings.Cut(s, `"`)
		there = append(there, id)
	}
	want := append(slices.Collect(maps.Values(statusKinds)), specialKinds...)
	slices.Sort(there)
	slices.Sort(want)
	if !slices.Equal(there, want) {
		t.Errorf("docs/api.md describes %q, want %q", there, want)
	}
}
