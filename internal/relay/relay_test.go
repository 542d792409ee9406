package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/relay"
	"github.com/quantfolio/qhook/outbox"
)

// api answers like the API: each request by the next function of fail, then with a 202 that names the events.
type api struct {
	*httptest.Server
	mu       sync.Mutex
	fail     []http.HandlerFunc
	always   http.HandlerFunc // answers every request; nil: as if it were the API
	requests int
	taken    []string // the objects of the events that were accepted
}

func newAPI(t *testing.T) *api {
	a := &api{}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) failWith(f ...http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = f
}

// answer makes f the answer to every request; nil: as if it were the API.
func (a *api) answer(f http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.always = f
}

// refuse writes a problem document.
func refuse(w http.ResponseWriter, status int, p client.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}

func (a *api) objects() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.taken, " ")
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	if a.always != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.always(w, r)
		return
	}
	if len(a.fail) > 0 {
		f := a.fail[0]
		a.fail = a.fail[1:]
		f(w, r)
		return
	}
	if r.URL.Path == "/v1/events" {
		body = fmt.Appendf(nil, `{"events":[%s]}`, body)
	}
	var in struct{ Events []client.Event }
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, e := range in.Events {
		if strings.HasPrefix(e.ObjectID, "bad") {
			refuse(w, http.StatusUnprocessableEntity, client.Problem{Refused: e.ID})
			return
		}
	}
	out := make([]client.Published, len(in.Events))
	for i, e := range in.Events {
		a.taken = append(a.taken, e.ObjectID)
		out[i].ID = e.ID
	}
	w.WriteHeader(http.StatusAccepted)
	if r.URL.Path == "/v1/events" {
		_ = json.NewEncoder(w).Encode(out[0])
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"events": out})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

func TestOrderAndEachOnce(t *testing.T) {
	t.Parallel()
	src, srv := newSource(t, pgtest.Shared(t)), newServer(t)
	r := runRelay(t, relay.Config{Source: src.url, URL: srv.url, Key: adminKey})
	const writers, transactions = 4, 200
	var rows [writers]int
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			conn, err := pgx.Connect(t.Context(), src.url)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(t.Context())
			for range transactions {
				var events []client.Event
				for i := range 1 + rand.IntN(8) {
					events = append(events, created(fmt.Sprint("writer ", w), rows[w]+i+1))
				}
				query, args, err := outbox.Insert("", events...)
				if err != nil {
					t.Error(err)
					return
				}
				err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), query, args...); err != nil {
						return err
					}
					if rand.IntN(5) == 0 {
						return tx.Rollback(t.Context())
					}
					rows[w] += len(events)
					return nil
				})
				if err != nil && err != pgx.ErrTxClosed {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	eventually(t, "the outbox is empty", func() bool { return src.unsent() == 0 })
	want := 0
	for _, n := range rows {
		want += n
	}
	if got := numbers(t, srv.accepted("default")); got != want {
		t.Errorf("%d events were accepted, want %d", got, want)
	}
	if got := r.metric(t, "qhook_relay_moved_total", ""); got != float64(want) {
		t.Errorf("qhook_relay_moved_total = %v, want %d", got, want)
	}
}

