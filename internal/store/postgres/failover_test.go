package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// follow copies the server and follows it; it ends with the test, or when this process does.
const follow = `"$1/pg_basebackup" -h 127.0.0.1 -p "$2" -U postgres -D data -R -c fast && {
	"$1/postgres" -D data -h 127.0.0.1 -p "$3" -k "$PWD" -c fsync=off -c shared_buffers=16MB &
	cat >/dev/null
	kill -QUIT $!
	wait $!
}
rm -rf "$PWD"`

// ask gives the one value of a query on a connection of its own.
func ask[T any](t *testing.T, at, query string) (v T, err error) {
	t.Helper()
	conn, err := pgx.Connect(patient(t), at)
	if err != nil {
		return v, err
	}
	defer conn.Close(patient(t))
	err = conn.QueryRow(patient(t), query).Scan(&v)
	return v, err
}

func mustAsk(t *testing.T, at, query string) string {
	t.Helper()
	v, err := ask[string](t, at, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// startStandby starts a server that follows the one at the address, and waits until commits there wait for it.
func startStandby(t *testing.T, of *url.URL) (port int) {
	t.Helper()
	info, err := os.Stat(mustAsk(t, of.String(), `SHOW data_directory`))
	if err != nil {
		t.Fatal(err)
	}
	as := info.Sys().(*syscall.Stat_t)
	bin := mustAsk(t, of.String(), `SELECT setting FROM pg_config WHERE name = 'BINDIR'`)
	dir, err := os.MkdirTemp("/tmp", "qhook-pg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		t.Fatal(err)
	}
	port = pgtest.FreePort(t)
	var log strings.Builder
	cmd := exec.Command("/bin/sh", "-c", follow, "sh", bin, of.Port(), fmt.Sprint(port))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC",
		"PWD=" + dir}, &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.Uid, Gid: as.Gid}
	}
	var leash io.WriteCloser
	if leash, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = leash.Close()
		_ = cmd.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the standby's log:\n%s", log.String())
		}
	})
	eventually(t, "the standby follows", func() bool {
		n, err := ask[int](t, of.String(),
			`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = 'walreceiver'`)
		return err == nil && n == 1
	})
	conn, err := pgx.Connect(patient(t), of.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(patient(t))
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if _, err := conn.Exec(patient(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "commits wait for the standby", func() bool {
		state, err := ask[string](t, of.String(), `SELECT sync_state FROM pg_stat_replication`)
		return err == nil && state == "sync"
	})
	return port
}

// TestFailover: the primary is killed, or only turns read-only, and its standby takes its place; everything goes on by
// itself, and nothing that was confirmed is missing, nor is anything there that was not.
func TestFailover(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		failover(t, func(t *testing.T, primary *pgtest.Server) { primary.Kill(t) })
	})
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		failover(t, func(t *testing.T, primary *pgtest.Server) {
			for _, sql := range []string{`ALTER SYSTEM SET default_transaction_read_only = on`,
				`SELECT pg_reload_conf()::text`} {
				conn, err := pgx.Connect(patient(t), primary.URL("postgres"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Exec(patient(t), sql); err != nil {
					t.Fatal(err)
				}
				_ = conn.Close(patient(t))
			}
		})
	})
}

