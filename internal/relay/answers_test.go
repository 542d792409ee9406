package relay_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/relay"
)

// page is an answer that is no API's.
func page(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><h1>Please sign in</h1></html>")
	}
}

// problem is a refusal that looks like the API's.
func problem(status int, p client.Problem) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, p) }
}

// says answers with a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// echo answers with what was sent.
func echo(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.Copy(w, r.Body)
	}
}

const otherEvent = "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"

// answers are those that are no word of the server about a row.
var answers = map[string]http.HandlerFunc{
	"the connection is cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"half an answer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"half a receipt":   says(202, `{"events":[{"id":"`),
	"no content":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"an empty 202":     says(202, ""),
	"an empty object":  says(202, "{}"),
	"an echo":          echo(200),
	"an echo with 202": echo(202),
	"receipts of others": says(202,
		`{"id":"`+otherEvent+`","deliveries":1,"events":[{"id":"`+otherEvent+`","deliveries":1}]}`),
	"a captive portal":            page(200),
	"a captive portal's 511":      page(511),
	"a redirect to a login page":  page(302, "Location", "/login"),
	"a redirect that sends again": page(308, "Location", "http://127.0.0.1:1/v1/events"),
	"a redirect to nowhere":       page(301),
	"a proxy's sign-in":           page(401, "Www-Authenticate", "Basic"),
	"our wrong key":               problem(401, client.Problem{Detail: "The API key is not known here."}),
	"our wrong role": problem(403,
		client.Problem{Detail: "An API key of the role viewer may not do this."}),
	"another tenant's key":       problem(404, client.Problem{Detail: "There is no such tenant."}),
	"another tenant is unknown":  problem(404, client.Problem{Refused: "other"}),
	"a wrong address":            page(404),
	"another event in conflict":  problem(409, client.Problem{Refused: otherEvent}),
	"another program's conflict": problem(409, client.Problem{Title: "Conflict"}),
	"another event's rules":      problem(422, client.Problem{Refused: otherEvent}),
	"another program's rules":    problem(422, client.Problem{Type: "about:blank", Status: 422}),
	"another program's 400":      says(400, `{"error":"bad request"}`),
	"a row's name in a 403":      func(w http.ResponseWriter, r *http.Request) { named(w, r, http.StatusForbidden) },
	"a row's name in a 500": func(w http.ResponseWriter, r *http.Request) {
		named(w, r,
			http.StatusInternalServerError)
	},
	"a proxy's 400": page(400), "a proxy's 403": page(403), "405": page(405), "407": page(407), "408": page(408),
	"410": page(410), "a proxy's 413": page(413), "414": page(414), "415": page(415), "421": page(421), "422": page(422),
	"429": page(429, "Retry-After", "1"), "431": page(431), "451": page(451), "500": page(500), "501": page(501), "502": page(502),
	"503": page(503, "Retry-After", "3600"), "504": page(504), "507": problem(507, client.Problem{}), "599": page(599),
}

// named refuses the first event by its name.
func named(w http.ResponseWriter, r *http.Request, status int) {
	b, _ := io.ReadAll(r.Body)
	_, id, _ := strings.Cut(string(b), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	refuse(w, status, client.Problem{Refused: id})
}

// TestOnlyTheServersWordCounts takes answers that are no word of the server about a row: for one row and for many,
// nothing is set aside, nothing is deleted, the order is kept, and the log says once what is wrong.
func TestOnlyTheServersWordCounts(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 3} {
		t.Run(fmt.Sprint(rows, " rows"), func(t *testing.T) {
			t.Parallel()
			src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
			var want []string
			for name, answer := range answers {
				for range rows {
					want = append(want, fmt.Sprint("o", len(want)))
				}
				a.answer(answer)
				for _, object := range want[len(want)-rows:] {
					src.insert("default", created(object, 1))
				}
				rowsWait(t, name, src, a, rows)
				if got := a.objects(); got != strings.Join(want, " ") {
					t.Fatalf("%s: the events %s were accepted, want %v", name, got, want)
				}
			}
		})
	}
}