func TestRefusedRowsAreSetAside(t *testing.T) {
	t.Parallel()
	src, srv := newSource(t, pgtest.Shared(t)), newServer(t)
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	taken := created("taken", 1)
	taken.ID = "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"
	if _, err := client.New(srv.url, adminKey, client.WithHTTPClient(h)).Publish(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		switch n {
		case 3:
			src.exec(`INSERT INTO qhook_outbox (type, object_id, object_owner_id, owner_id) VALUES ('qap.wrong', 'wrong type', 'a', 'f')`)
		case 8:
			conflict := created("taken", 2)
			conflict.ID = taken.ID
			src.insert("default", conflict)
		case 11:
			deep := created("too deep", 1)
			src.exec(`INSERT INTO qhook_outbox (type, object_id, object_owner_id, owner_id, data) VALUES ($1, $2, 'a', 'f', $3)`,
				deep.Type, deep.ObjectID, `{"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`)
		case 13:
			src.exec(`INSERT INTO qhook_outbox (type, object_id, object_owner_id, owner_id, data)
				VALUES ('qap.investor.created', 'too large', 'a', 'f', $1)`, `{"a":"`+strings.Repeat("<", 262136)+`"}`)
		case 15:
			src.insert("nobody", created("wrong tenant", 1))
		}
		src.insert("default", created("good", n+1))
	}
	r := runRelay(t, relay.Config{Source: src.url, URL: srv.url, Key: adminKey, Poll: 50 * time.Millisecond})
	eventually(t, "no row waits", func() bool { return src.unsent() == 0 })
	for object, reason := range map[string]string{"wrong type": "422%type%is not an event type%",
		"taken": "409%other content%", "wrong tenant": "404%tenant%", "too deep": "422%nested%", "too large": "413%"} {
		if src.count("SELECT count(*) FROM qhook_outbox WHERE failed_at IS NOT NULL AND object_id = $1 AND error LIKE $2", object, reason) != 1 {
			t.Errorf("the row %q is not set aside with an error like %s", object, reason)
		}
	}
	if got := numbers(t, srv.accepted("default")); got != 21 {
		t.Errorf("%d events were accepted, want 21", got)
	}
	eventually(t, "five rows are counted", func() bool { return r.metric(t, "qhook_relay_set_aside_rows", "") == 5 })

	src.exec("UPDATE qhook_outbox SET type = 'qap.investor.updated', data = '{\"n\":1}', error = NULL, failed_at = NULL WHERE object_id = 'wrong type'")
	eventually(t, "the mended row is moved", func() bool { return src.count("SELECT count(*) FROM qhook_outbox") == 4 })
	events := srv.accepted("default")
	if last := events[len(events)-1]; last.ObjectID != "wrong type" {
		t.Errorf("the last event is of %q, want the mended one", last.ObjectID)
	}
	eventually(t, "four rows are counted", func() bool { return r.metric(t, "qhook_relay_set_aside_rows", "") == 4 })
}

// TestALateCommit commits a lower row after a higher one was moved.
func TestALateCommit(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k", Batch: 2})
	eventually(t, "the relay waits", func() bool { return r.Ready(t.Context()) == nil })
	late, err := pgx.Connect(t.Context(), src.url)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close(t.Context())
	query, args, err := outbox.Insert("", created("late", 1))
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), late, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), query, args...); err != nil {
			return err
		}
		src.insert("default", created("1", 1), created("2", 1), created("3", 1))
		eventually(t, "the higher rows are moved", func() bool { return a.objects() == "1 2 3" && src.unsent() == 0 })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the late row is moved", func() bool { return a.objects() == "1 2 3 late" && src.unsent() == 0 })
}

func TestTenantsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	var want []string
	for i, tenant := range []string{"a", "a", "b", "a", "c", "c", "c", "a"} {
		src.insert(tenant, created(fmt.Sprint(i), 1))
		want = append(want, fmt.Sprint(i))
	}
	runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k"})
	eventually(t, "the outbox is empty", func() bool { return src.unsent() == 0 })
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := strings.Join(a.taken, " "); got != strings.Join(want, " ") || a.requests != 5 {
		t.Errorf("%s came in %d requests, want %v in 5", got, a.requests, want)
	}
}