func failover(t *testing.T, lose func(*testing.T, *pgtest.Server)) {
	primary := pgtest.Start(t)
	at, err := url.Parse(primary.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	port := startStandby(t, at)
	other := *at
	other.Host = fmt.Sprintf("127.0.0.1:%d", port)
	both := *at
	both.Host += "," + other.Host
	ring := mustRing(t)
	a, b := mustOpen(t, both.String(), ring), mustOpen(t, both.String(), ring)

	watched := make(chan string, 100) // sent to by Watch; never closed
	watching, unwatch := context.WithCancel(patient(t))
	var ends sync.WaitGroup
	ends.Go(func() { a.Watch(watching, func(w *webhook.Webhook) error { watched <- w.ID; return nil }) })
	defer ends.Wait()
	defer unwatch()

	var confirmed []int64
	var count atomic.Int64
	stop, ended := make(chan struct{}), make(chan error, 1)
	ctx := patient(t)
	go func() {
		var last store.Seq
		for round := 0; ; round++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			last = a.Next(last)
			err := a.Commit(ctx, &store.Batch{Submissions: []*store.Submission{sent(last, round%2 == 0, 1)}})
			switch {
			case err == nil:
				confirmed = append(confirmed, int64(last))
				count.Add(1)
			case !errors.Is(err, store.ErrAway) || ctx.Err() != nil:
				ended <- err
				return
			default:
				time.Sleep(20 * time.Millisecond) // as an engine that is asked to accept the next one
			}
		}
	}()
	grows := func(what string) {
		t.Helper()
		from := count.Load()
		eventually(t, what, func() bool {
			select {
			case err := <-ended:
				t.Fatalf("%s: Commit = %v, want nil or ErrAway", what, err)
			default:
			}
			return count.Load() >= from+200
		})
	}
	grows("commits before")
	lose(t, primary)
	if got := mustAsk(t, other.String(), `SELECT pg_promote()::text`); got != "true" {
		t.Fatalf("pg_promote = %s, want true", got)
	}
	promoted := time.Now()
	grows("commits after")
	t.Logf("200 commits were made %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	close(stop)
	if err := <-ended; err != nil {
		t.Fatalf("Commit = %v, want nil or ErrAway", err)
	}
	for _, db := range []*DB{a, b} {
		if err := db.Lease(ctx); err != nil {
			t.Errorf("Lease = %v, want nil", err)
		}
		eventually(t, "an event could be accepted", func() bool { return db.Ping(ctx) == nil })
		if err := db.CreateTenant(ctx, store.Tenant{ID: db.node.Load().id.String(), CreatedAt: time.Now()}); err != nil {
			t.Errorf("CreateTenant = %v, want nil", err)
		}
	}
	mustStored(t, b, confirmed)
	w := &webhook.Webhook{Tenant: b.node.Load().id.String(), ID: "new", URL: "https://example.com", Method: "POST",
		EventTypes: []string{"*"}, Timeout: time.Second, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	if err := b.CreateWebhook(ctx, w); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watched:
	case <-ctx.Done():
		t.Error("the other node was not told of a new webhook")
	}
}

// TestAHostHangs: a host that takes connections and never answers is passed over, by the beats too.
func TestAHostHangs(t *testing.T) {
	t.Parallel()
	hangs := pgtest.Start(t)
	hangs.Freeze(t)
	at, err := url.Parse(pgtest.Shared(t).NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(hangs.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	at.Host = other.Host + "," + at.Host
	db := mustOpen(t, at.String(), mustRing(t))
	n := db.node.Load()
	eventually(t, "its beats come", func() bool { return n.until.Load() > int64(3*lease) })
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(db.Next(0), false, 1)}})
	if err := db.Ping(patient(t)); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
}

// TestLateItself: a node that was stopped for long does not believe that the others were dead meanwhile.
func TestLateItself(t *testing.T) {
	t.Parallel()
	at, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, at, ring), mustOpen(t, at, ring)
	n, other := die(a), die(b)
	beats := number(t, a, `SELECT beat FROM beats WHERE node = $1`, other.id)
	for _, late := range []bool{true, false} {
		h := heart{watch: watch{other.id: {beats, time.Now().Add(-time.Minute)}}}
		n.renew(time.Now())
		if late {
			n.until.Store(0)
		}
		gone, err := a.beat(patient(t), n, &h)
		if h.close(); err != nil || (len(gone) == 0) != late {
			t.Errorf("beat (late itself: %t) = %d gone, %v, want it to say so only when it was in time", late,
				len(gone), err)
		}
	}
}
