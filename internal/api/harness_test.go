package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

var _ Engine = (*engine.Engine)(nil)
var _ Guard = (*netguard.Guard)(nil)

// fakeEngine commits to the real store and delivers nothing.
type fakeEngine struct {
	store store.Store

	mu    sync.Mutex
	seq   store.Seq
	hooks map[int64]*webhook.Webhook
	fail  error
	retry []store.DeliveryKey
	asked []string // URLs whose targets were asked for consent
	panic any      // that RetryNow panics with; nil: it does not
}

func (e *fakeEngine) Accept(ctx context.Context, tenant string, evs []event.Event) ([]engine.Receipt, error) {
	return e.accept(ctx, tenant, evs, nil)
}

func (e *fakeEngine) accept(ctx context.Context, tenant string, evs []event.Event, c *store.Change) (
	[]engine.Receipt, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return nil, e.fail
	}
	sub := &store.Submission{Tenant: tenant, Change: c}
	for _, ev := range evs {
		e.seq++
		s := store.Submitted{Seq: e.seq, Event: ev, IDGiven: ev.ID != uuid.Nil, TimeGiven: !ev.Time.IsZero()}
		if !s.IDGiven {
			s.Event.ID = uuid.Must(uuid.NewV7())
		}
		if !s.TimeGiven {
			s.Event.Time = e.seq.Time()
		}
		for num := int64(1); num <= int64(len(e.hooks)); num++ {
			if w := e.hooks[num]; w != nil && w.Tenant == tenant && !w.Deleted() {
				s.Webhooks = append(s.Webhooks, num)
			}
		}
		s.Spilled = s.Webhooks
		sub.Events = append(sub.Events, s)
	}
	if err := e.store.Commit(ctx, &store.Batch{Submissions: []*store.Submission{sub}}); err != nil {
		return nil, err
	}
	if sub.Err != nil {
		return nil, sub.Err
	}
	var out []engine.Receipt
	for _, s := range sub.Events {
		r := engine.Receipt{ID: s.Event.ID, Type: s.Event.Type, Time: s.Event.Time, Deliveries: len(s.Webhooks)}
		if s.Duplicate {
			r.Time, r.Deliveries, r.Duplicate = s.StoredTime, s.StoredWebhooks, true
		}
		out = append(out, r)
	}
	return out, nil
}

func (e *fakeEngine) Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error {
	_, err := e.accept(ctx, tenant, evs, c)
	return err
}

func (e *fakeEngine) SetWebhook(w *webhook.Webhook) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hooks == nil {
		e.hooks = map[int64]*webhook.Webhook{}
	}
	e.hooks[w.Num] = w
	return nil
}

func (e *fakeEngine) Webhooks(tenant string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.hooks {
		if w.Tenant == tenant && !w.Deleted() {
			n++
		}
	}
	return n
}