// TestCommand runs the command with its metrics.
func TestCommand(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	metrics := fmt.Sprintf("http://127.0.0.1:%d", pgtest.FreePort(t))
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	get := func(path string) (body string, ok bool) {
		resp, err := h.Get(metrics + path)
		if err != nil {
			return "", false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return string(b), err == nil && resp.StatusCode == http.StatusOK
	}
	source := strings.Replace(src.url, "postgres@", "postgres:hidden@", 1)
	p := newProcess(t, []string{"QHOOK_SOURCE=" + source, "QHOOK_URL=" + a.URL, "QHOOK_KEY=secret"}, "relay",
		"--metrics-listen", strings.TrimPrefix(metrics, "http://"), "--log-level", "debug", "--log-format", "json")
	p.start()
	eventually(t, "it is ready", func() bool { _, ok := get("/readyz"); return ok })
	src.insert("default", created("o", 1))
	eventually(t, "the row is moved", func() bool {
		b, ok := get("/metrics")
		return ok && strings.Contains(b, "\nqhook_relay_moved_total 1\n")
	})
	src.exec("DROP TABLE qhook_outbox")
	eventually(t, "it is not ready", func() bool { _, ok := get("/readyz"); return !ok })
	if _, ok := get("/livez"); !ok {
		t.Error("it does not live")
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d after SIGTERM, want 0", code)
	}
	logs := p.logs.String()
	if !strings.Contains(logs, "has no table qhook_outbox") && !strings.Contains(logs, "does not exist") {
		t.Errorf("the log does not say what is wrong:\n%s", logs)
	}
	if strings.Contains(logs, "hidden") || strings.Contains(logs, "secret") {
		t.Errorf("the log has a secret:\n%s", logs)
	}
}

func TestANotificationWakes(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k", Poll: time.Hour})
	eventually(t, "the relay waits", func() bool { return r.Ready(t.Context()) == nil })
	for i := range 20 {
		began := time.Now()
		src.insert("default", created(fmt.Sprint("o", i), 1))
		eventually(t, "the row is moved", func() bool { return src.count("SELECT count(*) FROM qhook_outbox") == 0 })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("row %d took %v", i, took)
		}
	}
}

func TestWithoutTheTriggerRowsAreFound(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	src.exec("DROP TRIGGER qhook_outbox_notify ON qhook_outbox")
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k", Poll: 20 * time.Millisecond})
	for i := range 5 {
		src.insert("default", created(fmt.Sprint("o", i), 1))
		eventually(t, "the row is moved", func() bool { return src.count("SELECT count(*) FROM qhook_outbox") == 0 })
	}
	if got := r.metric(t, "qhook_relay_errors_total", "source"); got != 0 {
		t.Errorf("qhook_relay_errors_total of the source = %v, want 0: looking is no failure", got)
	}
}

func TestLag(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	var down []http.HandlerFunc
	for range 1000 {
		down = append(down, status(503))
	}
	a.failWith(down...)
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k"})
	eventually(t, "the relay waits", func() bool { return r.Ready(t.Context()) == nil })
	if got := r.metric(t, "qhook_relay_lag_seconds", ""); got != 0 {
		t.Errorf("lag of an empty outbox = %v, want 0", got)
	}
	src.exec(`INSERT INTO qhook_outbox (type, object_id, object_owner_id, owner_id, written_at) SELECT 'qap.investor.created', 'o', 'a', 'f', now() - '1 hour'::interval FROM generate_series(1, 50)`)
	eventually(t, "the lag is an hour", func() bool { return r.metric(t, "qhook_relay_lag_seconds", "") >= 3600 })
	before := r.metric(t, "qhook_relay_lag_seconds", "")
	eventually(t, "the lag grows", func() bool { return r.metric(t, "qhook_relay_lag_seconds", "") > before })
	eventually(t, "the rows are counted", func() bool { return r.metric(t, "qhook_relay_backlog_rows", "") == 50 })
	if err := r.Ready(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "api: 503") {
		t.Errorf("Ready = %v, want what the API answers", err)
	}
	a.failWith()
	eventually(t, "the lag is 0", func() bool { return r.metric(t, "qhook_relay_lag_seconds", "") == 0 })
	if got := r.metric(t, "qhook_relay_backlog_rows", ""); got != 0 {
		t.Errorf("backlog = %v, want 0", got)
	}
}

