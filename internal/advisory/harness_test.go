package advisory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

// retention is how long what is soft-deleted can be restored in these tests.
const retention = time.Hour

// rig is the platform on a real store and engine, with a clock that the test sets.
type rig struct {
	*advisory.Service
	store  store.Store
	engine *engine.Engine

	mu   sync.Mutex
	now  time.Time
	sent map[uuid.UUID]bool // events that reached the receiver
}

// Send is the receiver: it takes everything.
func (r *rig) Send(_ context.Context, _ *attempt.Target, e *event.Event) attempt.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[e.ID] = true
	return attempt.Result{At: time.Now(), Verdict: attempt.Success, Sent: true, Status: 204}
}

// advance moves the clock.
func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	r.now = r.now.Add(d)
	r.mu.Unlock()
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
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

func newRig(t *testing.T) *rig {
	t.Helper()
	db := mustStore(t)
	r := &rig{store: db, now: time.Now().UTC().Truncate(time.Millisecond), sent: map[uuid.UUID]bool{}}
	r.engine = engine.New(engine.Config{Journal: db, Sender: r})
	if err := r.engine.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r.Service = advisory.New(advisory.Config{Engine: r.engine, Store: db, Now: r.clock, Retention: retention})
	return r
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

var tenants struct {
	sync.Mutex
	n int
}

// firm makes a tenant with a webhook that gets everything.
func (r *rig) firm(t fataler) advisory.Actor {
	t.Helper()
	tenants.Lock()
	tenants.n++
	id := fmt.Sprintf("firm-%d", tenants.n)
	tenants.Unlock()
	ctx := context.Background()
	err := r.store.CreateTenant(ctx, store.Tenant{ID: id, Name: "Firm", CreatedAt: r.clock()})
	w := &webhook.Webhook{ID: uuid.NewString(), Tenant: id, URL: "https://example.com/", Method: webhook.POST,
		EventTypes: []string{"**"},
		Auth:       webhook.Auth{Type: webhook.AuthNone}, Enabled: true, Timeout: time.Second, CreatedAt: r.clock(), UpdatedAt: r.clock()}
	if err == nil {
		err = r.store.CreateWebhook(ctx, w)
	}
	if err == nil {
		err = r.engine.SetWebhook(w)
	}
	if err != nil {
		t.Fatalf("make a firm: %v", err)
	}
	return advisory.Actor{Tenant: id}
}

// seen is an event without what the platform does not choose.
type seen struct{ Type, Object, ObjectOwner, Owner, Data string }

// events are the tenant's events, oldest first; only those after the first skip.
func (r *rig) events(t fataler, tenant string, skip int) (list []seen, ids []uuid.UUID) {
	t.Helper()
	found, err := r.store.ListEvents(context.Background(), tenant, store.EventFilter{}, 0, 1_000_000)
	if err != nil {
		t.Fatalf("ListEvents = %v", err)
	}
	for i := len(found) - 1 - skip; i >= 0; i-- {
		e := found[i].Event
		list = append(list, seen{e.Type, e.ObjectID, e.ObjectOwnerID, e.OwnerID, string(e.Data)})
		ids = append(ids, e.ID)
	}
	return list, ids
}

// outcome names what a call came to.
func outcome(err error) string {
	var rule *advisory.Error
	var v event.Violations
	switch {
	case err == nil:
		return ""
	case errors.As(err, &rule):
		return string(rule.Rule)
	case errors.As(err, &v):
		return "invalid"
	case errors.Is(err, store.ErrNotFound):
		return "not found"
	case errors.Is(err, store.ErrVersion):
		return "version"
	}
	return err.Error()
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
