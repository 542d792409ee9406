package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/outbox"
)

// passage stands before the server and holds the answers back while a fault is made, which is so right between the
// server's commit and the deletion of the rows.
type passage struct {
	*httptest.Server
	to      string
	http    *http.Client
	held    chan chan bool // the handler sends one for each answer held; who takes it sends whether the answer goes on
	every   int64          // hold an answer after as many events
	events  atomic.Int64   // answered with 202, repetitions included
	refused atomic.Int64   // requests that the server did not answer with 202
	over    atomic.Bool    // hold nothing more
	ended   chan struct{}  // closed by the end of the test
}

func newPassage(t *testing.T, to string, every int64) *passage {
	p := &passage{to: to, http: &http.Client{Transport: &http.Transport{}}, held: make(chan chan bool), every: every,
		ended: make(chan struct{})}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		close(p.ended)
		p.CloseClientConnections()
		p.Close()
		p.http.CloseIdleConnections()
	})
	return p
}

func (p *passage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return
	}
	// Not ended by the relay's end: what it sent arrives.
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.to+r.URL.Path,
		bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header = r.Header.Clone()
	resp, err := p.http.Do(req)
	if err != nil {
		p.refused.Add(1)
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		p.refused.Add(1)
		panic(http.ErrAbortHandler)
	}
	n := int64(max(1, bytes.Count(answer, []byte(`"id"`))))
	if now := p.events.Add(n); now/p.every != (now-n)/p.every && !p.over.Load() {
		p.hold()
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

// hold returns when the answer may go on.
func (p *passage) hold() {
	on := make(chan bool, 1)
	select {
	case p.held <- on:
	case <-p.ended:
		return
	}
	select {
	case goOn := <-on:
		if !goOn {
			panic(http.ErrAbortHandler)
		}
	case <-p.ended:
	}
}

// writer commits changes with events, whatever happens to the database. Each event is a row of owed, too, written in
// the same transaction.
type writer struct {
	url   string
	name  string
	ahead func(done int) bool // so far ahead of the relay that it shall wait
}

// run commits n events.
func (w *writer) run(ctx context.Context, n int) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := w.session(ctx, n)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select { // the database is away
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}

func (w *writer) session(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var done int // also what was committed without our hearing of it
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(n), 0) FROM owed WHERE writer = $1",
		w.name).Scan(&done); err != nil {
		return err
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for done < n {
		if w.ahead(done) {
			select {
			case <-again.C:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var events []client.Event
		for range 1 + rand.IntN(3) {
			e := created(w.name, done+len(events)+1)
			e.ID = uuid.NewString()
			events = append(events, e)
		}
		query, args, err := outbox.Insert("default", events...)
		if err != nil {
			return err
		}
		back := errors.New("rolled back")
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for i, e := range events {
				if _, err := tx.Exec(ctx, "INSERT INTO owed (writer, n, id) VALUES ($1, $2, $3)", w.name, done+i+1,
					e.ID); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, query, args...); err != nil {
				return err
			}
			if rand.IntN(10) == 0 {
				return back
			}
			return nil
		})
		if errors.Is(err, back) {
			continue
		}
		if err != nil {
			return err
		}
		done += len(events)
	}
	return nil
}

// TestCrashes kills everything in turn while rows are written and moved. In the end the accepted events are the
// committed rows, each once, those of each writer in their order.
func TestCrashes(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t, pgtest.WithFsync())
	src, srv := newSource(t, pg), newServer(t)
	src.exec("CREATE TABLE owed (writer text, n int, id uuid, PRIMARY KEY (writer, n))")
	pass := newPassage(t, srv.url, 100)
	rel := newProcess(t, []string{"QHOOK_SOURCE=" + src.url, "QHOOK_KEY=" + adminKey}, "relay", "--url", pass.URL,
		"--batch", "40", "--poll", "200ms")
	rel.start()

	const writers, each = 4, 250
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range writers {
		wait.Go(func() {
			w := writer{src.url, fmt.Sprint("writer ", i), func(done int) bool {
				return int64(done*writers) > pass.events.Load()+100 && !pass.over.Load()
			}}
			if err := w.run(ctx, each); err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
		})
	}
	fault := func(what string, goOn bool, make func()) {
		t.Helper()
		select {
		case on := <-pass.held:
			t.Logf("after %d events: %s", pass.events.Load(), what)
			make()
			on <- goOn
		case <-ctx.Done():
			pass.over.Store(true)
			t.Fatalf("nothing moves any more; next was: %s", what)
		}
	}
	serverBack := func() {
		t.Helper()
		seen := pass.refused.Load()
		eventually(t, "the relay has tried twice without the server",
			func() bool { return pass.refused.Load() >= seen+2 })
		srv.start()
	}
	fault("the database is killed", true, func() { pg.Kill(t); pg.Restart(t) })
	fault("the relay is killed", true, func() { rel.end(syscall.SIGKILL); rel.start() })
	fault("the server is killed", true, func() { srv.end(syscall.SIGKILL) })
	serverBack()
	fault("the answer is lost", false, func() {})
	fault("the database is killed, the relay too", true,
		func() { pg.Kill(t); rel.end(syscall.SIGKILL); rel.start(); pg.Restart(t) })
	fault("the server is stopped", true, func() { srv.end(syscall.SIGTERM) })
	serverBack()
	fault("the relay is stopped", true, func() {
		if code := rel.end(syscall.SIGTERM); code != 0 {
			t.Errorf("the relay ended with %d after SIGTERM, want 0", code)
		}
		rel.start()
	})
	fault("the database is stopped", true, func() { pg.Stop(t, pgtest.Fast); pg.Restart(t) })
	pass.over.Store(true)
	wait.Wait()
	src.connect()
	eventually(t, "the outbox is empty", func() bool { return src.unsent() == 0 })

	owed := map[string]string{} // event ID to writer and number
	rows, _ := src.conn.Query(t.Context(), "SELECT id::text, writer, n FROM owed")
	var id, name string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &name, &n},
		func() error { owed[id] = fmt.Sprint(name, " ", n); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(owed) < writers*each {
		t.Errorf("%d events are owed, want at least %d", len(owed), writers*each)
	}
	events := srv.accepted("default")
	numbers(t, events)
	for _, e := range events {
		var d struct{ N int }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if owed[e.ID] != fmt.Sprint(e.ObjectID, " ", d.N) {
			t.Errorf("event %s (%s %d) was accepted and is not owed, or was accepted twice", e.ID, e.ObjectID, d.N)
		}
		delete(owed, e.ID)
	}
	if len(owed) > 0 {
		t.Errorf("%d events are owed and were not accepted", len(owed))
	}
	if n := src.count("SELECT count(*) FROM qhook_outbox"); n > 0 {
		t.Errorf("%d rows were set aside, want 0", n)
	}
	t.Logf("%d events accepted, %d sent, %d requests not answered", len(events), pass.events.Load(),
		pass.refused.Load())
}
