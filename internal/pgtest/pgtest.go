package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// external is the setting that names a server to make databases on, in place of starting one.
const external = "QHOOK_TEST_DATABASE"

// shared is the server of this process, started by the first who asks.
var shared struct {
	sync.Mutex
	started bool
	s       *Server
	err     error
}

// Shared gives the one server of this test process, which nobody may stop. It skips the test when there is no PostgreSQL,
// or fails it where CI is set.
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
		if err := shared.s.close(); err != nil {
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
		t.Skip("this test stops its PostgreSQL, and " + external + " names one that is not ours; unset it to run this test")
	}
	s, err := start(opts...)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of PostgreSQL ends:\n%s", s.logTail())
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNone) && os.Getenv("CI") == "" {
		t.Skip(err)
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
	return &Server{base: u}, nil
}

// URL is how to connect to a database of the server.
func (s *Server) URL(database string) string {
	u := *s.base
	u.Path = "/" + database
	return u.String()
}

// NewDatabase makes an empty database, which is dropped with the test, and returns its URL.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "qhook_test_" + strings.ToLower(rand.Text())
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Logf("drop database %s: %v", name, err)
		}
	})
	return s.URL(name)
}

// exec runs sql outside of the tests' databases.
func (s *Server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at := s.base.String()
	if s.dir != "" {
		at = s.URL("postgres")
	}
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// Stop ends the server until Restart.
func (s *Server) Stop(t testing.TB, m Mode) {
	t.Helper()
	if err := s.stop(m); err != nil {
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
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// FreePort finds a free port for a server that the test stops and starts again: no outgoing connection takes it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
