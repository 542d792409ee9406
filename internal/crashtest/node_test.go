package crashtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
)

var binary string // the real program, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "qhook-crashtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "qhook")
	build := exec.Command("go", "build", "-o", binary, "github.com/quantfolio/qhook/cmd/qhook")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

const adminKey = "crash-test-operator-key-0123456789abcdef"

// node is a `qhook serve` that can be ended and started again on the same data and port.
type node struct {
	t    *testing.T
	data string
	addr string
	wrap []string // command to run it under
	more []string // further flags of serve
	env  []string // further settings, as NAME=VALUE
	prog string   // the program; empty: the real one

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	logs lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNode(t *testing.T, data string) *node {
	t.Helper()
	n := &node{t: t, data: data, addr: fmt.Sprintf("127.0.0.1:%d", pgtest.FreePort(t))}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			s := n.logs.String()
			t.Logf("the node's output, its end:\n%s", s[max(0, len(s)-4000):])
		}
	})
	return n
}

// launch runs the node.
func (n *node) launch() {
	n.t.Helper()
	args := append(append([]string{}, n.wrap...), cmp.Or(n.prog, binary), "serve", "--listen", n.addr, "--data", n.data,
		"--allow-network", "127.0.0.0/8")
	args = append(args, n.more...)
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Env = append(append(os.Environ(), "QHOOK_ADMIN_KEY="+adminKey), n.env...)
	n.cmd.Stdout, n.cmd.Stderr = &n.logs, &n.logs
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.done = done
	cmd := n.cmd
	go func() { _ = cmd.Wait(); close(done) }()
}

// start runs the node; ready tells whether it got ready before it ended.
func (n *node) start() (ready bool) {
	n.t.Helper()
	n.launch()
	deadline := time.After(30 * time.Second)
	for {
		resp, err := http.Get("http://" + n.addr + "/readyz")
		if err == nil {
			io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-n.done:
			return false
		case <-deadline:
			n.t.Fatalf("the node did not get ready in 30 s; its output:\n%s", n.logs.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *node) mustStart() {
	n.t.Helper()
	if !n.start() {
		n.t.Fatalf("the node ended before it was ready; its output:\n%s", n.logs.String())
	}
}

// kill ends the node and all that runs it with SIGKILL.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
	<-n.done
}

func (n *node) client() *client.Client { return client.New("http://"+n.addr, adminKey) }

// mustWebhook registers a webhook that retries often and soon.
func (n *node) mustWebhook(ctx context.Context, url, method string) string {
	n.t.Helper()
	var often []client.Duration
	for range 32 {
		often = append(often, client.Duration(time.Second))
	}
	w, err := n.client().CreateWebhook(ctx, client.NewWebhook{URL: url, Method: method, EventTypes: []string{"**"},
		GenerateSigningKey: true, RetrySchedule: often, Timeout: client.Duration(5 * time.Second)})
	if err != nil {
		n.t.Fatalf("CreateWebhook: %v", err)
	}
	return w.ID
}
