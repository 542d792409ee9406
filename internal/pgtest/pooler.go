package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// poolerTime is how long a pooler may take to start.
const poolerTime = 20 * time.Second

// pooled runs the pooler until its input ends, which it does when this process ends in whatever way.
const pooled = `"$1" "$2" & cat >/dev/null; kill "$!"; wait "$!"`

// Pooler starts a PgBouncer before the server, which ends with the test, and returns a database's URL through it. The
// settings are lines of its file, such as pool_mode = transaction. It skips the test when there is no PgBouncer, or
// fails it where CI is set.
func (s *Server) Pooler(t testing.TB, database string, settings ...string) string {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			must(t, errNoPooler)
		}
	}
	at, err := url.Parse(s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Command(context.Background(), "pgbouncer").Dir
	if dir == "" {
		t.Skip("this test puts a pooler before its PostgreSQL, and " + external +
			" names one that is not ours; unset it to run this test")
	}
	port := FreePort(t)
	to, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pooler"+strconv.Itoa(port))
	lines := append([]string{
		"[databases]", fmt.Sprintf("* = host=127.0.0.1 port=%s user=%s", at.Port(), to.User.Username()),
		"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + strconv.Itoa(port), "unix_socket_dir =",
		"auth_type = any",
	}, settings...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := s.Command(context.Background(), "/bin/sh", "-c", pooled, "sh", bin, file)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	leash, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = leash.Close()
		_ = cmd.Wait() // its own end is a signal
		if t.Failed() {
			t.Logf("the log of the pooler:\n%s", log.String())
		}
	})
	to.Host = "127.0.0.1:" + strconv.Itoa(port)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(poolerTime); ; {
		conn, err := net.Dial("tcp", to.Host)
		if err == nil {
			_ = conn.Close()
			return to.String()
		}
		select {
		case <-limit:
			t.Fatalf("the pooler was not ready in %v: %v", poolerTime, err)
		case <-again.C:
		}
	}
}

// errNoPooler says that there is no PgBouncer on this machine.
var errNoPooler = errors.New("no PgBouncer on this machine: install it")
