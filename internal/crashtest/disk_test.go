package crashtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the database the way any other program would

	"github.com/quantfolio/qhook/client"
)

// mustIntegrity checks the database file of a node that has ended.
func mustIntegrity(t *testing.T, data string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "qhook.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&got); err != nil || got != "ok" {
		t.Fatalf("integrity_check = %q, %v, want ok", got, err)
	}
}

// TestDiskFull fills a small file system: publishing answers 507, nothing accepted is lost, and when there is room
// again it goes on without a restart.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatalf("a small file system is needed, and mounting one needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })

	r := newReceiver(t, 0)
	n := newNode(t, filepath.Join(disk, "data"))
	n.mustStart()
	names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post"}
	p := &publisher{hooks: []string{"post"}}

	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err := publishUntilError(t, p, n)
	if !client.IsStatus(err, http.StatusInsufficientStorage) {
		t.Fatalf("publishing on a full disk: %v, want status 507", err)
	}
	// What was accepted can be listed at once.
	if _, err := n.client().Events(t.Context(), client.EventQuery{Limit: 10}); err != nil {
		t.Errorf("listing on a full disk: %v, want no error", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for p.once(ctx, n.client(), 1) != nil {
		if ctx.Err() != nil {
			t.Fatal("publishing did not recover within 20 s after there was room again")
		}
		pause(ctx)
	}
	l := settle(t, n, p, r, names, time.Minute)
	report := Check(l, 0, 0)
	t.Logf("%d events accepted before and after the disk was full; %d refused", p.count.Load(), len(p.unsure))
	for _, f := range report.Findings {
		t.Error(f)
	}
	n.kill()
	mustIntegrity(t, n.data)
}

func publishUntilError(t *testing.T, p *publisher, n *node) error {
	t.Helper()
	for range 2000 {
		if err := p.once(t.Context(), n.client(), 100); err != nil {
			return err
		}
	}
	return errors.New("200,000 events were accepted and the disk is not full")
}

// TestFaultKillAtWrite kills the node at its n-th write to the disk, for many n.
func TestFaultKillAtWrite(t *testing.T) {
	runs := fromEnv(t, "QHOOK_TEST_FAULTS", 6)
	for i := range runs {
		nth := 1 + i
		if runs < 200 {
			nth = 1 + i*200/runs
		}
		t.Run(strconv.Itoa(nth), func(t *testing.T) {
			underFault(t, "pwrite64:signal=KILL:when="+strconv.Itoa(nth), true)
		})
	}
}

// TestFaultSync fails one fsync: the process ends, and no event is answered 202 after it.
func TestFaultSync(t *testing.T) {
	for _, nth := range []int{20, 40} {
		t.Run(strconv.Itoa(nth), func(t *testing.T) {
			underFault(t, "fsync,fdatasync:error=EIO:when="+strconv.Itoa(nth), true)
		})
	}
}

// TestFaultWrite fails one write as a broken disk does: the process ends.
func TestFaultWrite(t *testing.T) { underFault(t, "pwrite64:error=EIO:when=300", true) }

// TestFaultNoSpace lets every write from the n-th on fail for want of room, of whatever kind.
func TestFaultNoSpace(t *testing.T) {
	for _, why := range []string{"ENOSPC", "EDQUOT", "EFBIG", "EROFS"} {
		for _, nth := range []int{150, 300} {
			t.Run(why+strconv.Itoa(nth), func(t *testing.T) {
				underFault(t, "pwrite64:error="+why+":when="+strconv.Itoa(nth)+"+", false)
			})
		}
	}
}

// TestFaultNoRoomForAWhile: what has no room for a while is a 507, and goes on without a restart, whether the last
// write that fails is the database's or the one that looks at the disk after it.
func TestFaultNoRoomForAWhile(t *testing.T) {
	for _, why := range []string{"EDQUOT", "EROFS"} {
		for _, last := range []int{440, 441} {
			t.Run(why+strconv.Itoa(last), func(t *testing.T) {
				r := newReceiver(t, 0)
				n := newNode(t, t.TempDir())
				n.wrap = []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=pwrite64",
					"-e", fmt.Sprintf("inject=pwrite64:error=%s:when=400..%d", why, last)}
				n.mustStart()
				names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post"}
				p := &publisher{hooks: []string{"post"}}
				if err := publishUntilError(t, p, n); !client.IsStatus(err, http.StatusInsufficientStorage) {
					t.Fatalf("publishing without room: %v, want status 507", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for p.once(ctx, n.client(), 1) != nil {
					if ctx.Err() != nil {
						t.Fatal("publishing did not recover within 30 s")
					}
					pause(ctx)
				}
				for _, f := range Check(settle(t, n, p, r, names, time.Minute), 0, 0).Findings {
					t.Error(f)
				}
				n.kill()
				mustIntegrity(t, n.data)
			})
		}
	}
}

// TestFaultHangingSync: while a flush hangs, health says within a second that nothing can be accepted, and a stop ends
// within its bound.
func TestFaultHangingSync(t *testing.T) {
	n := newNode(t, t.TempDir())
	n.more = []string{"--stop-timeout", "1s"}
	n.wrap = []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
		"-e", "inject=fdatasync:delay_enter=60000000:when=60+"}
	n.mustStart()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for p := (&publisher{}); ; {
		once, end := context.WithTimeout(ctx, 2*time.Second)
		err := p.once(once, n.client(), 1)
		if end(); err != nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no flush hangs")
		}
	}
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK} {
		began := time.Now()
		resp, err := http.Get("http://" + n.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != want || took > 1500*time.Millisecond {
			t.Errorf("%s = %d after %v, want %d within a second", path, resp.StatusCode, took, want)
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// What it says last; strace itself holds the process's end up.
	for !strings.Contains(n.logs.String(), "msg=stopped") {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the stop did not end within 20 s of SIGTERM")
		}
		pause(t.Context())
	}
	t.Logf("stopped after %v", time.Since(began))
}

// underFault runs a node under strace with one injected fault, publishes until it shows, starts the node again without
// it, and compares the logs. ends tells whether the fault must end the process.
func underFault(t *testing.T, inject string, ends bool) {
	r := newReceiver(t, 0.1)
	n := newNode(t, t.TempDir())
	n.mustStart() // makes the database and the webhook undisturbed
	names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post"}
	n.kill()

	p := &publisher{hooks: []string{"post"}}
	trace, _, _ := strings.Cut(inject, ":")
	n.wrap = []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + trace, "-e", "inject=" + inject}
	kills := 1
	if n.start() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i := 0; i < 400 && ctx.Err() == nil; i++ {
			if err := p.once(ctx, n.client(), 1+i%5); err != nil &&
				!client.IsStatus(err, http.StatusInsufficientStorage) {
				break
			} else if err != nil && !ends {
				break
			}
		}
		if !ends {
			select {
			case <-n.done:
				t.Error("the fault ended the process")
			default:
			}
		} else {
			select {
			case <-n.done:
			case <-ctx.Done():
				t.Fatal("the fault did not end the process")
			}
		}
	}
	n.kill()
	mustIntegrity(t, n.data)
	n.wrap = nil
	n.mustStart()
	report := Check(settle(t, n, p, r, names, time.Minute), kills, unsettled)
	t.Logf("%s: %d events answered 202 before the fault", inject, p.count.Load())
	for _, f := range report.Findings {
		t.Error(f)
	}
}
