package crashtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestBackupUnderLoad makes a backup with another process while a node serves as fast as it can, restores it, and
// starts a node on it: what was accepted before the backup began is there, and what was not settled then is sent.
func TestBackupUnderLoad(t *testing.T) {
	r := newReceiver(t, 0.1)
	n := newNode(t, t.TempDir())
	n.mustStart()
	names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post"}
	p := &publisher{hooks: []string{"post"}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	load, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { p.run(load, n.client()) })
	}
	for p.count.Load() < 2000 && ctx.Err() == nil {
		pause(ctx)
	}
	before, began, file := p.count.Load(), time.Now(), filepath.Join(t.TempDir(), "b.db")
	out, err := exec.CommandContext(ctx, binary, "backup", "--data", n.data, "--to", file).CombinedOutput()
	if err != nil {
		t.Fatalf("backup beside a server = %v: %s", err, out)
	}
	after := p.count.Load()
	t.Logf("%d events accepted during %v: %s", after-before, time.Since(began), out)
	stop()
	wg.Wait()
	for _, f := range Check(settle(t, n, p, r, names, time.Minute), 0, 0).Findings {
		t.Error(f)
	}
	n.kill()

	data := t.TempDir()
	key, err := os.ReadFile(filepath.Join(n.data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.CommandContext(ctx, binary, "restore", "--from", file, "--data", data).CombinedOutput()
	if err != nil {
		t.Fatalf("restore = %v: %s", err, out)
	}
	t.Logf("%s", out)
	number := func(of string) int64 {
		m := regexp.MustCompile(`(\d+) ` + of).FindSubmatch(out)
		if m == nil {
			t.Fatalf("restore says %q, want the number of %s", out, of)
		}
		i, _ := strconv.ParseInt(string(m[1]), 10, 64)
		return i
	}
	if got := number("events"); got < before || got > after+100 {
		t.Errorf("the backup has %d events, want between %d and %d", got, before, after)
	}
	again := newNode(t, data)
	seen := r.all()
	again.mustStart()
	for ctx.Err() == nil && r.all()-seen < int(number("deliveries")) {
		pause(ctx)
	}
	if got := r.all() - seen; got < int(number("deliveries")) {
		t.Errorf("after the restore %d requests were made, want at least %d", got, number("deliveries"))
	}
}

// all is how many requests arrived.
func (r *receiver) all() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.requests {
		n += i
	}
	return n
}
