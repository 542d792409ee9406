package app

import (
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCAFile: what is in the file is trusted besides the system's, a new one is read, and a bad one changes nothing.
func TestCAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	var log strings.Builder
	tr := &trust{file: file, log: slog.New(slog.NewTextHandler(&log, nil))}
	write := func(text string, age time.Duration) {
		t.Helper()
		at := time.Now().Add(-age)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		tr.looked = time.Time{}
	}
	if err := tr.load(); err == nil {
		t.Error("load of a file that is not there = nil, want an error")
	}
	write("nothing", time.Hour)
	if err := tr.load(); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("load of a file without certificates = %v, want that it has none", err)
	}
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	write(good, 50*time.Minute)
	if err := tr.load(); err != nil {
		t.Fatal(err)
	}
	first := tr.roots()
	write("broken", 40*time.Minute)
	if tr.roots() != first || !strings.Contains(log.String(), "cannot be used") {
		t.Errorf("a broken file takes the place of a good one, or nobody is told: %s", &log)
	}
	write(good, 30*time.Minute)
	if second := tr.roots(); second == first || !second.Equal(first) {
		t.Error("a file that has changed is not read again")
	}
}
