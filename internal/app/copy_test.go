package app_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var quiet = slog.New(slog.DiscardHandler)

// receiver answers 204 at /ok, 503 at /down until it is up, and holds what comes to /slow until it is up.
type receiver struct {
	*httptest.Server
	up chan struct{}

	mu  sync.Mutex
	got map[string][]string // IDs by path
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{up: make(chan struct{}), got: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var e client.Event
		body, _ := io.ReadAll(q.Body)
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("receiver: %v", err)
		}
		if q.URL.Path == "/slow" {
			select {
			case <-r.up:
			case <-q.Context().Done():
				return
			}
		}
		select {
		case <-r.up:
		default:
			if q.URL.Path == "/down" {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, "down for now")
				return
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[q.URL.Path] = append(r.got[q.URL.Path], e.ID)
		if q.URL.Path != "/slow" && (q.Header.Get("Authorization") != "Bearer secret-token" || q.Header.Get("X-Team") != "blue" || q.Header.Get("webhook-signature") == "") {
			t.Errorf("a request to %s came without its secrets: %v", q.URL.Path, q.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) has(path, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.got[path], id)
}

const adminKey = "the-operator's-key-of-the-copy-test"

// start runs a server until the returned function, or the test, ends it.
func start(t *testing.T, cfg app.Config) (*client.Client, func()) {
	t.Helper()
	cfg.Listen, cfg.AdminKey, cfg.AllowNetwork, cfg.Advisory = "127.0.0.1:0", adminKey, []string{"127.0.0.0/8"}, true
	cfg.Concurrency, cfg.DatabasePool, cfg.StopTimeout = 1, 8, 300*time.Millisecond
	cfg.Retention, cfg.UndeleteTime = 24*time.Hour, 24*time.Hour
	a, err := app.New(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() { _ = a.Stop(context.Background()) }) // what is under way is broken off
	t.Cleanup(stop)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client.New(a.URL(), adminKey), stop
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 10 seconds not: %s", what)
		}
	}
}

// content is what a filled store has.
type content struct {
	ok, down, slow, gone client.Webhook
	events               []client.Event // with their IDs
	made                 string         // ID of one that the server named
	investor             client.Investor
	session              client.AdviceSession
	report               client.Report
}

