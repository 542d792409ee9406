package advisory_test

import (
	"context"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

var ctx = context.Background()

func (x *machine) createAdvisor() {
	who, name := x.actor(), x.name()
	if len(x.m.advisors) > 3 {
		return
	}
	a, err := x.CreateAdvisor(ctx, who, store.Advisor{Name: name}, advisory.Once{})
	want := ""
	if who.Advisor != "" {
		want = string(advisory.RuleNotYours)
	}
	if x.want("CreateAdvisor", err, want) {
		x.m.advisors[a.ID] = name
	}
}

func (x *machine) renameAdvisor() {
	who, id := x.actor(), x.one(slices.Collect(maps.Keys(x.m.advisors)))
	name := rapid.SampledFrom([]string{"", x.m.advisors[id], x.name()}).Draw(x.t, "name")
	_, err := x.UpdateAdvisor(ctx, who, id, nil, func(a *store.Advisor) error { a.Name = name; return nil })
	want := ""
	if who.Advisor != "" {
		want = string(advisory.RuleNotYours)
	} else if _, ok := x.m.advisors[id]; !ok {
		want = "not found"
	} else if name == "" {
		want = "invalid"
	}
	if x.want("UpdateAdvisor", err, want) {
		x.m.advisors[id] = name
	}
}

func (x *machine) deleteAdvisor() {
	who, id := x.actor(), x.one(slices.Collect(maps.Keys(x.m.advisors)))
	want := ""
	if who.Advisor != "" {
		want = string(advisory.RuleNotYours)
	} else if _, ok := x.m.advisors[id]; !ok {
		want = "not found"
	} else if x.m.advisorsInvestors(id) > 0 {
		want = string(advisory.RuleOwnsInvestors)
	}
	if x.want("DeleteAdvisor", x.DeleteAdvisor(ctx, who, id, nil), want) {
		delete(x.m.advisors, id)
	}
}

func (x *machine) createInvestor() {
	who := x.actor()
	advisor := rapid.SampledFrom(append(slices.Sorted(maps.Keys(x.m.advisors)), "", "none")).Draw(x.t, "advisor")
	request := "investor of " + advisor
	once, key := x.once(who, request)
	i, err := x.CreateInvestor(ctx, who, store.Investor{AdvisorID: advisor, Type: "person", Name: "John"}, once)
	if advisor == "" {
		advisor = who.Advisor
	}
	object, refusal := x.repeated(key, request)
	_, known := x.m.advisors[advisor]
	want := ""
	switch {
	case advisor == "":
		want = "invalid"
	case who.Advisor != "" && advisor != who.Advisor:
		want = string(advisory.RuleNotYours)
	case refusal != "":
		want = refusal
	case object != "":
		if x.m.investor(who, object) == nil {
			want = "not found"
		}
		x.want("CreateInvestor again", err, want)
		return
	case !known:
		want = "invalid"
	}
	if !x.want("CreateInvestor", err, want) {
		return
	}
	if key != "" {
		x.m.keys[key] = used{request, i.ID, x.clock()}
	}
	x.m.investors[i.ID] = &mInvestor{advisor: advisor, name: "John", version: 1}
	x.m.onInvestor("created", i.ID, who, `{"investor_type":"person","investor_name":"John"}`)
}

func (x *machine) updateInvestor() {
	who, id := x.actor(), x.anInvestor()
	var now int64
	if i := x.m.investors[id]; i != nil {
		now = i.version
	}
	v, match := x.version(now)
	name := rapid.SampledFrom([]string{"keep", "", x.name()}).Draw(x.t, "name")
	email := rapid.SampledFrom([]string{"keep", "", "a@b.example", "no address"}).Draw(x.t, "email")
	_, err := x.UpdateInvestor(ctx, who, id, match, func(i *store.Investor) error {
		if name != "keep" {
			i.Name = name
		}
		if email != "keep" {
			i.Email = email
		}
		return nil
	})
	i, want := x.m.change(who, id, v)
	if want == "" && (name == "" || email == "no address") {
		want = "invalid"
	}
	if !x.want("UpdateInvestor", err, want) {
		return
	}
	var names []string
	if name != "keep" && name != i.name {
		i.name, names = name, append(names, "investor_name")
	}
	if email != "keep" && email != i.email {
		i.email, names = email, append(names, "email")
	}
	if len(names) > 0 {
		i.version++
		x.m.onInvestor("updated", id, who, changed(names...))
	}
}

func (x *machine) moveInvestor() {
	who, id := x.actor(), x.anInvestor()
	to := rapid.SampledFrom(append(slices.Sorted(maps.Keys(x.m.advisors)), "none")).Draw(x.t, "advisor")
	_, err := x.UpdateInvestor(ctx, who, id, nil, func(i *store.Investor) error { i.AdvisorID = to; return nil })
	i, want := x.m.change(who, id, 0)
	if want == "" && i.advisor != to {
		if _, known := x.m.advisors[to]; who.Advisor != "" {
			want = string(advisory.RuleNotYours)
		} else if !known {
			want = "invalid"
		}
	}
	if x.want("UpdateInvestor to another advisor", err, want) && i.advisor != to {
		i.advisor, i.version = to, i.version+1
		x.m.onInvestor("updated", id, who, changed("advisor_id"))
	}
}

func (x *machine) softDeleteInvestor() {
	who, id := x.actor(), x.anInvestor()
	i, want := x.m.change(who, id, 0)
	if x.want("SoftDeleteInvestor", x.SoftDeleteInvestor(ctx, who, id, nil), want) {
		i.deleted, i.version = x.clock(), i.version+1
		x.m.onInvestor("soft_deleted", id, who, "{}")
	}
}

func (x *machine) restoreInvestor() {
	who, id := x.actor(), x.anInvestor()
	_, err := x.RestoreInvestor(ctx, who, id, nil, advisory.Once{})
	i := x.m.investor(who, id)
	want := ""
	if i == nil {
		want = "not found"
	} else if i.deleted.IsZero() {
		want = string(advisory.RuleNotDeleted)
	}
	if x.want("RestoreInvestor", err, want) {
		i.deleted, i.version = time.Time{}, i.version+1
		x.m.onInvestor("updated", id, who, changed("deleted_at"))
	}
}

func (x *machine) deleteInvestor() {
	who, id := x.actor(), x.anInvestor()
	want := ""
	if x.m.investor(who, id) == nil {
		want = "not found"
	}
	if x.want("DeleteInvestor", x.DeleteInvestor(ctx, who, id, nil), want) {
		x.m.removeInvestor(id, who)
	}
}

func (x *machine) createSession() {
	who, id, title := x.actor(), x.anInvestor(), x.name()
	s, err := x.CreateSession(ctx, who, id, store.AdviceSession{Title: title}, advisory.Once{})
	_, want := x.m.change(who, id, 0)
	if x.want("CreateSession", err, want) {
		x.m.sessions[s.ID] = &mSession{investor: id, title: title, version: 1}
		x.m.order = append(x.m.order, s.ID)
		x.m.onSession("created", s.ID, who, `{"title":"`+title+`"}`)
	}
}

func (x *machine) fillIn() {
	who, id := x.actor(), x.aSession()
	title := rapid.SampledFrom([]string{"keep", x.name()}).Draw(x.t, "title")
	_, err := x.UpdateSession(ctx, who, id, nil, func(s *store.AdviceSession) error {
		if title != "keep" {
			s.Title = title
		}
		return nil
	})
	s, want := x.m.open(who, id, 0)
	if want == "" && s.completed {
		want = string(advisory.RuleCompleted)
	}
	if x.want("UpdateSession", err, want) && title != "keep" {
		s.title, s.version = title, s.version+1
	}
}

func (x *machine) complete() {
	who, id := x.actor(), x.aSession()
	var now int64
	if s := x.m.sessions[id]; s != nil {
		now = s.version
	}
	v, match := x.version(now)
	once, key := x.once(who, "complete "+id)
	_, err := x.CompleteSession(ctx, who, id, match, once)
	object, want := x.repeated(key, "complete "+id)
	if object != "" {
		if x.m.session(who, object) == nil {
			want = "not found"
		}
		x.want("CompleteSession again", err, want)
		return
	}
	var s *mSession
	if want == "" {
		if s, want = x.m.open(who, id, v); want == "" && s.completed {
			want = string(advisory.RuleCompleted)
		}
	}
	if !x.want("CompleteSession", err, want) {
		return
	}
	if key != "" {
		x.m.keys[key] = used{"complete " + id, id, x.clock()}
	}
	s.completed, s.version = true, s.version+1
	x.m.onSession("completed", id, who, `{"title":"`+s.title+`"}`)
}

func (x *machine) softDeleteSession() {
	who, id := x.actor(), x.aSession()
	s, want := x.m.open(who, id, 0)
	if x.want("SoftDeleteSession", x.SoftDeleteSession(ctx, who, id, nil), want) {
		s.deleted, s.version = x.clock(), s.version+1
		x.m.onSession("soft_deleted", id, who, "{}")
	}
}

func (x *machine) restoreSession() {
	who, id := x.actor(), x.aSession()
	_, err := x.RestoreSession(ctx, who, id, nil, advisory.Once{})
	s, want := x.m.open(who, id, 0)
	switch {
	case want == "":
		want = string(advisory.RuleNotDeleted)
	case s != nil && x.m.investors[s.investor].deleted.IsZero():
		want = ""
	}
	if x.want("RestoreSession", err, want) {
		s.deleted, s.version = time.Time{}, s.version+1
		x.m.onInvestor("updated", s.investor, who, `{"changed":["advice_sessions"],"advice_session_id":"`+id+`"}`)
	}
}

func (x *machine) deleteSession() {
	who, id := x.actor(), x.aSession()
	want := ""
	if x.m.session(who, id) == nil {
		want = "not found"
	}
	if x.want("DeleteSession", x.DeleteSession(ctx, who, id, nil), want) {
		x.m.removeSession(id, who)
	}
}

func (x *machine) report() {
	who, id := x.actor(), x.aSession()
	s, want := x.m.open(who, id, 0)
	if want == "" && !s.completed {
		want = string(advisory.RuleNotCompleted)
	}
	if want == "" && s.reports == 2 {
		return // each takes milliseconds to make
	}
	r, err := x.CreateReport(ctx, who, id, advisory.Once{})
	if x.want("CreateReport", err, want) {
		s.reports++
		x.m.onSession("report.created", id, who, `{"report_id":"`+r.ID+`","content_type":"application/pdf"}`)
	}
}

func (x *machine) expire() {
	x.advance(rapid.SampledFrom([]time.Duration{time.Minute, retention / 2, 2 * retention}).Draw(x.t, "wait"))
	x.want("Expire", x.Expire(ctx), "")
	x.m.expire(x.clock())
}