// rowsWait runs a relay until it has tried twice, then lets a answer as the API does, until the rows are moved.
func rowsWait(t *testing.T, name string, src *source, a *api, rows int) {
	t.Helper()
	var log lockedBuffer
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer r.stop()
	eventually(t, name+": it was tried twice",
		func() bool { return r.metric(t, "qhook_relay_errors_total", "api") >= 2 })
	if n := src.unsent(); n != rows {
		t.Errorf("%s: %d of %d rows wait, want all", name, n, rows)
	}
	if r.metric(t, "qhook_relay_waiting", "api") != 1 || r.Ready(t.Context()) == nil {
		t.Errorf("%s: the relay does not say that rows wait", name)
	}
	a.answer(nil)
	eventually(t, name+": the rows are moved",
		func() bool { return src.count("SELECT count(*) FROM qhook_outbox") == 0 })
	eventually(t, name+": it says so", func() bool { return strings.Contains(log.String(), "what was wrong is over") })
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%s: the log says %d times what is wrong, want once:\n%s", name, n, log.String())
	}
	if r.metric(t, "qhook_relay_waiting", "api") != 0 || r.metric(t, "qhook_relay_waiting", "source") != 0 {
		t.Errorf("%s: the relay says that rows wait, after they were moved", name)
	}
}

// TestNobodyWhoAnswers takes addresses at which there is no API at all.
func TestNobodyWhoAnswers(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	foreign := httptest.NewUnstartedServer(a) // of a certificate that is nobody's
	foreign.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	foreign.StartTLS()
	defer foreign.Close()
	src.insert("default", created("1", 1), created("2", 1))
	for name, url := range map[string]string{
		"a certificate of another": foreign.URL, "no TLS": strings.Replace(a.URL, "http:", "https:", 1),
		"no HTTP": strings.Replace(foreign.URL, "https:", "http:", 1), "no port": fmt.Sprintf("http://127.0.0.1:%d",
			pgtest.FreePort(t)),
		"no host": "http://no-such-host.invalid", "no URL": "http://[",
	} {
		r := runRelay(t, relay.Config{Source: src.url, URL: url, Key: "k"})
		eventually(t, name+": it was tried twice",
			func() bool { return r.metric(t, "qhook_relay_errors_total", "api") >= 2 })
		if n := src.unsent(); n != 2 {
			t.Errorf("%s: %d rows wait, want 2", name, n)
		}
		r.stop()
	}
	runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k"})
	eventually(t, "the rows are moved", func() bool { return a.objects() == "1 2" })
}

// TestNoRedirectIsFollowed sends the relay to another server, which would take the events.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	src, a, elsewhere := newSource(t, pgtest.Shared(t)), newAPI(t), newAPI(t)
	for i, status := range []int{301, 302, 303, 307, 308} {
		a.answer(page(status, "Location", elsewhere.URL+"/v1/events"))
		src.insert("default", created(fmt.Sprint(i), 1))
		rowsWait(t, fmt.Sprint(status), src, a, 1)
	}
	if got := elsewhere.objects(); got != "" || elsewhere.requests != 0 {
		t.Errorf("%d requests with the events %q went elsewhere, want none", elsewhere.requests, got)
	}
}

// TestAProxyThatTakesNoLargeBodies gets the rows in smaller requests.
func TestAProxyThatTakesNoLargeBodies(t *testing.T) {
	t.Parallel()
	src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
	a.failWith(status(413), status(413))
	src.insert("default", created("p", 1), created("q", 1), created("r", 1), created("s", 1))
	r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k"})
	eventually(t, "the rows are moved", func() bool { return a.objects() == "p q r s" && src.unsent() == 0 })
	if n := r.metric(t, "qhook_relay_errors_total", "api"); n != 0 {
		t.Errorf("qhook_relay_errors_total = %v, want 0", n)
	}
}