func TestOneOfTwoWorks(t *testing.T) {
	t.Parallel()
	src, srv := newSource(t, pgtest.Shared(t)), newServer(t)
	named := func(name string) *running {
		return runRelay(t, relay.Config{Source: src.url + "&application_name=" + name, URL: srv.url, Key: adminKey, Poll: 50 * time.Millisecond})
	}
	const holder = `FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted
		AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND application_name = $1`
	holds := func(name string) bool { return src.count("SELECT count(*) "+holder, name) == 1 }
	first := named("first")
	eventually(t, "the first one works", func() bool { return holds("first") })
	second := named("second")
	eventually(t, "the second one waits", func() bool { return second.Ready(t.Context()) == nil })
	for n := range 300 {
		src.insert("default", created("o", n+1))
	}
	eventually(t, "the rows are moved", func() bool { return src.unsent() == 0 })
	eventually(t, "they are counted", func() bool { return first.metric(t, "qhook_relay_moved_total", "") == 300 })
	if got := second.metric(t, "qhook_relay_moved_total", ""); got != 0 {
		t.Errorf("the second relay moved %v rows, want 0", got)
	}
	eventually(t, "the second one takes over", func() bool {
		src.exec("SELECT pg_terminate_backend(pid) "+holder, "first") // it may come back before the second one looks
		return holds("second")
	})
	for n := range 300 {
		src.insert("default", created("o", n+301))
	}
	eventually(t, "the rows are moved", func() bool { return src.unsent() == 0 })
	eventually(t, "they are counted", func() bool { return second.metric(t, "qhook_relay_moved_total", "") == 300 })
	if got := numbers(t, srv.accepted("default")); got != 600 {
		t.Errorf("%d events were accepted, want 600", got)
	}
}

// TestErrorsHideThePassword takes a source that cannot be read, one where nobody listens, and one that has no outbox.
func TestErrorsHideThePassword(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"", "postgres://me:hid@den@127.0.0.1:port/db",
		"host=127.0.0.1 password=hidden port=x", "postgres://me:hidden@127.0.0.1/db?sslmode=no"} {
		if _, err := relay.New(relay.Config{Source: source}); err == nil || strings.Contains(err.Error(), "hid") || strings.Contains(err.Error(), "den@") {
			t.Errorf("New with source %q = %v, want an error without its password", source, err)
		}
	}
	empty := strings.Replace(pgtest.Shared(t).NewDatabase(t), "postgres@", "postgres:hidden@", 1)
	for source, want := range map[string]string{
		fmt.Sprintf("postgres://me:hidden@127.0.0.1:%d/db?sslmode=disable", pgtest.FreePort(t)): "refused",
		strings.Replace(empty, "qhook_test", "no_such", 1):                                      "does not exist",
		empty: "qhook relay --schema",
	} {
		r := runRelay(t, relay.Config{Source: source})
		eventually(t, want, func() bool { err := r.Ready(t.Context()); return err != nil && strings.Contains(err.Error(), want) })
		if err := r.Ready(t.Context()); strings.Contains(err.Error(), "hidden") {
			t.Errorf("Ready = %v, which shows the password", err)
		}
	}
}

func TestLimitsOfTheConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		batch int
		poll  time.Duration
		want  string // of the error; empty: taken
	}{
		{-1, 0, "between 1 and 1000"}, {0, 0, ""}, {1, 0, ""}, {999, 0, ""}, {1000, 0, ""}, {1001, 0,
			"between 1 and 1000"},
		{0, -1, "at least 1ms"}, {0, time.Millisecond - 1, "at least 1ms"}, {0, time.Millisecond, ""}, {0,
			time.Millisecond + 1, ""},
	} {
		cfg := relay.Config{Source: "postgres://127.0.0.1/x", URL: "http://127.0.0.1", Key: "k", Batch: c.batch,
			Poll: c.poll}
		if _, err := relay.New(cfg); (err == nil) != (c.want == "") || err != nil &&
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("New with a batch of %d and a poll of %v = %v, want %q", c.batch, c.poll, err, c.want)
		}
	}
}
