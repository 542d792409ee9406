package advisory_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// fields are those that an error's violations name; nil when it is another error.
func fields(err error) (names []string) {
	var v event.Violations
	if !errors.As(err, &v) {
		return nil
	}
	for _, x := range v {
		if x.Message == "" {
			return []string{x.Field + " without a message"}
		}
		names = append(names, x.Field)
	}
	return names
}

// TestLines has every property that is one line refuse what is none, or what looks like another text.
func TestLines(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	for name, bad := range map[string]string{
		"too long": strings.Repeat("ż",
			advisory.MaxName+1), "line feed": "a\nb", "tab": "a\tb", "NUL": "a\x00b", "C1": "a\u0085b",
		"line separator": "a\u2028b", "paragraph separator": "a\u2029b", "direction": "a\u202eb", "isolate": "a\u2066b", "not UTF-8": "a\xffb",
	} {
		triggered := o.news(func() {
			_, err := o.CreateAdvisor(ctx, o.firm, store.Advisor{Name: bad}, advisory.Once{})
			if got, want := fields(err), []string{"name"}; !slices.Equal(got, want) {
				t.Errorf("CreateAdvisor(%s) = %v, want violations of %v", name, err, want)
			}
			_, err = o.UpdateInvestor(ctx, o.ann, o.john.ID, nil,
				func(i *store.Investor) error { i.Name, i.Reference = bad, bad; return nil })
			if got, want := fields(err), []string{"investor_name", "reference"}; !slices.Equal(got, want) {
				t.Errorf("UpdateInvestor(%s) = %v, want violations of %v", name, err, want)
			}
			_, err = o.UpdateSession(ctx, o.ann, o.plan.ID, nil, retitle(bad))
			if got, want := fields(err), []string{"title"}; !slices.Equal(got, want) {
				t.Errorf("UpdateSession(%s) = %v, want violations of %v", name, err, want)
			}
		})
		if len(triggered) != 0 {
			t.Errorf("events after %s = %v, want none", name, triggered)
		}
	}
}

// TestViolations tells every broken rule of a request at once, in the order of the fields.
func TestViolations(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	long := strings.Repeat("x", advisory.MaxText+1)
	advisor := func(a store.Advisor) error { _, err := o.CreateAdvisor(ctx, o.firm, a, advisory.Once{}); return err }
	investor := func(who advisory.Actor, i store.Investor) error {
		_, err := o.CreateInvestor(ctx, who, i, advisory.Once{})
		return err
	}
	session := func(x store.AdviceSession) error {
		_, err := o.CreateSession(ctx, o.ann, o.john.ID, x, advisory.Once{})
		return err
	}
	person := store.Investor{AdvisorID: o.ann.Advisor, Type: "person", Name: "Joe"}
	with := func(edit func(*store.Investor)) store.Investor { i := person; edit(&i); return i }
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"empty advisor":   {advisor(store.Advisor{}), []string{"name"}},
		"blank advisor":   {advisor(store.Advisor{Name: " \t\n"}), []string{"name"}},
		"advisor's email": {advisor(store.Advisor{Name: "Eve", Email: "Eve <eve@example.com>"}), []string{"email"}},
		"all of advisor":  {advisor(store.Advisor{Email: "@"}), []string{"name", "email"}},
		"empty investor": {investor(o.firm, store.Investor{}),
			[]string{"advisor_id", "investor_type", "investor_name"}},
		"own investor": {investor(o.ann, store.Investor{}), []string{"investor_type", "investor_name"}},
		"unknown advisor": {investor(o.firm, with(func(i *store.Investor) { i.AdvisorID = o.john.ID })),
			[]string{"advisor_id"}},
		"investor's email": {investor(o.firm, with(func(i *store.Investor) { i.Email = strings.Repeat("x", 250) + "@b.ch" })), []string{"email"}},
		"hidden direction": {investor(o.firm, with(func(i *store.Investor) { i.Email = "a\u202e@b.ch" })),
			[]string{"email"}},
		"small country": {investor(o.firm, with(func(i *store.Investor) { i.Country = "ch" })), []string{"country"}},
		"long country": {investor(o.firm, with(func(i *store.Investor) { i.Country = "CHE" })),
			[]string{"country"}},
		"one letter of two bytes": {investor(o.firm, with(func(i *store.Investor) { i.Country = "É" })),
			[]string{"country"}},
		"long reference": {investor(o.firm, with(func(i *store.Investor) { i.Reference = long[:advisory.MaxReference+1] })), []string{"reference"}},
		"all of investor": {investor(o.firm, store.Investor{Type: "dog", Email: "x", Country: "?", Reference: "\x01"}),
			[]string{"advisor_id", "investor_type", "investor_name", "email", "country", "reference"}},
		"empty session":    {session(store.AdviceSession{}), []string{"title"}},
		"unknown profile":  {session(store.AdviceSession{Title: "T", RiskProfile: "Growth"}), []string{"risk_profile"}},
		"negative horizon": {session(store.AdviceSession{Title: "T", HorizonYears: -1}), []string{"horizon_years"}},
		"all of session": {session(store.AdviceSession{Objective: long, RiskProfile: "x", HorizonYears: 101,
			Recommendation: "a\x00b"}),
			[]string{"title", "objective", "risk_profile", "horizon_years", "recommendation"}},
		"session's edit": {update(o, o.firm, func(i *store.Investor) error {
			i.Type, i.Email = "dog", "x"
			return event.Violations{{Field: "email", Message: "must be text"}}
		}), []string{"email", "investor_type"}},
		"moved to nobody": {update(o, o.firm, moveTo("nobody")), []string{"advisor_id"}},
	} {
		if got := fields(tt.err); !slices.Equal(got, tt.want) {
			t.Errorf("violations of %s = %v (%v), want %v", name, got, tt.err, tt.want)
		}
	}
	other := errors.New("other")
	if err := update(o, o.firm, func(i *store.Investor) error { i.Type = ""; return other }); !errors.Is(err, other) {
		t.Errorf("UpdateInvestor with an edit that fails = %v, want its error", err)
	}
}

