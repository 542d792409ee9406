package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestChaosOnSQLite disturbs a node that is alone with its file in every way at random moments, under load: it is
// killed, stopped like a machine that is suspended, its disk fills up, its receiver gets slow; everything answered 202
// must arrive.
func TestChaosOnSQLite(t *testing.T) {
	limit := duration(t, "QHOOK_TEST_CHAOS", 8*time.Second)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=160m"); err != nil {
		t.Fatalf("a small file system is needed, and mounting one needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	n := newNode(t, filepath.Join(disk, "data"))
	r := newReceiver(t, 0)
	var slow atomic.Bool
	r.fails = func(Key, int) bool {
		if slow.Load() {
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		}
		return rand.IntN(10) == 0
	}
	n.mustStart()
	names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post",
		n.mustWebhook(t.Context(), r.URL+"/get", "GET"): "get"}
	p := &publisher{hooks: []string{"post", "get"}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = p.once(ctx, n.client(), 1+rand.IntN(8)) // noted
			pauseFor(ctx, 10*time.Millisecond)
		}
	})

	moment := func() { pauseFor(ctx, time.Duration(100+rand.IntN(900))*time.Millisecond) }
	kills := 0
	chaos := []struct {
		name string
		do   func()
	}{
		{"kill", func() { n.kill(); n.mustStart(); kills++ }},
		{"stop", func() { n.signal(syscall.SIGSTOP); moment(); n.signal(syscall.SIGCONT) }},
		{"fill the disk", func() { empty := fill(t, disk); moment(); empty() }},
		{"fill the disk and kill", func() {
			empty := fill(t, disk)
			moment()
			n.kill()
			empty()
			n.mustStart()
			kills++
		}},
		{"slow receiver", func() { slow.Store(true); moment(); slow.Store(false) }},
	}
	counts := map[string]int{}
	for began := time.Now(); time.Since(began) < limit; {
		for _, k := range rand.Perm(len(chaos)) {
			moment()
			fmt.Fprintf(&n.logs, "--- %s: %s\n", time.Now().Format("05.000"), chaos[k].name)
			chaos[k].do()
			counts[chaos[k].name]++
		}
	}
	accepted := p.count.Load()
	within(t, 15*time.Second, "events are accepted after the chaos", func() bool { return p.count.Load() > accepted })
	stop()
	wg.Wait()
	got := Check(settle(t, n, p, r, names, 2*time.Minute), kills, unsettled*len(names))
	t.Logf("%v; %d events answered 202, %d refused or with no answer; %d duplicates, %d requests on no record",
		counts, p.count.Load(), len(p.unsure), got.Duplicates, got.Unrecorded)
	report(t, got.Findings)
	n.kill()
	mustIntegrity(t, n.data)
}

// pauseFor waits, no longer than ctx.
func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fill takes all the room on the disk, until empty is called.
func fill(t *testing.T, disk string) (empty func()) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for err == nil { // what is left below a chunk is taken, too
		_, err = f.Write(chunk)
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
