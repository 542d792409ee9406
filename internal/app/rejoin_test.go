package app

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// An engine that is fenced is replaced once, however often and late that is said, and one that is no longer, or not
// yet, in its place is no reason to replace the one that is: two engines on one journal would lose each other's work.
func TestOneEngineIsReplacedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := webhook.LoadOrCreateKeyring(path); err != nil {
		t.Fatal(err)
	}
	keyset, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), Config{
		Listen: "127.0.0.1:0", MasterKeyset: string(keyset), AdminKey: strings.Repeat("k",
			minAdminKey), Database: pgtest.Shared(t).NewDatabase(t),
		DatabasePool: 4, Concurrency: 4, Retention: time.Hour, UndeleteTime: time.Hour, StopTimeout: 5 * time.Second,
	}, discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := a.engine.Load()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { a.rejoin(first) })
	}
	wg.Wait()
	second := a.engine.Load()
	if second == first {
		t.Error("the engine was not replaced")
	}
	a.rejoin(first)
	a.rejoin(a.newEngine())
	if a.engine.Load() != second {
		t.Error("an engine was replaced that was not fenced")
	}
	if n := a.shared.Stats().Fenced; n != 1 {
		t.Errorf("the node joined again %d times, want once", n)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}