// TestLimitsAreTaken makes objects whose properties are as long as they can be, and blank around.
func TestLimitsAreTaken(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	name := strings.Repeat("ż", advisory.MaxName)
	a := must(o.CreateAdvisor(ctx, o.firm, store.Advisor{Name: " " + name + "\n", Email: " jane@example.com "},
		advisory.Once{}))(t)
	if a.Name != name || a.Email != "jane@example.com" {
		t.Errorf("CreateAdvisor = %+v, want it without the blanks", a)
	}
	i := must(o.CreateInvestor(ctx, o.firm, store.Investor{AdvisorID: a.ID, Type: "company", Name: name, Country: "CH",
		Reference: strings.Repeat("ż", advisory.MaxReference), Email: strings.Repeat("x", 60) + "@" +
			strings.Repeat("y", advisory.MaxEmail-61)}, advisory.Once{}))(t)
	if got := must(o.Investor(ctx, o.firm, i.ID, store.Present))(t); got.Num == 0 || got.Name != name ||
		got.Email != i.Email || got.Reference != i.Reference {
		t.Errorf("Investor(%s) = %+v, want %+v", i.ID, got, i)
	}
	text := strings.Repeat("ż\r\n\t", advisory.MaxText/4)
	for _, profile := range append(slices.Clone(advisory.RiskProfiles), "") {
		x := must(o.CreateSession(ctx, o.firm, i.ID,
			store.AdviceSession{Title: name, Objective: text, RiskProfile: profile, HorizonYears: 100,
				Recommendation: text}, advisory.Once{}))(t)
		got := must(o.Session(ctx, o.firm, x.ID, store.Present))(t)
		if x.Num = got.Num; got != x {
			t.Errorf("Session(%s) = %+v, want %+v", x.ID, got, x)
		}
	}
}

// TestInvalid adds to what reading a request found what is wrong with what could be read.
func TestInvalid(t *testing.T) {
	bare := errors.New("no JSON")
	whole := event.Violations{{Message: "must be an object"}}
	read := event.Violations{{Field: "email", Message: "must be text"}}
	firm, ann := advisory.Actor{Tenant: "firm"}, advisory.Actor{Tenant: "firm", Advisor: "ann"}
	for _, tt := range []struct {
		name    string
		invalid func(error) error
		want    []string
	}{
		{"InvalidAdvisor", func(err error) error { return advisory.InvalidAdvisor(err, &store.Advisor{Name: " ", Email: "x"}) }, []string{"email", "name"}},
		{"InvalidInvestor", func(err error) error { return advisory.InvalidInvestor(err, firm, &store.Investor{Type: "person"}) },
			[]string{"email", "advisor_id", "investor_name"}},
		{"InvalidInvestor", func(err error) error { return advisory.InvalidInvestor(err, ann, &store.Investor{Type: "person"}) },
			[]string{"email", "investor_name"}},
		{"InvalidSession", func(err error) error { return advisory.InvalidSession(err, &store.AdviceSession{HorizonYears: -1}) },
			[]string{"email", "title", "horizon_years"}},
	} {
		if got := fields(tt.invalid(read)); !slices.Equal(got, tt.want) {
			t.Errorf("%s(%v) = %v, want violations of %v", tt.name, read, got, tt.want)
		}
		if err := tt.invalid(nil); err != nil {
			t.Errorf("%s(nil) = %v, want nil", tt.name, err)
		}
		if err := tt.invalid(bare); !errors.Is(err, bare) {
			t.Errorf("%s(%v) = %v, want it as it is", tt.name, bare, err)
		}
		if got := fields(tt.invalid(whole)); !slices.Equal(got, []string{""}) {
			t.Errorf("%s(%v) = %v, want it as it is", tt.name, whole, got)
		}
	}
}