// fill puts something of everything into a server's store.
func fill(t *testing.T, c *client.Client, r *receiver) (x content) {
	ctx := t.Context()
	hook := func(path, pattern string) client.Webhook {
		return must(c.CreateWebhook(ctx, client.NewWebhook{
			URL: r.URL + path, Method: "POST", EventTypes: []string{pattern}, GenerateSigningKey: true, Description: "a “hook” for " + path,
			Auth: &client.Auth{Type: client.AuthBearer,
				Token: "secret-token"}, Headers: []client.Header{{Name: "X-Team", Value: "blue"}},
			RetrySchedule: []client.Duration{client.Duration(time.Hour)},
		}))(t)
	}
	x.gone = hook("/gone", "qap.investor.deleted")
	x.ok, x.down, x.slow = hook("/ok", "**"), hook("/down", "qap.investor.*"), hook("/slow", "qap.investor.created")
	if err := c.DeleteWebhook(ctx, x.gone.ID, x.gone.ETag); err != nil {
		t.Fatal(err)
	}
	must(c.CreateTenant(ctx, client.NewTenant{ID: "acme", Name: "Acme"}))(t)
	must(c.CreateAPIKey(ctx, client.NewAPIKey{Tenant: "acme", Role: client.RoleViewer, Name: "wall"}))(t)

	ada := must(c.CreateAdvisor(ctx, client.NewAdvisor{Name: "Ada Adler", Email: "ada@example.com"}, ""))(t)
	must(c.CreateAPIKey(ctx, client.NewAPIKey{Tenant: app.DefaultTenant, Role: client.RoleAdvisor, AdvisorID: ada.ID}))(t)
	x.investor = must(c.CreateInvestor(ctx,
		client.NewInvestor{AdvisorID: ada.ID, Type: "person", Name: "Jöhn \"Doe\" 株", Country: "NO"}, "the-key"))(t)
	second := must(c.CreateInvestor(ctx,
		client.NewInvestor{AdvisorID: ada.ID, Type: "company", Name: "Northwind"}, ""))(t)
	if err := c.DeleteInvestor(ctx, second.ID, false); err != nil {
		t.Fatal(err)
	}
	s := must(c.CreateAdviceSession(ctx, x.investor.ID,
		client.NewAdviceSession{Title: "Plan", Objective: "To retire.", RiskProfile: "balanced", HorizonYears: 15,
			Recommendation: "Stocks.\nBonds."}, ""))(t)
	x.session = must(c.CompleteAdviceSession(ctx, s.ID))(t)
	x.report = must(c.CreateReport(ctx, s.ID, ""))(t)

	types := must(c.EventTypes(ctx))(t)
	old := uuid.Must(uuid.Parse("00e3c6a1-7c00-7abc-8def-0123456789ab")) // version 7, of 2001
	for i := range 12 {
		e := types[i%len(types)].Example
		e.ID, e.Time = "", client.Time{}
		switch i {
		case 0:
			e.ID, e.Time = old.String(), client.At(time.UnixMilli(978307200123).UTC())
		case 1:
			e.ID = uuid.Must(uuid.NewV7()).String()
		case 2, 3, 4, 5:
			e.ID = uuid.NewString()
		}
		p := must(c.Publish(ctx, e))(t)
		if e.ID == "" {
			x.made = p.ID
		}
		e.ID = p.ID
		x.events = append(x.events, e)
	}
	settled := func(hook client.Webhook, ok func(client.Delivery) bool) func() bool {
		return func() bool {
			list := must(c.Deliveries(ctx, client.DeliveryQuery{WebhookID: hook.ID}))(t).Deliveries
			return len(list) > 0 && !slices.ContainsFunc(list, func(d client.Delivery) bool { return !ok(d) })
		}
	}
	eventually(t, "everything is delivered to /ok",
		settled(x.ok, func(d client.Delivery) bool { return d.Status == client.StatusDelivered }))
	eventually(t, "everything to /down waits",
		settled(x.down, func(d client.Delivery) bool { return !d.NextAttemptAt.IsZero() }))
	return x
}

// look reads everything that can be read back, but for the deliveries to /slow, which change.
func look(t *testing.T, c *client.Client, x content) string {
	t.Helper()
	ctx := t.Context()
	still := func(list []client.Delivery) []client.Delivery {
		return slices.DeleteFunc(list, func(d client.Delivery) bool { return d.WebhookID == x.slow.ID })
	}
	keys := must(c.APIKeys(ctx, client.KindAPIKey, ""))(t).Items
	for i := range keys {
		keys[i].UsedAt, keys[i].UsedFrom = client.Time{}, "" // this is a use
	}
	events := must(c.Events(ctx, client.EventQuery{Limit: 100}))(t).Events
	var all []any
	for _, e := range events {
		one := must(c.Event(ctx, e.ID))(t)
		one.Deliveries = still(one.Deliveries)
		all = append(all, one)
	}
	for _, d := range still(must(c.Deliveries(ctx, client.DeliveryQuery{Limit: 100}))(t).Deliveries) {
		all = append(all, must(c.Delivery(ctx, d.ID))(t))
	}
	all = append(all, events, must(c.Events(ctx, client.EventQuery{ObjectID: x.investor.ID}))(t),
		must(c.Webhooks(ctx, client.WebhookQuery{}))(t), keys,
		must(c.Advisors(ctx, ""))(t), must(c.Investors(ctx, client.InvestorQuery{}))(t), must(c.Investors(ctx,
			client.InvestorQuery{Deleted: true}))(t),
		must(c.AdviceSessions(ctx, x.investor.ID, client.AdviceSessionQuery{}))(t), must(c.Reports(ctx, x.session.ID,
			""))(t), must(c.Report(ctx, x.session.ID, x.report.ID))(t),
		// The same key gives the same investor.
		must(c.CreateInvestor(ctx, client.NewInvestor{AdvisorID: x.investor.AdvisorID, Type: "person", Name: x.investor.Name, Country: "NO"}, "the-key"))(t))
	return string(must(json.MarshalIndent(all, "", " "))(t))
}