// TestATenantsKeyIsNoRowsFault has a key of one tenant and a row of another.
func TestATenantsKeyIsNoRowsFault(t *testing.T) {
	t.Parallel()
	src, srv := newSource(t, pgtest.Shared(t)), newServer(t)
	h := &http.Client{Transport: &http.Transport{}}
	defer h.CloseIdleConnections()
	operator := client.New(srv.url, adminKey, client.WithHTTPClient(h))
	if _, err := operator.CreateTenant(t.Context(), client.NewTenant{ID: "firm", Name: "Firm"}); err != nil {
		t.Fatal(err)
	}
	key, err := client.New(srv.url, adminKey, client.WithHTTPClient(h), client.WithTenant("firm")).
		CreateAPIKey(t.Context(), client.NewAPIKey{Role: client.RolePublisher, Name: "relay"})
	if err != nil {
		t.Fatal(err)
	}
	src.insert("firm", created("1", 1))
	src.insert("default", created("2", 1))
	r := runRelay(t, relay.Config{Source: src.url, URL: srv.url, Key: key.Key})
	eventually(t, "it was tried twice", func() bool { return r.metric(t, "qhook_relay_errors_total", "api") >= 2 })
	if n := src.unsent(); n != 1 {
		t.Errorf("%d rows wait, want the one of the other tenant", n)
	}
	r.stop()
	runRelay(t, relay.Config{Source: src.url, URL: srv.url, Key: adminKey})
	eventually(t, "the row is moved", func() bool { return src.unsent() == 0 })
	if n := src.count("SELECT count(*) FROM qhook_outbox"); n != 0 {
		t.Errorf("%d rows are set aside, want none", n)
	}
}

// TestALockedRowHoldsBackNoOther locks rows of every fate in every way.
func TestALockedRowHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"update": "UPDATE qhook_outbox SET owner_id = 'g' WHERE object_id = $1", "for update": "SELECT FROM qhook_outbox WHERE object_id = $1 FOR UPDATE",
		"for share": "SELECT FROM qhook_outbox WHERE object_id = $1 FOR SHARE", "for key share": "SELECT FROM qhook_outbox WHERE object_id = $1 FOR KEY SHARE",
		"delete": "DELETE FROM qhook_outbox WHERE object_id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, a := newSource(t, pgtest.Shared(t)), newAPI(t)
			src.insert("default", created("1", 1), created("locked", 1), created("3", 1), created("bad", 1),
				created("5", 1))
			other, err := pgx.Connect(t.Context(), src.url)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close(t.Context())
			tx, err := other.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range []string{"locked", "bad"} {
				if _, err := tx.Exec(t.Context(), lock, object); err != nil {
					t.Fatal(err)
				}
			}
			r := runRelay(t, relay.Config{Source: src.url, URL: a.URL, Key: "k", Poll: 20 * time.Millisecond})
			eventually(t, "the others are moved",
				func() bool { return a.objects() == "1 locked 3 5" && src.unsent() == 2 })
			src.insert("default", created("6", 1))
			eventually(t, "a later one is moved",
				func() bool { return a.objects() == "1 locked 3 5 6" && src.unsent() == 2 })
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the locked ones are done with", func() bool { return src.unsent() == 0 })
			aside := src.count("SELECT count(*) FROM qhook_outbox WHERE object_id = 'bad'")
			if all := src.count("SELECT count(*) FROM qhook_outbox"); all != aside ||
				(aside == 1) == (name == "delete") {
				t.Errorf("%d rows are set aside, %d of them the refused one", all, aside)
			}
			if n := r.metric(t, "qhook_relay_errors_total", "source"); n != 0 {
				t.Errorf("qhook_relay_errors_total of the source = %v, want 0", n)
			}
		})
	}
}
