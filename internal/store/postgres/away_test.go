package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// notes is a log that a test reads.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}

func (n *notes) count(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.b.String(), what)
}

func (n *notes) logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

// background are the methods that no request waits for.
var background = map[string]bool{"AllWebhooks": true, "DropIdempotencyKeys": true, "ListExpired": true}

// requests calls every method of the store that serves requests, each once, at the same time.
func requests(t *testing.T, db *DB, judge func(name string, err error, took time.Duration)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, of := range []reflect.Type{reflect.TypeFor[store.Directory](), reflect.TypeFor[store.Webhooks](),
		reflect.TypeFor[store.Records](),
		reflect.TypeFor[store.Stats](), reflect.TypeFor[store.Advisory]()} {
		for i := range of.NumMethod() {
			m := of.Method(i)
			if background[m.Name] {
				continue
			}
			args := []reflect.Value{reflect.ValueOf(patient(t))}
			for a := 1; a < m.Type.NumIn(); a++ {
				arg := reflect.New(m.Type.In(a)).Elem()
				if arg.Type() == reflect.TypeFor[*webhook.Webhook]() {
					arg.Set(reflect.ValueOf(&webhook.Webhook{}))
				}
				args = append(args, arg)
			}
			wg.Go(func() {
				began := time.Now()
				out := reflect.ValueOf(db).MethodByName(m.Name).Call(args)
				err, _ := out[len(out)-1].Interface().(error)
				judge(m.Name, err, time.Since(began))
			})
		}
	}
	wg.Wait()
}

// TestFrozen: a database that hangs ends every request within 5 s, also those that wait for a connection, and is back
// when it goes on.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	db := mustOpen(t, s.NewDatabase(t), mustRing(t))
	thaw := s.Freeze(t)
	began := time.Now()
	if err := db.Ping(patient(t)); !errors.Is(err, store.ErrAway) || time.Since(began) > pingTime+500*time.Millisecond {
		t.Errorf("Ping = %v after %v, want ErrAway within a second", err, time.Since(began))
	}
	n := 0
	var mu sync.Mutex
	requests(t, db, func(name string, err error, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if !errors.Is(err, store.ErrAway) || took > 5*time.Second {
			t.Errorf("%s = %v after %v, want ErrAway within 5s", name, err, took)
		}
	})
	if n < 20 {
		t.Errorf("%d methods were called, want all that serve requests", n)
	}
	thaw()
	eventually(t, "the database answers again", func() bool {
		_, err := db.ListTenants(patient(t))
		return err == nil
	})
	eventually(t, "an event could be accepted again", func() bool {
		return db.Ping(patient(t)) == nil ||
			db.node.Load().failure() != nil
	})
}

// TestReplicaIsDown: lists are read on the primary while the replica does not answer, whether it is gone or frozen, and
// there again when it does; the log says each once.
func TestReplicaIsDown(t *testing.T) {
	t.Parallel()
	ring, replica := mustRing(t), pgtest.Start(t)
	at := replica.NewDatabase(t)
	if err := mustOpen(t, at, ring).Close(); err != nil { // the same tables, with nothing in them
		t.Fatal(err)
	}
	replica.Stop(t, pgtest.Fast)
	var log notes
	db, err := Open(patient(t), Config{URL: pgtest.Shared(t).NewDatabase(t), ReadURL: at, Keyring: ring,
		Logger: log.logger(), Pool: 2})
	if err != nil {
		t.Fatalf("Open with a replica that is down = %v, want nil", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Join(patient(t)); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(db.Next(0), false, 1)}})
	events := func() int {
		t.Helper()
		began := time.Now()
		list, err := db.ListEvents(patient(t), "a", store.EventFilter{}, 0, 10)
		if err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("ListEvents = %v after %v, want nil within 5s", err, time.Since(began))
		}
		return len(list)
	}
	asked := func() { // as when replicaPause is over
		db.lists.mu.Lock()
		defer db.lists.mu.Unlock()
		db.lists.again = time.Time{}
	}
	lists := func() {
		t.Helper()
		for range 3 {
			if n := events(); n != 1 {
				t.Errorf("ListEvents found %d events, want the primary's 1", n)
			}
		}
	}
	const down, back = "the replica does not answer", "the replica answers again"
	lists()
	if log.count(down) != 1 || log.count(back) != 0 {
		t.Errorf("the log says %q %d times and %q %d times, want once and never", down, log.count(down), back,
			log.count(back))
	}
	replica.Restart(t)
	eventually(t, "lists are read on the replica", func() bool { asked(); return events() == 0 })
	thaw := replica.Freeze(t)
	lists()
	if log.count(down) != 2 || log.count(back) != 1 {
		t.Errorf("the log says %q %d times and %q %d times, want twice and once", down, log.count(down), back,
			log.count(back))
	}
	thaw()
	eventually(t, "lists are read on the replica again", func() bool { asked(); return events() == 0 })
	// What only the replica refuses, such as a table that it does not have yet, is no failure of the list's.
	conn, err := db.lists.replica.Acquire(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(patient(t), `DROP TABLE events CASCADE`)
	conn.Release()
	if err != nil {
		t.Fatal(err)
	}
	lists()
	requests(t, db, func(name string, err error, _ time.Duration) {
		if errors.Is(err, store.ErrAway) {
			t.Errorf("%s = %v, want an answer", name, err)
		}
	})
}

