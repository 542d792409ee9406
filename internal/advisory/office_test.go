package advisory_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// receiver is a Sender that takes everything and counts it.
type receiver struct {
	mu   sync.Mutex
	seen map[uuid.UUID]int
	more chan struct{} // Send says that seen grew; nobody closes it
}

// Send takes the event.
func (r *receiver) Send(_ context.Context, _ *attempt.Target, e *event.Event) attempt.Result {
	r.mu.Lock()
	r.seen[e.ID]++
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
	return attempt.Result{At: time.Now(), Verdict: attempt.Success, Sent: true, Status: 204}
}

// wantOnce waits until as many events have arrived, and wants exactly these, each once.
func (r *receiver) wantOnce(t *testing.T, want []uuid.UUID) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for arrived := 0; ; {
		r.mu.Lock()
		arrived = len(r.seen)
		r.mu.Unlock()
		if arrived >= len(want) {
			break
		}
		select {
		case <-r.more:
		case <-limit:
			t.Fatalf("the receiver got %d events, want %d", arrived, len(want))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) != len(want) {
		t.Errorf("the receiver got %d events, want %d", len(r.seen), len(want))
	}
	for _, id := range want {
		if r.seen[id] != 1 {
			t.Errorf("event %v arrived %d times, want once", id, r.seen[id])
		}
	}
}

// newPlatform is a rig whose receiver counts, and whose goroutines end with the test.
func newPlatform(t *testing.T) (*rig, *receiver) {
	t.Helper()
	if os.Getenv("QHOOK_TEST_STORE") == "" { // the shared PostgreSQL outlives the test
		ignore := goleak.IgnoreCurrent()
		t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	}
	db, got := mustStore(t), &receiver{seen: map[uuid.UUID]int{}, more: make(chan struct{}, 1)}
	r := &rig{store: db, now: time.Now().UTC().Truncate(time.Millisecond)}
	r.engine = engine.New(engine.Config{Journal: db, Sender: got})
	if err := r.engine.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.engine.Stop(context.Background()); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	})
	r.Service = r.through(r.engine)
	return r, got
}

// through is a service on the same store whose changes go through e.
func (r *rig) through(e advisory.Engine) *advisory.Service {
	return advisory.New(advisory.Config{Engine: e, Store: r.store, Now: r.clock, Retention: retention})
}

// between lets another change come between the plan of a change and its commit, once.
type between struct {
	advisory.Engine
	other func()
}

// Change runs the other change first.
func (b *between) Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error {
	if f := b.other; f != nil {
		b.other = nil
		f()
	}
	return b.Engine.Change(ctx, tenant, c, evs)
}

// office is a firm with two advisors; one of them has an investor with an open and a completed advice session.
type office struct {
	*rig
	t              *testing.T
	firm, ann, bob advisory.Actor
	john           store.Investor
	plan, done     store.AdviceSession
}

func newOffice(t *testing.T, r *rig) *office {
	t.Helper()
	o := &office{rig: r, t: t, firm: r.firm(t)}
	ann := must(r.CreateAdvisor(ctx, o.firm, store.Advisor{Name: "Ann"}, advisory.Once{}))(t)
	bob := must(r.CreateAdvisor(ctx, o.firm, store.Advisor{Name: "Bob"}, advisory.Once{}))(t)
	o.ann, o.bob = advisory.Actor{Tenant: o.firm.Tenant, Advisor: ann.ID}, advisory.Actor{Tenant: o.firm.Tenant,
		Advisor: bob.ID}
	o.john = must(r.CreateInvestor(ctx, o.firm, store.Investor{AdvisorID: ann.ID, Type: "person", Name: "John Doe"},
		advisory.Once{}))(t)
	o.plan = must(r.CreateSession(ctx, o.firm, o.john.ID, store.AdviceSession{Title: "Plan"}, advisory.Once{}))(t)
	o.done = must(r.CreateSession(ctx, o.firm, o.john.ID, store.AdviceSession{Title: "Done"}, advisory.Once{}))(t)
	o.done = must(r.CompleteSession(ctx, o.firm, o.done.ID, nil, advisory.Once{}))(t)
	return o
}

// ok wants that a preparation succeeds.
func (o *office) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("preparation = %v, want nil", err)
	}
}

// news are the events that f triggers.
func (o *office) news(f func()) []seen {
	o.t.Helper()
	_, before := o.events(o.t, o.firm.Tenant, 0)
	f()
	list, _ := o.events(o.t, o.firm.Tenant, len(before))
	return list
}

// must gives the value of a call that has to succeed: must(f())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func onceFor(key, request string) advisory.Once {
	return advisory.Once{Key: key, Request: sha256.Sum256([]byte(request))}
}

func renameInvestor(to string) func(*store.Investor) error {
	return func(i *store.Investor) error { i.Name = to; return nil }
}

func moveTo(advisor string) func(*store.Investor) error {
	return func(i *store.Investor) error { i.AdvisorID = advisor; return nil }
}

func retitle(to string) func(*store.AdviceSession) error {
	return func(s *store.AdviceSession) error { s.Title = to; return nil }
}

// fill makes n advice sessions of an investor, at once and past the service, which would count them each time.
func (o *office) fill(investor store.Investor, n int) {
	o.t.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error {
			now := o.clock()
			x := store.AdviceSession{InvestorID: investor.ID, Title: fmt.Sprint("Session ", i),
				Object: store.Object{Tenant: o.firm.Tenant,
					ID: uuid.NewString(), Version: 1, CreatedAt: now, UpdatedAt: now}}
			return o.engine.Change(ctx, o.firm.Tenant, &store.Change{Session: &x}, nil)
		})
	}
	o.ok(g.Wait())
}
