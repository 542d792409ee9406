package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/cli"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/relay"
	"github.com/quantfolio/qhook/outbox"
)

const (
	asQhook  = "QHOOK_TEST_AS_QHOOK" // set: this program is qhook
	adminKey = "relay-test-operator-key-0123456789abcdef"
)

func TestMain(m *testing.M) {
	if os.Getenv(asQhook) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	code := pgtest.Main(m)
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// eventually waits until ok is true; it fails the test after a time that only a fault takes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit, again := time.NewTimer(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for !ok() {
		select {
		case <-limit.C:
			t.Fatalf("30 s have passed and still not: %s", what)
		case <-again.C:
		}
	}
}

// process is a command of qhook in a process of its own.
type process struct {
	t    *testing.T
	args []string
	env  []string
	cmd  *exec.Cmd
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

func newProcess(t *testing.T, env []string, args ...string) *process {
	p := &process{t: t, args: args, env: env}
	t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if s := p.logs.String(); t.Failed() {
			t.Logf("the output of %s ends:\n%s", args[0], s[max(0, len(s)-4000):])
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "QHOOK_") }),
		append(p.env, asQhook+"=1")...)
	p.cmd.Stdout, p.cmd.Stderr = &p.logs, &p.logs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// end sends a signal, waits for the end, and gives the exit code.
func (p *process) end(s syscall.Signal) int {
	if p.cmd == nil {
		return 0
	}
	_ = p.cmd.Process.Signal(s)
	_ = p.cmd.Wait()
	code := p.cmd.ProcessState.ExitCode()
	p.cmd = nil
	return code
}

// server is a `qhook serve`.
type server struct {
	*process
	url string
}

func newServer(t *testing.T) *server {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", pgtest.FreePort(t))
	s := &server{url: "http://" + addr}
	s.process = newProcess(t, []string{"QHOOK_ADMIN_KEY=" + adminKey}, "serve", "--listen", addr, "--data", t.TempDir())
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.process.start()
	eventually(s.t, "the server is ready", func() bool {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// accepted reads all events of a tenant, the first accepted first.
func (s *server) accepted(tenant string) []client.StoredEvent {
	s.t.Helper()
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	c := client.New(s.url, adminKey, client.WithTenant(tenant), client.WithHTTPClient(h))
	var all []client.StoredEvent
	for q := (client.EventQuery{Limit: 200}); ; {
		page, err := c.Events(s.t.Context(), q)
		if err != nil {
			s.t.Fatalf("Events: %v", err)
		}
		all = append(all, page.Events...)
		if q.Cursor = page.Next; q.Cursor == "" {
			slices.Reverse(all)
			return all
		}
	}
}

// source is a database with an outbox.
type source struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
}

func newSource(t *testing.T, s *pgtest.Server) *source {
	t.Helper()
	src := &source{t: t, url: s.NewDatabase(t)}
	src.connect()
	t.Cleanup(func() { _ = src.conn.Close(context.Background()) })
	src.exec(outbox.Schema)
	return src
}

// connect connects, also after the server was stopped.
func (s *source) connect() {
	s.t.Helper()
	var err error
	if s.conn, err = pgx.Connect(s.t.Context(), s.url); err != nil {
		s.t.Fatal(err)
	}
}

func (s *source) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// count runs a query that gives a number.
func (s *source) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.conn.QueryRow(s.t.Context(), query, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *source) unsent() int {
	return s.count("SELECT count(*) FROM qhook_outbox WHERE failed_at IS NULL")
}

func (s *source) insert(tenant string, events ...client.Event) {
	s.t.Helper()
	query, args, err := outbox.Insert(tenant, events...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.exec(query, args...)
}

func created(object string, n int) client.Event {
	return client.Event{Type: "qap.investor.created", ObjectID: object, ObjectOwnerID: "a", OwnerID: "f",
		Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// numbers checks that the events of every object have ascending numbers, and counts them.
func numbers(t *testing.T, events []client.StoredEvent) int {
	t.Helper()
	last := map[string]int{}
	for _, e := range events {
		var d struct{ N int }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.N <= last[e.ObjectID] {
			t.Errorf("event %d of %s came after event %d", d.N, e.ObjectID, last[e.ObjectID])
		}
		last[e.ObjectID] = d.N
	}
	return len(events)
}

// running is a relay in this process.
type running struct {
	*relay.Relay
	registry *prometheus.Registry
	stop     func() // and wait for its end
}

func runRelay(t *testing.T, cfg relay.Config) *running {
	t.Helper()
	r := &running{registry: prometheus.NewRegistry()}
	cfg.Registerer = r.registry
	var err error
	if r.Relay, err = relay.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}) // closed by the goroutine below
	go func() { r.Run(ctx); close(ended) }()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	return r
}

// metric reads one value; label is the value of the one label, if there is one.
func (r *running) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
