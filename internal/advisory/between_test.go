package advisory_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// TestAnotherChangeBetween commits another change right before each of these, which has to see it: what it comes to,
// and the events, are those of the one after the other.
func TestAnotherChangeBetween(t *testing.T) {
	r, _ := newPlatform(t)
	away := func(o *office) { o.ok(update(o, o.firm, moveTo(o.bob.Advisor))) }
	softPlan := func(o *office) { o.ok(o.SoftDeleteSession(ctx, o.firm, o.plan.ID, nil)) }
	softDone := func(o *office) { o.ok(o.SoftDeleteSession(ctx, o.firm, o.done.ID, nil)) }
	gone := func(o *office) { o.ok(o.DeleteInvestor(ctx, o.firm, o.john.ID, nil)) }
	expire := func(o *office) error { r.advance(2 * retention); return o.Expire(ctx) }
	for _, tt := range []struct {
		name           string
		prepare, other func(*office)
		call           func(*office) error
		want           string
		events         []string // of the call, after the other's
	}{
		{"update, given away", none, away, func(o *office) error { return update(o, o.ann, renameInvestor("Joe")) },
			"not found", nil},
		{"soft-delete, given away", none, away,
			func(o *office) error { return o.SoftDeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "not found", nil},
		{"delete, given away", none, away,
			func(o *office) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "not found", nil},
		{"create session, given away", none, away, func(o *office) error { return createSession(o, o.ann) },
			"not found", nil},
		{"fill in, given away", none, away, func(o *office) error { return fillIn(o, o.ann, o.plan.ID) },
			"not found", nil},
		{"complete, given away", none, away, func(o *office) error { return complete(o, o.ann, o.plan.ID) },
			"not found", nil},
		{"soft-delete session, given away", none, away,
			func(o *office) error { return o.SoftDeleteSession(ctx, o.ann, o.plan.ID, nil) }, "not found", nil},
		{"restore session, given away", softPlan, away,
			func(o *office) error { return restoreSession(o, o.ann, o.plan.ID) }, "not found", nil},
		{"delete session, given away", none, away,
			func(o *office) error { return o.DeleteSession(ctx, o.ann, o.plan.ID, nil) }, "not found", nil},
		{"report, given away", none, away, func(o *office) error { return report(o, o.ann, o.done.ID) },
			"not found", nil},

		{"create session, deleted", none, softInvestor, func(o *office) error { return createSession(o, o.ann) },
			"deleted", nil},
		{"complete, investor deleted", none, softInvestor,
			func(o *office) error { return complete(o, o.ann, o.plan.ID) }, "deleted", nil},
		{"complete, deleted", none, softPlan, func(o *office) error { return complete(o, o.ann, o.plan.ID) },
			"deleted", nil},
		{"complete, completed", none, func(o *office) { o.ok(complete(o, o.firm, o.plan.ID)) },
			func(o *office) error { return complete(o, o.ann, o.plan.ID) }, "completed", nil},
		{"complete, gone", none, gone, func(o *office) error { return complete(o, o.ann, o.plan.ID) },
			"not found", nil},
		{"create session, gone", none, gone, func(o *office) error { return createSession(o, o.ann) },
			"not found", nil},
		{"report, deleted", none, softDone, func(o *office) error { return report(o, o.ann, o.done.ID) },
			"deleted", nil},
		{"report, investor deleted", none, softInvestor, func(o *office) error { return report(o, o.ann, o.done.ID) },
			"deleted", nil},
		{"report, gone", none, gone, func(o *office) error { return report(o, o.ann, o.done.ID) }, "not found", nil},
		{"fill in, filled in", none, func(o *office) { o.ok(fillIn(o, o.firm, o.plan.ID)) },
			func(o *office) error { return fillIn(o, o.ann, o.plan.ID) }, "", nil},
		{"update, updated alike", none, func(o *office) { o.ok(update(o, o.firm, renameInvestor("Joe"))) },
			func(o *office) error { return update(o, o.ann, renameInvestor("Joe")) }, "", nil},
		{"delete, one session more", none, func(o *office) { o.ok(createSession(o, o.firm)) },
			func(o *office) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "",
			[]string{"advice.deleted", "advice.deleted", "advice.deleted", "deleted"}},
		{"delete, one session less", none, func(o *office) { o.ok(o.DeleteSession(ctx, o.firm, o.plan.ID, nil)) },
			func(o *office) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "", []string{"advice.deleted", "deleted"}},
		{"delete, a session replaced", none,
			func(o *office) { o.ok(o.DeleteSession(ctx, o.firm, o.plan.ID, nil)); o.ok(createSession(o, o.firm)) },
			func(o *office) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "", []string{"advice.deleted", "advice.deleted", "deleted"}},
		{"delete, a session completed", none, func(o *office) { o.ok(complete(o, o.firm, o.plan.ID)) },
			func(o *office) error { return o.DeleteInvestor(ctx, o.ann, o.john.ID, nil) }, "", []string{"advice.deleted", "advice.deleted", "deleted"}},
		{"delete advisor, an investor more", none, func(o *office) { o.ok(createInvestor(o, o.firm, o.bob.Advisor)) },
			func(o *office) error { return o.DeleteAdvisor(ctx, o.firm, o.bob.Advisor, nil) }, "owns_investors", nil},
		{"create investor, advisor gone", none,
			func(o *office) { o.ok(o.DeleteAdvisor(ctx, o.firm, o.bob.Advisor, nil)) },
			func(o *office) error { return createInvestor(o, o.firm, o.bob.Advisor) }, "invalid", nil},
		{"give away, advisor gone", none, func(o *office) { o.ok(o.DeleteAdvisor(ctx, o.firm, o.bob.Advisor, nil)) },
			func(o *office) error { return update(o, o.firm, moveTo(o.bob.Advisor)) }, "invalid", nil},
		{"expire, restored", softInvestor, func(o *office) { o.ok(restore(o, o.firm)) },
			expire, "", nil},
		{"expire session, restored", softPlan, func(o *office) { o.ok(restoreSession(o, o.firm, o.plan.ID)) },
			expire, "", nil},
		{"expire, gone", softInvestor, gone, expire, "", nil},
		{"expire, untouched", softInvestor, none, expire, "",
			[]string{"advice.deleted", "advice.deleted", "deleted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			direct, late := *o, &between{Engine: r.engine}
			o.rig = &rig{Service: r.through(late), store: r.store, engine: r.engine, now: r.clock()}
			others := 0
			late.other = func() { others = len(direct.news(func() { tt.other(&direct) })) }
			var err error
			triggered := direct.news(func() { err = tt.call(o) })
			if late.other != nil {
				t.Fatal("the call committed nothing")
			}
			var got []string
			for _, e := range triggered[others:] {
				got = append(got, e.Type[len("qap.investor."):])
			}
			if outcome(err) != tt.want || !slices.Equal(got, tt.events) {
				t.Errorf("call = %q and events %v, want %q and %v", outcome(err), got, tt.want, tt.events)
			}
			list, _ := o.events(t, o.firm.Tenant, 0)
			replay(t, list)
		})
	}
}

// TestRetentionIsToTheMoment expires what was soft-deleted longer ago than the retention time, and nothing else.
func TestRetentionIsToTheMoment(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	softSessions(o)
	r.advance(retention)
	if got := o.news(func() { o.ok(r.Expire(ctx)) }); len(got) != 0 {
		t.Errorf("events at the retention time = %v, want none", got)
	}
	r.advance(time.Millisecond)
	got := o.news(func() { o.ok(r.Expire(ctx)) })
	if len(got) != 2 || got[0].Owner != o.firm.Tenant {
		t.Errorf("events right after it = %v, want two of the firm", got)
	}
	if got := must(o.Sessions(ctx, o.firm, store.SessionFilter{InvestorID: o.john.ID, Presence: store.Either}, 0,
		9))(t); len(got) != 0 {
		t.Errorf("Sessions(%s) = %v, want none", o.john.ID, got)
	}
}

// TestExpireManyAndLoop has the loop remove more than one batch.
func TestExpireManyAndLoop(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	for range 120 {
		i := must(o.CreateInvestor(ctx, o.ann, store.Investor{Type: "person", Name: "Joe"}, advisory.Once{}))(t)
		o.ok(o.SoftDeleteInvestor(ctx, o.ann, i.ID, nil))
	}
	_, before := o.events(t, o.firm.Tenant, 0)
	r.advance(2 * retention)
	removed := make(chan struct{}, 120) // the engine says what is committed; nobody closes it
	s := r.through(announcing{r.engine, removed})
	s.Start()
	s.Start()
	limit := time.After(30 * time.Second)
	for n := range 120 {
		select {
		case <-removed:
		case <-limit:
			t.Fatalf("the loop removed %d investors, want 120", n)
		}
	}
	s.Stop()
	s.Stop()
	if got, _ := o.events(t, o.firm.Tenant, len(before)); len(got) != 120 {
		t.Errorf("events of the loop = %d, want 120", len(got))
	}
}

// announcing says when a change is committed.
type announcing struct {
	advisory.Engine
	done chan<- struct{}
}

// Change commits and says so.
func (a announcing) Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error {
	err := a.Engine.Change(ctx, tenant, c, evs)
	if err == nil {
		a.done <- struct{}{}
	}
	return err
}
