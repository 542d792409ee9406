package advisory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

func none(*office) {}

func softInvestor(o *office) { o.ok(o.SoftDeleteInvestor(ctx, o.firm, o.john.ID, nil)) }

func softSessions(o *office) {
	o.ok(o.SoftDeleteSession(ctx, o.firm, o.plan.ID, nil))
	o.ok(o.SoftDeleteSession(ctx, o.firm, o.done.ID, nil))
}

// The calls on an office, each as one who is told.

func complete(o *office, who advisory.Actor, id string) error {
	_, err := o.CompleteSession(ctx, who, id, nil, advisory.Once{})
	return err
}

func fillIn(o *office, who advisory.Actor, id string) error {
	_, err := o.UpdateSession(ctx, who, id, nil, retitle("Other"))
	return err
}

func restoreSession(o *office, who advisory.Actor, id string) error {
	_, err := o.RestoreSession(ctx, who, id, nil, advisory.Once{})
	return err
}

func report(o *office, who advisory.Actor, id string) error {
	_, err := o.CreateReport(ctx, who, id, advisory.Once{})
	return err
}

func createSession(o *office, who advisory.Actor) error {
	_, err := o.CreateSession(ctx, who, o.john.ID, store.AdviceSession{Title: "New"}, advisory.Once{})
	return err
}

func update(o *office, who advisory.Actor, edit func(*store.Investor) error) error {
	_, err := o.UpdateInvestor(ctx, who, o.john.ID, nil, edit)
	return err
}

func restore(o *office, who advisory.Actor) error {
	_, err := o.RestoreInvestor(ctx, who, o.john.ID, nil, advisory.Once{})
	return err
}

func createAdvisor(o *office, who advisory.Actor) error {
	_, err := o.CreateAdvisor(ctx, who, store.Advisor{Name: "Eve"}, advisory.Once{})
	return err
}

func renameAdvisor(o *office, who advisory.Actor) error {
	_, err := o.UpdateAdvisor(ctx, who, o.ann.Advisor, nil, func(a *store.Advisor) error { a.Name = "Eve"; return nil })
	return err
}

func createInvestor(o *office, who advisory.Actor, advisor string) error {
	_, err := o.CreateInvestor(ctx, who, store.Investor{AdvisorID: advisor, Type: "company", Name: "Doe AG"},
		advisory.Once{})
	return err
}

