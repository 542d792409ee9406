package pgtest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/quantfolio/qhook/internal/pgserver"
)

func TestMain(m *testing.M) {
	if os.Getenv("QHOOK_TEST_PG_ABANDON") != "" { // see TestNothingStaysBehind
		s, err := start()
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(s.Dir() + "\n")
		select {}
	}
	code := Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		panic(err)
	}
	os.Exit(code)
}

// query runs sql and gives its one value.
func query(t *testing.T, url, sql string) (value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	a, b := s.NewDatabase(t), s.NewDatabase(t)
	if a == b || query(t, a, "SELECT current_database()") == query(t, b, "SELECT current_database()") {
		t.Errorf("NewDatabase gave %s twice", a)
	}
	if s != Shared(t) {
		t.Error("Shared gave two servers")
	}
}

func TestACrashKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	s := Start(t, WithFsync())
	url := s.NewDatabase(t)
	if got := query(t, url, "SHOW fsync"); got != "on" {
		t.Errorf("fsync = %s, want on", got)
	}
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE a (b text); INSERT INTO a VALUES ('c')"); err != nil {
		t.Fatal(err)
	}
	for _, stop := range []func(){func() { s.Kill(t) }, func() { s.Stop(t, Fast) }} {
		stop()
		if _, err := pgx.Connect(ctx, url); err == nil {
			t.Fatal("the server answers after it was stopped")
		}
		s.Restart(t)
		if got := query(t, url, "SELECT b FROM a"); got != "c" {
			t.Errorf("b = %q, want c", got)
		}
	}
}

// TestNothingStaysBehind kills a process that has a server.
func TestNothingStaysBehind(t *testing.T) {
	t.Parallel()
	must(t, pgserver.Installed())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "QHOOK_TEST_PG_ABANDON=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(line[:n]))
	if _, err := os.Stat(dir + "/data/postmaster.pid"); err != nil {
		t.Errorf("the server does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(20 * time.Second); ; {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%s is still there 20 s after the process was killed", dir)
		case <-again.C:
		}
	}
}