// killed copies, and is ended after each few transactions, until it is done.
func killed(t *testing.T, cfg app.CopyConfig, each int) app.Copied {
	t.Helper()
	for run := 1; ; run++ {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		cfg.Batch = 3
		cfg.Progress = func(p app.CopyProgress) {
			if p.Step == "copying" {
				if n++; n == each {
					cancel()
				}
			}
		}
		done, err := app.Copy(ctx, cfg, quiet)
		cancel()
		if err == nil {
			if run < 4 {
				t.Errorf("the copy was ended %d times only", run-1)
			}
			t.Logf("%d runs", run)
			return done
		}
		if ctx.Err() == nil || run > 200 {
			t.Fatalf("run %d: %v", run, err)
		}
	}
}

func copyKey(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(to, "master.key"), must(os.ReadFile(filepath.Join(from, "master.key")))(t),
		0o600); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn := must(pgx.Connect(t.Context(), url))(t)
	defer conn.Close(context.Background())
	must(conn.Exec(t.Context(), sql))(t)
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("the copy = %v, want an error that says %q", err, what)
	}
}

func TestCopy(t *testing.T) {
	url := pgtest.Shared(t).NewDatabase(t)
	r := startReceiver(t)
	data, back := t.TempDir(), t.TempDir()
	c, stop := start(t, app.Config{Data: data})
	x := fill(t, c, r)
	want := look(t, c, x)
	_, err := app.Copy(t.Context(), app.CopyConfig{From: data, To: url}, quiet)
	refused(t, "another process", err)
	stop()

	there := killed(t, app.CopyConfig{From: data, To: url}, 8)
	if there.KeyFile != filepath.Join(data, "master.key") {
		t.Errorf("key file = %q, want the source's", there.KeyFile)
	}
	for _, table := range there.Tables {
		if !table.Same() || table.From == 0 {
			t.Errorf("table %s has %d rows, same: %t; want some and the same", table.Name, table.From, table.Same())
		}
	}
	copyKey(t, data, back)
	again := killed(t, app.CopyConfig{From: url, To: back}, 8)
	if !slices.Equal(again.Tables, there.Tables) {
		t.Errorf("copied back: %v, want %v", again.Tables, there.Tables)
	}
	c, stop = start(t, app.Config{Data: back})
	if got := look(t, c, x); got != want {
		t.Errorf("the copy that came back shows:\n%s\nwant:\n%s", got, want)
	}
	stop()

	c, _ = start(t, app.Config{Data: data, Database: url, MasterKeyset: string(must(os.ReadFile(filepath.Join(data, "master.key")))(t))})
	if got := look(t, c, x); got != want {
		t.Errorf("the copy shows:\n%s\nwant:\n%s", got, want)
	}
	_, err = app.Copy(t.Context(), app.CopyConfig{From: url, To: back}, quiet)
	refused(t, "used by 1 nodes", err)
	goesOn(t, c, r, x)
}

