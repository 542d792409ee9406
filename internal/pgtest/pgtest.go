package pgtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/quantfolio/qhook/internal/pgserver"
)

// external is the setting that names a server to make databases on, in place of starting one.
const external = "QHOOK_TEST_DATABASE"

// Server is a PostgreSQL server; see pgserver.Server. Its methods are for one goroutine at a time.
type Server struct{ *pgserver.Server }

// How a server is run and stopped; see pgserver.
type (
	Option = pgserver.Option
	Mode   = pgserver.Mode
)

// The modes, in PostgreSQL's words; see pgserver.
const (
	Fast      = pgserver.Fast
	Immediate = pgserver.Immediate
)

// WithFsync flushes to the disk as a server in earnest does; see pgserver.WithFsync.
func WithFsync() Option { return pgserver.WithFsync() }

func start(opts ...Option) (*Server, error) {
	s, err := pgserver.Start(opts...)
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// shared is the server of this process, started by the first who asks.
var shared struct {
	sync.Mutex
	started bool
	s       *Server
	err     error
}

// Shared gives the one server of this test process, which nobody may stop. It skips the test when there is no
// PostgreSQL, or fails it where CI is set.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.started {
		shared.started = true
		if given := os.Getenv(external); given != "" {
			shared.s, shared.err = named(given)
		} else {
			shared.s, shared.err = start()
		}
	}
	must(t, shared.err)
	return shared.s
}

// Main runs a package's tests and ends the shared server: os.Exit(pgtest.Main(m)). Without it the server ends shortly
// after the process.
func Main(m *testing.M) (code int) {
	code = m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.s != nil {
		if err := shared.s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "end the shared PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	return code
}

// Start gives the test a server of its own, which ends with the test. It skips the test when there is no PostgreSQL to
// start, or fails it where CI is set.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	if os.Getenv(external) != "" {
		t.Skip("this test stops its PostgreSQL, and " + external +
			" names one that is not ours; unset it to run this test")
	}
	s, err := start(opts...)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of PostgreSQL ends:\n%s", s.LogTail())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if (errors.Is(err, pgserver.ErrNone) || errors.Is(err, errNoPooler)) && os.Getenv("CI") == "" {
		t.Skipf("%v, or name a server in %s", err, external)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// named is the server that the setting names.
func named(given string) (*Server, error) {
	u, err := url.Parse(given)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return nil, errors.New(external + " is not of the form postgres://user:password@host:port/database")
	}
	return &Server{pgserver.At(u)}, nil
}

// NewDatabase makes an empty database, which is dropped with the test, and returns its URL.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "qhook_test_" + strings.ToLower(rand.Text())
	if err := s.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Logf("drop database %s: %v", name, err)
		}
	})
	return s.URL(name)
}

// Stop ends the server until Restart.
func (s *Server) Stop(t testing.TB, m Mode) {
	t.Helper()
	if err := s.Server.Stop(m); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server as a crash does, with all its sessions.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.Stop(t, Immediate)
}

// Restart starts a server that was stopped, at the same address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
}

// FreePort finds a free port for a server that the test stops and starts again: no outgoing connection takes it
// meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := pgserver.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