// broken are calls that break a rule. Each says so and does nothing.
var broken = []struct {
	name    string
	prepare func(*office)
	call    func(*office) error
	want    advisory.Rule
}{
	{"complete twice", none, func(o *office) error { return complete(o, o.firm, o.done.ID) }, advisory.RuleCompleted},
	{"fill in a completed session", none, func(o *office) error { return fillIn(o, o.ann, o.done.ID) },
		advisory.RuleCompleted},
	{"report of an open session", none, func(o *office) error { return report(o, o.firm, o.plan.ID) },
		advisory.RuleNotCompleted},

	{"update a deleted investor", softInvestor,
		func(o *office) error { return update(o, o.firm, renameInvestor("Joe")) }, advisory.RuleDeleted},
	{"soft-delete an investor twice", softInvestor,
		func(o *office) error { return o.SoftDeleteInvestor(ctx, o.ann, o.john.ID, nil) }, advisory.RuleDeleted},
	{"session of a deleted investor", softInvestor, func(o *office) error { return createSession(o, o.firm) },
		advisory.RuleDeleted},
	{"fill in a deleted session", softSessions, func(o *office) error { return fillIn(o, o.firm, o.plan.ID) },
		advisory.RuleDeleted},
	{"complete a deleted session", softSessions, func(o *office) error { return complete(o, o.firm, o.plan.ID) },
		advisory.RuleDeleted},
	{"soft-delete a session twice", softSessions,
		func(o *office) error { return o.SoftDeleteSession(ctx, o.firm, o.plan.ID, nil) }, advisory.RuleDeleted},
	{"report of a deleted session", softSessions, func(o *office) error { return report(o, o.firm, o.done.ID) },
		advisory.RuleDeleted},
	{"fill in, investor deleted", softInvestor, func(o *office) error { return fillIn(o, o.firm, o.plan.ID) },
		advisory.RuleDeleted},
	{"complete, investor deleted", softInvestor, func(o *office) error { return complete(o, o.firm, o.plan.ID) },
		advisory.RuleDeleted},
	{"soft-delete, investor deleted", softInvestor,
		func(o *office) error { return o.SoftDeleteSession(ctx, o.firm, o.plan.ID, nil) }, advisory.RuleDeleted},
	{"report, investor deleted", softInvestor, func(o *office) error { return report(o, o.firm, o.done.ID) },
		advisory.RuleDeleted},
	{"restore a session, investor deleted", func(o *office) { softSessions(o); softInvestor(o) },
		func(o *office) error { return restoreSession(o, o.firm, o.plan.ID) }, advisory.RuleDeleted},

	{"restore an investor that is there", none, func(o *office) error { return restore(o, o.ann) },
		advisory.RuleNotDeleted},
	{"restore a session that is there", none, func(o *office) error { return restoreSession(o, o.ann, o.plan.ID) },
		advisory.RuleNotDeleted},
	{"delete an advisor with an investor", none,
		func(o *office) error { return o.DeleteAdvisor(ctx, o.firm, o.ann.Advisor, nil) }, advisory.RuleOwnsInvestors},
	{"delete an advisor with a deleted investor", softInvestor,
		func(o *office) error { return o.DeleteAdvisor(ctx, o.firm, o.ann.Advisor, nil) }, advisory.RuleOwnsInvestors},
	{"one session too many", func(o *office) { o.fill(o.john, advisory.MaxSessions-2) },
		func(o *office) error { return createSession(o, o.firm) }, advisory.RuleTooMany},
	{"one too many, some deleted", func(o *office) { softSessions(o); o.fill(o.john, advisory.MaxSessions-2) },
		func(o *office) error { return createSession(o, o.ann) }, advisory.RuleTooMany},
	{"one key for two requests", func(o *office) {
		must(o.CreateAdvisor(ctx, o.firm, store.Advisor{Name: "Eve"}, onceFor("k", "Eve")))(o.t)
	}, func(o *office) error {
		_, err := o.CreateInvestor(ctx, o.firm, store.Investor{AdvisorID: o.ann.Advisor, Type: "person", Name: "Joe"},
			onceFor("k", "Joe"))
		return err
	}, advisory.RuleKeyReused},

	{"an advisor makes an advisor", none, func(o *office) error { return createAdvisor(o, o.ann) },
		advisory.RuleNotYours},
	{"an advisor changes themselves", none, func(o *office) error { return renameAdvisor(o, o.ann) },
		advisory.RuleNotYours},
	{"an advisor deletes an advisor", none,
		func(o *office) error { return o.DeleteAdvisor(ctx, o.ann, o.bob.Advisor, nil) }, advisory.RuleNotYours},
	{"an advisor makes another's investor", none,
		func(o *office) error { return createInvestor(o, o.ann, o.bob.Advisor) }, advisory.RuleNotYours},
	{"an advisor gives an investor away", none,
		func(o *office) error { return update(o, o.ann, moveTo(o.bob.Advisor)) }, advisory.RuleNotYours},
	{"others all the time", none, func(o *office) error {
		_, err := o.through(overtaken{}).UpdateInvestor(ctx, o.firm, o.john.ID, nil, renameInvestor("Joe"))
		return err
	}, advisory.RuleBusy},
}

// overtaken is an engine that others are always faster at.
type overtaken struct{}

// Change never holds.
func (overtaken) Change(context.Context, string, *store.Change, []event.Event) error {
	return store.ErrVersion
}

func TestRules(t *testing.T) {
	r, _ := newPlatform(t)
	reached := map[advisory.Rule]bool{}
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, r)
			tt.prepare(o)
			var err error
			triggered := o.news(func() { err = tt.call(o) })
			var e *advisory.Error
			if !errors.As(err, &e) || e.Rule != tt.want {
				t.Fatalf("call = %v (%s), want the rule %s", err, outcome(err), tt.want)
			}
			if e.Error() != e.Message || !strings.HasSuffix(e.Message, ".") {
				t.Errorf("Error() = %q, want a sentence", e.Error())
			}
			if len(triggered) != 0 {
				t.Errorf("events = %v, want none", triggered)
			}
			reached[e.Rule] = true
		})
	}
	for _, rule := range []advisory.Rule{advisory.RuleCompleted, advisory.RuleNotCompleted, advisory.RuleDeleted,
		advisory.RuleNotDeleted,
		advisory.RuleOwnsInvestors, advisory.RuleTooMany, advisory.RuleKeyReused, advisory.RuleNotYours, advisory.RuleBusy} {
		if !reached[rule] {
			t.Errorf("calls that break rule %s = 0, want some", rule)
		}
	}
}