func (e *fakeEngine) SameTarget(w *webhook.Webhook) (ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.hooks {
		if o.Tenant == w.Tenant && !o.Deleted() && o.ID != w.ID && o.Method == w.Method && o.URL == w.URL {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (e *fakeEngine) RetryNow(_ context.Context, key store.DeliveryKey) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panic != nil {
		panic(e.panic)
	}
	e.retry = append(e.retry, key)
	return nil
}

func (e *fakeEngine) Test(_ context.Context, w *webhook.Webhook, ev event.Event) (
	attempt.Result, attempt.Preview, error) {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return attempt.Result{}, attempt.Preview{}, err
	}
	now := time.Now()
	return attempt.Result{At: now, Duration: 5 * time.Millisecond, Verdict: attempt.Success, Sent: true, Status: 200,
		Response: []byte("thanks")}, t.Preview(&ev, now), nil
}

// Consent has targets whose path is /welcome consent.
func (e *fakeEngine) Consent(_ context.Context, w *webhook.Webhook, sender string) (attempt.Result, error) {
	r := attempt.Result{At: time.Now(), Verdict: attempt.Success, Sent: true, Status: 200}
	if strings.HasSuffix(w.URL, "/welcome") {
		r.Headers = [][2]string{{"webhook-allowed-origin", sender}}
	}
	e.mu.Lock()
	e.asked = append(e.asked, w.URL)
	e.mu.Unlock()
	return r, nil
}

type fakeGuard struct{}

func (fakeGuard) CheckTarget(host string, _ uint16, plainHTTP bool) error {
	if strings.HasSuffix(host, ".internal") || plainHTTP {
		return &netguard.RefusedError{Reason: "not a public address 10.9.8.7", Hint: "--allow-network"}
	}
	return nil
}

func (fakeGuard) ProxyState() (bool, int64) { return false, 0 }

// safeBuffer is a log that tests read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// rig is the API on a real store.
type rig struct {
	remote string // the address that requests come from; empty: httptest's
	t      testing.TB
	h      API
	store  store.Store
	engine *fakeEngine
	log    *safeBuffer
	keys   map[string]string // role, or tenant/role → API key

	mu   sync.Mutex
	seen []string // every answer, with its headers
}

// mustStore opens a store: SQLite, or what QHOOK_TEST_STORE names.
func mustStore(t testing.TB) store.Store {
	t.Helper()
	ring, err := webhook.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	var s store.Store
	switch kind := os.Getenv("QHOOK_TEST_STORE"); kind {
	case "":
		s, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "q.db"), Keyring: ring})
	case "postgres":
		var db *postgres.DB
		if db, err = postgres.Open(t.Context(),
			postgres.Config{URL: pgtest.Shared(t).NewDatabase(t), Keyring: ring, Pool: 3}); err == nil {
			s, err = db, db.Join(t.Context())
		}
	default:
		t.Fatalf("QHOOK_TEST_STORE=%s: there is no such store; leave it out or set postgres", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newRig(t testing.TB) *rig {
	t.Helper()
	db := mustStore(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &rig{t: t, store: db, engine: &fakeEngine{store: db, seq: store.SeqAt(now)}, log: &safeBuffer{},
		keys: map[string]string{}}
	for _, tenant := range []string{"default", "other"} {
		if err := db.CreateTenant(t.Context(), store.Tenant{ID: tenant, Name: tenant, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
		for _, role := range []store.Role{store.Publisher, store.Viewer, store.Admin} {
			r.keys[tenant+"/"+string(role)] = r.key(tenant, role)
		}
	}
	r.keys["operator"] = r.key("", store.Operator)
	var err error
	r.h, err = New(Config{Engine: r.engine, Store: db, Guard: fakeGuard{}, Version: "test", Sender: "hooks.example",
		Advisory: advisory.New(advisory.Config{Engine: r.engine, Store: db}),
		Logger:   slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) key(tenant string, role store.Role) string {
	r.t.Helper()
	plain, k := NewAPIKey(tenant, role, "test", time.Now())
	if err := r.store.CreateAPIKey(r.t.Context(), k); err != nil {
		r.t.Fatal(err)
	}
	return plain
}

type reply struct {
	code   int
	header http.Header
	body   string
	json   map[string]any
}

// call makes a request; who is a name of r.keys, or "" for no key. headers are pairs.
func (r *rig) call(who, method, target, body string, headers ...string) reply {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, rd)
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+r.keys[who])
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	if r.remote != "" {
		req.RemoteAddr = r.remote
	}
	w := httptest.NewRecorder()
	if prism := os.Getenv(viaPrism); prism != "" && r.remote == "" && takesIt(req) {
		w = r.through(prism, req)
	} else {
		r.h.ServeHTTP(w, req)
	}
	out := reply{w.Code, w.Header(), w.Body.String(), nil}
	_ = json.Unmarshal(w.Body.Bytes(), &out.json)
	r.mu.Lock()
	var hb strings.Builder
	_ = w.Header().Write(&hb)
	r.seen = append(r.seen, hb.String()+out.body)
	r.mu.Unlock()
	return out
}

// must calls and fails unless the status is code; every refusal must be a problem document.
func (r *rig) must(code int, who, method, target, body string, headers ...string) reply {
	r.t.Helper()
	p := r.call(who, method, target, body, headers...)
	if p.code != code {
		r.t.Fatalf("%s %s as %q = %d %s, want %d", method, target, who, p.code, p.body, code)
	}
	if code >= 400 {
		r.isProblem(p)
	}
	return p
}

func (r *rig) isProblem(p reply) {
	r.t.Helper()
	if ct := p.header.Get("Content-Type"); ct != problemType || p.json["status"] != float64(p.code) ||
		p.json["title"] != http.StatusText(p.code) || !strings.HasPrefix(p.str("type"), docsURL) {
		r.t.Errorf("%d is no problem document: %s %s", p.code, ct, p.body)
	}
}

func (p reply) str(name string) string { s, _ := p.json[name].(string); return s }

func (p reply) items() []map[string]any {
	var out []map[string]any
	list, _ := p.json["items"].([]any)
	for _, x := range list {
		out = append(out, x.(map[string]any))
	}
	return out
}

// locations are the fields of the violations, joined.
func (p reply) locations() string {
	var out []string
	list, _ := p.json["errors"].([]any)
	for _, x := range list {
		out = append(out, x.(map[string]any)["location"].(string))
	}
	return strings.Join(out, " ")
}

const (
	admin     = "default/admin"
	viewer    = "default/viewer"
	publisher = "default/publisher"
	operator  = "operator"
	foreign   = "other/admin"

	eventBody = `{"type":"qap.investor.created","object_id":"i1","object_owner_id":"a1","owner_id":"o1","data":{"n":123456789012345678901234567890,"t":"<é>"}}`
	hookBody  = `{"url":"https://hooks.example.com/a?b=c","method":"POST","event_types":["qap.investor.*"]}`
)

func TestMain(m *testing.M) {
	stop := func() {}
	if os.Getenv(viaPrism) != "" {
		var err error
		if stop, err = startPrism(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := pgtest.Main(m)
	stop()
	os.Exit(code)
}