// TestNoFreeConnection: a start waits, and says so, while the server has no connection for it; not longer than ctx.
func TestNoFreeConnection(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	at := mustOddRole(t, s)
	admin := mustOpen(t, s.NewDatabase(t), mustRing(t))
	role := strings.Split(strings.TrimPrefix(at, "postgres://"), "@")[0]
	run(t, admin, "ALTER ROLE "+role+" CONNECTION LIMIT 0")
	soon, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	if _, err := Open(soon, Config{URL: at, Keyring: mustRing(t)}); code(err) != tooManyConnections ||
		soon.Err() == nil {
		t.Errorf("Open = %v, want that there is no connection, when ctx ends", err)
	}
	var log notes
	opened := make(chan error, 1)
	go func() {
		db, err := Open(patient(t), Config{URL: at, Keyring: mustRing(t), Logger: log.logger()})
		if err == nil {
			err = errors.Join(db.Join(patient(t)), db.Close())
		}
		opened <- err
	}()
	const says = "no free connection"
	eventually(t, "the log says what is waited for", func() bool { return log.count(says) == 1 })
	run(t, admin, "ALTER ROLE "+role+" CONNECTION LIMIT 2") // fewer than are wanted at once
	eventually(t, "it goes on", func() bool {
		return number(t, admin, `SELECT count(*) FROM pg_stat_activity WHERE usename = $1`, role) > 0
	})
	run(t, admin, "ALTER ROLE "+role+" CONNECTION LIMIT -1")
	if err := <-opened; err != nil {
		t.Errorf("Open = %v, want nil when there are connections", err)
	}
}

// TestPing: health says whether an event could be accepted now.
func TestPing(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	db := mustOpen(t, s.NewDatabase(t), mustRing(t))
	says := func(what string, want error) {
		t.Helper()
		began := time.Now()
		err := db.Ping(patient(t))
		if !errors.Is(err, want) || (want == nil) != (err == nil) || time.Since(began) > pingTime+500*time.Millisecond {
			t.Errorf("%s: Ping = %v after %v, want %v within a second", what, err, time.Since(began), want)
		}
	}
	says("all is well", nil)
	die(db).until.Store(int64(time.Hour))
	admin := func(sql string) {
		t.Helper()
		conn, err := pgx.Connect(patient(t), s.URL("postgres")+"&default_transaction_read_only=off")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(patient(t))
		if _, err := conn.Exec(patient(t), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	admin(`ALTER SYSTEM SET default_transaction_read_only = on`)
	admin(`SELECT pg_reload_conf()`)
	eventually(t, "the server is read-only", func() bool {
		on, err := ask[string](t, s.URL("postgres"), `SHOW default_transaction_read_only`)
		return err == nil && on == "on"
	})
	says("a read-only server", store.ErrAway) // by its own look: there are no beats
	if err := db.Commit(patient(t), &store.Batch{Submissions: []*store.Submission{sent(db.Next(0), false,
		1)}}); !errors.Is(err, store.ErrAway) {
		t.Errorf("Commit to a read-only server = %v, want ErrAway", err)
	}
	admin(`ALTER SYSTEM RESET default_transaction_read_only`)
	admin(`SELECT pg_reload_conf()`)
	eventually(t, "the server can be written again", func() bool {
		return db.Ping(patient(t)) == nil ||
			db.node.Load().failure() != nil
	})
	if err := db.Join(patient(t)); err != nil {
		t.Fatal(err)
	}
	says("all is well again", nil)
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(db.Next(0), false, 1)}})
	n := die(db)
	n.until.Store(0)
	says("the lease has run out", store.ErrAway)
	n.wake(store.ErrFenced)
	says("the node is fenced", store.ErrFenced)
}
