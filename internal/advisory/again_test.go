package advisory_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

// TestMatch has every change ask the caller about the version: no is store.ErrVersion and does nothing.
func TestMatch(t *testing.T) {
	r, _ := newPlatform(t)
	for name, tt := range map[string]struct {
		prepare func(*office)
		call    func(*office, advisory.Match) error
		version int64
	}{
		"UpdateAdvisor": {none, func(o *office, m advisory.Match) error {
			_, err := o.UpdateAdvisor(ctx, o.firm, o.ann.Advisor, m,
				func(a *store.Advisor) error { a.Name = "Eve"; return nil })
			return err
		}, 1},
		"DeleteAdvisor": {none, func(o *office, m advisory.Match) error { return o.DeleteAdvisor(ctx, o.firm, o.bob.Advisor, m) }, 1},
		"UpdateInvestor": {none, func(o *office, m advisory.Match) error {
			_, err := o.UpdateInvestor(ctx, o.ann, o.john.ID, m, renameInvestor("Joe"))
			return err
		}, 1},
		"SoftDeleteInvestor": {none, func(o *office, m advisory.Match) error { return o.SoftDeleteInvestor(ctx, o.ann, o.john.ID, m) }, 1},
		"RestoreInvestor": {softInvestor, func(o *office, m advisory.Match) error {
			_, err := o.RestoreInvestor(ctx, o.ann, o.john.ID, m, advisory.Once{})
			return err
		}, 2},
		"DeleteInvestor": {softInvestor,
			func(o *office, m advisory.Match) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, m) }, 2},
		"UpdateSession": {none, func(o *office, m advisory.Match) error {
			_, err := o.UpdateSession(ctx, o.ann, o.plan.ID, m, retitle("Other"))
			return err
		}, 1},
		"CompleteSession": {none, func(o *office, m advisory.Match) error {
			_, err := o.CompleteSession(ctx, o.ann, o.plan.ID, m, advisory.Once{})
			return err
		}, 1},
		"SoftDeleteSession": {none, func(o *office, m advisory.Match) error { return o.SoftDeleteSession(ctx, o.ann, o.done.ID, m) }, 2},
		"RestoreSession": {softSessions, func(o *office, m advisory.Match) error {
			_, err := o.RestoreSession(ctx, o.ann, o.done.ID, m, advisory.Once{})
			return err
		}, 3},
		"DeleteSession": {softSessions,
			func(o *office, m advisory.Match) error { return o.DeleteSession(ctx, o.ann, o.done.ID, m) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			var err error
			triggered := o.news(func() { err = tt.call(o, func(int64) bool { return false }) })
			if !errors.Is(err, store.ErrVersion) || len(triggered) != 0 {
				t.Errorf("%s of another version = %v and events %v, want %v and none", name, err, triggered,
					store.ErrVersion)
			}
			if err := tt.call(o, func(v int64) bool { return v == tt.version }); err != nil {
				t.Errorf("%s of version %d = %v, want nil", name, tt.version, err)
			}
		})
	}
}

// again are the calls that an idempotency key makes safe to repeat; each gives the ID of its object.
var again = []struct {
	name    string
	prepare func(*office)
	call    func(*office, advisory.Actor, advisory.Once) (string, error)
	byFirm  bool // an advisor may not
	remove  func(*office, string) error
}{
	{"CreateAdvisor", none, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		a, err := o.CreateAdvisor(ctx, w, store.Advisor{Name: "Eve"}, once)
		return a.ID, err
	}, true, func(o *office, id string) error { return o.DeleteAdvisor(ctx, o.firm, id, nil) }},
	{"CreateInvestor", none, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		i, err := o.CreateInvestor(ctx, w, store.Investor{AdvisorID: o.ann.Advisor, Type: "person", Name: "Joe"}, once)
		return i.ID, err
	}, false, func(o *office, id string) error { return o.DeleteInvestor(ctx, o.firm, id, nil) }},
	{"CreateSession", none, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		x, err := o.CreateSession(ctx, w, o.john.ID, store.AdviceSession{Title: "New"}, once)
		return x.ID, err
	}, false, func(o *office, id string) error { return o.DeleteSession(ctx, o.firm, id, nil) }},
	{"CompleteSession", none, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		x, err := o.CompleteSession(ctx, w, o.plan.ID, nil, once)
		return x.ID, err
	}, false, func(o *office, id string) error { return o.DeleteSession(ctx, o.firm, id, nil) }},
	{"RestoreInvestor", softInvestor, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		i, err := o.RestoreInvestor(ctx, w, o.john.ID, nil, once)
		return i.ID, err
	}, false, func(o *office, id string) error { return o.DeleteInvestor(ctx, o.firm, id, nil) }},
	{"RestoreSession", softSessions, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		x, err := o.RestoreSession(ctx, w, o.done.ID, nil, once)
		return x.ID, err
	}, false, func(o *office, id string) error { return o.DeleteSession(ctx, o.firm, id, nil) }},
	{"CreateReport", none, func(o *office, w advisory.Actor, once advisory.Once) (string, error) {
		rep, err := o.CreateReport(ctx, w, o.done.ID, once)
		return rep.ID, err
	}, false, func(o *office, _ string) error { return o.DeleteSession(ctx, o.firm, o.done.ID, nil) }},
}

