package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
)

const (
	asQhook  = "QHOOK_TEST_AS_QHOOK" // set: this program is qhook
	adminKey = "an-operator-key-of-the-test-0123456789abcdef"
)

func TestMain(m *testing.M) {
	if os.Getenv(asQhook) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a qhook serve in a process of its own. What it writes is read until the test closes the pipes.
type process struct {
	*exec.Cmd
	url            string
	stdout, stderr *os.File

	mu   sync.Mutex
	logs bytes.Buffer
}

// start runs wrap, if any, with the command behind it.
func start(t *testing.T, wrap []string, args ...string) *process {
	t.Helper()
	argv := append(slices.Clone(wrap), os.Args[0], "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(),
		"--allow-network", "127.0.0.0/8")
	argv = append(argv, args...)
	p := &process{Cmd: exec.Command(argv[0], argv[1:]...)}
	p.Env = append(os.Environ(), asQhook+"=1", "QHOOK_ADMIN_KEY="+adminKey)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, log *os.File
	for read, write := range map[**os.File]**os.File{&p.stdout: &out, &p.stderr: &log} {
		var err error
		if *read, *write, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	p.Stdout, p.Stderr = out, log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Close(), log.Close()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		_, _ = p.stdout.Close(), p.stderr.Close()
		if t.Failed() {
			t.Logf("the log:\n%s", p.log())
		}
	})
	go func() { _, _ = io.Copy(p, p.stderr) }()
	for s := bufio.NewScanner(p.stdout); s.Scan(); {
		if url, found := strings.CutPrefix(s.Text(), "qhook is listening on "); found {
			p.url = url
			return p
		}
	}
	t.Fatalf("qhook does not listen")
	return nil
}

// Write takes some of the log.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

// lives fails the test unless the server answers.
func (p *process) lives(t *testing.T) {
	t.Helper()
	resp, err := http.Get(p.url + "/livez")
	if err != nil {
		t.Fatalf("the server does not answer: %v", err)
	}
	_ = resp.Body.Close()
}

// send sends the signal.
func (p *process) send(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the end, and fails the test unless that is a success.
func (p *process) ends(t *testing.T) {
	t.Helper()
	kill := time.AfterFunc(30*time.Second, func() { _ = p.Process.Kill() })
	defer kill.Stop()
	if err := p.Wait(); err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Errorf("qhook ended with %v (%+v), want success", err, exit)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit, again := time.NewTimer(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for !ok() {
		select {
		case <-limit.C:
			t.Fatalf("in 30 seconds not: %s", what)
		case <-again.C:
		}
	}
}

// TestClosedPipesEndNothing closes the standard output, as `qhook serve | head -1` does, and the standard error.
func TestClosedPipesEndNothing(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "--log-level", "debug") // with a line for each request
	_, _ = p.stdout.Close(), p.stderr.Close()
	for range 20 {
		p.lives(t)
	}
	p.send(t, syscall.SIGTERM)
	p.ends(t)
}

// hanging is a receiver that answers once the test says so, or ends.
func hanging(t *testing.T) (url string, came chan struct{}, answer func()) {
	came, answered := make(chan struct{}, 10), make(chan struct{}) // sent for each request; closed by answer
	answer = sync.OnceFunc(func() { close(answered) })
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-answered
	}))
	t.Cleanup(func() { answer(); s.Close() })
	return s.URL, came, answer
}

// publish registers a webhook and publishes an event to it.
func (p *process) publish(t *testing.T, url string) {
	t.Helper()
	c := client.New(p.url, adminKey)
	w := client.NewWebhook{URL: url, Method: "POST", EventTypes: []string{"**"}}
	if _, err := c.CreateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	e := client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: "o"}
	if _, err := c.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

const awaited = `msg="stopping: waiting" for="attempts under way"`

// TestSignalsEndGracefully sends each while an attempt is under way, which is awaited, and the log says so.
func TestSignalsEndGracefully(t *testing.T) {
	t.Parallel()
	// What this process ignores, as under nohup, its children would too.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			url, came, answer := hanging(t)
			p := start(t, nil)
			p.publish(t, url)
			<-came
			p.send(t, s)
			eventually(t, "the log says what is awaited", func() bool { return strings.Contains(p.log(), awaited) })
			answer()
			p.ends(t)
			eventually(t, "the log says the end",
				func() bool { return strings.Contains(p.log(), "msg=stopped left=<nil>") })
			if !strings.Contains(p.log(), s.String()+" signal received") {
				t.Error("the log does not tell the signal")
			}
		})
	}
}

// TestNohup starts the server with SIGHUP ignored.
func TestNohup(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"/bin/sh", "-c", `trap "" HUP; exec "$@"`, "sh"})
	p.send(t, syscall.SIGHUP)
	for range 20 {
		p.lives(t)
	}
	if strings.Contains(p.log(), "stopping") {
		t.Error("the server stops, want SIGHUP ignored as before its start")
	}
	p.send(t, syscall.SIGTERM)
	p.ends(t)
}