// goesOn has the server of a copy deliver what waited, and know what was published before.
func goesOn(t *testing.T, c *client.Client, r *receiver, x content) {
	ctx := t.Context()
	slow := must(c.Deliveries(ctx, client.DeliveryQuery{WebhookID: x.slow.ID}))(t).Deliveries
	down := must(c.Deliveries(ctx, client.DeliveryQuery{WebhookID: x.down.ID}))(t).Deliveries
	if len(slow) < 3 || len(down) < 3 {
		t.Fatalf("%d deliveries to /slow and %d to /down, want more", len(slow), len(down))
	}
	close(r.up)
	for _, d := range slow[:len(slow)-1] { // the oldest was under way, and waits its hour
		eventually(t, "what was queued is delivered", func() bool { return r.has("/slow", d.EventID) })
	}
	if r.has("/down", down[0].EventID) {
		t.Error("a delivery was made before its time")
	}
	if err := c.RetryDelivery(ctx, down[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a delivery that waited is delivered", func() bool { return r.has("/down", down[0].EventID) })

	count := func() int { return len(must(c.Events(ctx, client.EventQuery{Limit: 100}))(t).Events) }
	before := count()
	for _, e := range x.events {
		first := must(c.Event(ctx, e.ID))(t)
		if p := must(c.Publish(ctx, e))(t); p.ID != e.ID || !p.Time.Equal(first.Time.Time) {
			t.Errorf("event %s published again = %+v, want the time %v", e.ID, p, first.Time)
		}
		e.ObjectID = "another"
		if _, err := c.Publish(ctx, e); !client.IsStatus(err, http.StatusConflict) {
			t.Errorf("event %s published with other content = %v, want a conflict", e.ID, err)
		}
	}
	if n := count(); n != before {
		t.Errorf("%d events after their repetition, want %d", n, before)
	}
	must(c.CreateInvestor(ctx, client.NewInvestor{AdvisorID: x.investor.AdvisorID, Type: "person", Name: "New"}, ""))(t)
	must(c.CreateWebhook(ctx, client.NewWebhook{URL: r.URL + "/ok", Method: "POST", EventTypes: []string{"**"}}))(t)
}

func TestCopyRefuses(t *testing.T) {
	r := startReceiver(t)
	data := t.TempDir()
	c, stop := start(t, app.Config{Data: data})
	fill(t, c, r)
	stop()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	copyTo := func(cfg app.CopyConfig) error {
		cfg.From = data
		_, err := app.Copy(t.Context(), cfg, quiet)
		return err
	}

	other, strange := t.TempDir(), t.TempDir()
	_, stop = start(t, app.Config{Data: strange})
	stop()
	refused(t, "cannot be read with this master keyset",
		copyTo(app.CopyConfig{To: url, MasterKeyset: string(must(os.ReadFile(filepath.Join(strange, "master.key")))(t))}))
	refused(t, "cannot be read with this master keyset", copyTo(app.CopyConfig{To: strange}))
	refused(t, "copy "+filepath.Join(data, "master.key"), copyTo(app.CopyConfig{To: other}))
	refused(t, "name two", copyTo(app.CopyConfig{To: data}))
	copyKey(t, data, strange)
	refused(t, "rows in its table tenants that the source has not", copyTo(app.CopyConfig{To: strange}))

	// Somebody changes a row while both are compared.
	var changed atomic.Bool
	refused(t, "not the same as the source in: events",
		copyTo(app.CopyConfig{To: url, Progress: func(p app.CopyProgress) {
			if p.Step == "comparing" && changed.CompareAndSwap(false, true) {
				exec(t, url, `UPDATE events SET owner_id = owner_id || '.' WHERE seq = (SELECT max(seq) FROM events)`)
			}
		}}))
	refused(t, "rows in its table events that the source has not", copyTo(app.CopyConfig{To: url}))
	exec(t, url, `INSERT INTO nodes (id, slot, name, version, joined) VALUES (gen_random_uuid(), 1, 'dead', '', now())`)
	refused(t, "used by 1 nodes (dead)", copyTo(app.CopyConfig{To: url}))

	copyKey(t, data, other)
	if err := copyTo(app.CopyConfig{To: other}); err != nil {
		t.Errorf("from folder to folder: %v", err)
	}
	first, second := server.NewDatabase(t), server.NewDatabase(t)
	if err := copyTo(app.CopyConfig{To: first}); err != nil {
		t.Fatal(err)
	}
	_, err := app.Copy(t.Context(), app.CopyConfig{From: first, To: second}, quiet)
	refused(t, "the master keyset is missing", err)
	_, err = app.Copy(t.Context(), app.CopyConfig{From: first, To: second, MasterKeyset: string(must(os.ReadFile(filepath.Join(data, "master.key")))(t))}, quiet)
	if err != nil {
		t.Errorf("from database to database: %v", err)
	}
}