// TestStrangersFindNothing has another advisor and another firm ask for everything: to them it is not there.
func TestStrangersFindNothing(t *testing.T) {
	r, _ := newPlatform(t)
	o, other := newOffice(t, r), newOffice(t, r)
	softened := must(o.CreateSession(ctx, o.firm, o.john.ID, store.AdviceSession{Title: "Soft"}, advisory.Once{}))(t)
	o.ok(o.SoftDeleteSession(ctx, o.firm, softened.ID, nil))
	made := must(o.CreateReport(ctx, o.firm, o.done.ID, advisory.Once{}))(t)
	calls := map[string]func(advisory.Actor) error{
		"Advisor": func(w advisory.Actor) error { _, err := o.Advisor(ctx, w, o.ann.Advisor); return err },
		"Investor": func(w advisory.Actor) error {
			_,
				err := o.Investor(ctx, w, o.john.ID, store.Either)
			return err
		},
		"UpdateInvestor":     func(w advisory.Actor) error { return update(o, w, renameInvestor("Joe")) },
		"SoftDeleteInvestor": func(w advisory.Actor) error { return o.SoftDeleteInvestor(ctx, w, o.john.ID, nil) },
		"RestoreInvestor":    func(w advisory.Actor) error { return restore(o, w) },
		"DeleteInvestor":     func(w advisory.Actor) error { return o.DeleteInvestor(ctx, w, o.john.ID, nil) },
		"Sessions": func(w advisory.Actor) error {
			_, err := o.Sessions(ctx, w, store.SessionFilter{InvestorID: o.john.ID}, 0, 9)
			return err
		},
		"Session": func(w advisory.Actor) error {
			_,
				err := o.Session(ctx, w, o.plan.ID, store.Either)
			return err
		},
		"CreateSession":     func(w advisory.Actor) error { return createSession(o, w) },
		"UpdateSession":     func(w advisory.Actor) error { return fillIn(o, w, o.plan.ID) },
		"CompleteSession":   func(w advisory.Actor) error { return complete(o, w, o.plan.ID) },
		"SoftDeleteSession": func(w advisory.Actor) error { return o.SoftDeleteSession(ctx, w, o.plan.ID, nil) },
		"RestoreSession":    func(w advisory.Actor) error { return restoreSession(o, w, softened.ID) },
		"DeleteSession":     func(w advisory.Actor) error { return o.DeleteSession(ctx, w, o.plan.ID, nil) },
		"CreateReport":      func(w advisory.Actor) error { return report(o, w, o.done.ID) },
		"Report": func(w advisory.Actor) error {
			_,
				err := o.Report(ctx, w, o.done.ID, made.ID)
			return err
		},
		"Reports": func(w advisory.Actor) error { _, err := o.Reports(ctx, w, o.done.ID, 0, 9); return err },
	}
	for name, call := range calls {
		for _, who := range []advisory.Actor{o.bob, other.firm, other.ann,
			{Tenant: other.firm.Tenant, Advisor: o.ann.Advisor}} {
			var err error
			triggered := o.news(func() { err = call(who) })
			if !errors.Is(err, store.ErrNotFound) || len(triggered) != 0 {
				t.Errorf("%s(%v) = %v and events %v, want not found and none", name, who, err, triggered)
			}
		}
	}
	for _, who := range []advisory.Actor{o.bob, other.firm} {
		list, err := o.Investors(ctx, who, store.InvestorFilter{AdvisorID: o.ann.Advisor, Presence: store.Either}, 0, 9)
		if err != nil || len(list) != 0 {
			t.Errorf("Investors(%v) = %v, %v, want none", who, list, err)
		}
	}
	if list, err := o.Investors(ctx, o.ann, store.InvestorFilter{}, 0, 9); err != nil || len(list) != 1 ||
		list[0].ID != o.john.ID {
		t.Errorf("Investors(%v) = %v, %v, want %s", o.ann, list, err, o.john.ID)
	}
	ids := func(who advisory.Actor, after int64) (ids []string) {
		for _, a := range must(o.Advisors(ctx, who, after, 9))(t) {
			ids = append(ids, a.ID)
		}
		return ids
	}
	if got := ids(o.firm, 0); !slices.Equal(got, []string{o.ann.Advisor, o.bob.Advisor}) {
		t.Errorf("Advisors(firm) = %v, want both", got)
	}
	if got := ids(o.bob, 0); !slices.Equal(got, []string{o.bob.Advisor}) {
		t.Errorf("Advisors(%v) = %v, want themselves", o.bob, got)
	}
	if got := ids(o.bob, 1<<40); len(got) != 0 {
		t.Errorf("Advisors(%v, after the last) = %v, want none", o.bob, got)
	}
}