// TestRepeatedRequest repeats each call with its key: the same object and nothing new, as long as the key is
// remembered.
func TestRepeatedRequest(t *testing.T) {
	r, _ := newPlatform(t)
	for _, tt := range again {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			first := must(tt.call(o, o.firm, onceFor("k", "a")))(t)
			triggered := o.news(func() {
				if id, err := tt.call(o, o.firm, onceFor("k", "a")); id != first || err != nil {
					t.Errorf("%s again = %q, %v, want %q", tt.name, id, err, first)
				}
				if _, err := tt.call(o, o.firm, onceFor("k", "b")); outcome(err) != string(advisory.RuleKeyReused) {
					t.Errorf("%s of another request = %v, want %s", tt.name, err, advisory.RuleKeyReused)
				}
			})
			if len(triggered) != 0 {
				t.Errorf("events = %v, want none", triggered)
			}
			if id, err := tt.call(o, o.ann, onceFor("k", "b")); !tt.byFirm &&
				outcome(err) == string(advisory.RuleKeyReused) {
				t.Errorf("%s of another caller = %q, %v, want keys that do not meet", tt.name, id, err)
			}
			o.ok(tt.remove(o, first))
			if _, err := tt.call(o, o.firm, onceFor("k", "a")); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of what was removed = %v, want %v", tt.name, err, store.ErrNotFound)
			}
			r.advance(24*time.Hour + time.Millisecond)
			o.ok(r.Expire(ctx))
			if _, err := tt.call(o, o.firm, onceFor("k", "b")); outcome(err) == string(advisory.RuleKeyReused) {
				t.Errorf("%s a day later = %v, want the key to be forgotten", tt.name, err)
			}
		})
	}
}

// TestRepeatedRequestAtOnce sends each call with its key 16 times at once: one of them does it.
func TestRepeatedRequestAtOnce(t *testing.T) {
	r, _ := newPlatform(t)
	for _, tt := range again {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			var mu sync.Mutex
			ids := map[string]int{}
			triggered := o.news(func() {
				var wg sync.WaitGroup
				for range 16 {
					wg.Go(func() {
						id, err := tt.call(o, o.firm, onceFor("k", "a"))
						if err != nil {
							t.Errorf("%s = %v, want nil", tt.name, err)
						}
						mu.Lock()
						defer mu.Unlock()
						ids[id]++
					})
				}
				wg.Wait()
			})
			want := 1
			if tt.byFirm {
				want = 0
			}
			if len(ids) != 1 || len(triggered) != want {
				t.Errorf("%s = %v and %d events, want one object and %d", tt.name, ids, len(triggered), want)
			}
		})
	}
}

// lookedUp is a store where something happens right after an idempotency key is looked up, once.
type lookedUp struct {
	advisory.Store
	other func()
}

// IdempotencyKey looks the key up first.
func (l *lookedUp) IdempotencyKey(ctx context.Context, tenant, caller, key string) (store.IdempotencyKey, error) {
	k, err := l.Store.IdempotencyKey(ctx, tenant, caller, key)
	if f := l.other; f != nil {
		l.other = nil
		f()
	}
	return k, err
}

// TestRepeatedRequestBetween has the same request done after each call looked for it and before it planned its change.
func TestRepeatedRequestBetween(t *testing.T) {
	r, _ := newPlatform(t)
	for _, tt := range again {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			direct, late := *o, &lookedUp{Store: r.store}
			o.rig = &rig{Service: advisory.New(advisory.Config{Engine: r.engine, Store: late, Now: r.clock}),
				store: r.store, engine: r.engine, now: r.clock()}
			first, others := "", 0
			late.other = func() {
				others = len(direct.news(func() { first = must(tt.call(&direct, o.firm, onceFor("k", "a")))(t) }))
			}
			triggered := direct.news(func() {
				if id, err := tt.call(o, o.firm, onceFor("k", "a")); id != first || err != nil {
					t.Errorf("%s = %q, %v, want %q", tt.name, id, err, first)
				}
			})
			if len(triggered) != others {
				t.Errorf("events = %v, want the first's %d", triggered, others)
			}
		})
	}
}
