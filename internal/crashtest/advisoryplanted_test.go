package crashtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
)

// story is a whole comparison, of which a test spoils something.
type story struct {
	events []client.Event
	listed Platform
	asked  []Asked
}

func (s *story) tell(typ, object, owner, data string) {
	s.events = append(s.events, client.Event{ID: fmt.Sprintf("%04d", len(s.events)), Type: "qap.investor." + typ, ObjectID: object,
		ObjectOwnerID: owner, Data: []byte(data)})
}

func (s *story) ask(asked ...Asked) { s.asked = append(s.asked, asked...) }

// sound is a story in which everything fits: of investor i, live, with the completed session x and the open one y; of
// investor j, soft-deleted, with the session z; and of k, who is deleted with the session w.
func sound() *story {
	s := &story{}
	s.tell("created", "i", "ann", `{"investor_type":"person","investor_name":"I"}`)
	s.tell("advice.created", "x", "i", `{"title":"X"}`)
	s.tell("advice.created", "y", "i", `{"title":"Y"}`)
	s.tell("updated", "i", "bob", `{"changed":["advisor_id","reference"]}`)
	s.tell("advice.completed", "x", "i", `{"title":"X"}`)
	s.tell("advice.report.created", "x", "i", `{"report_id":"r","content_type":"application/pdf"}`)
	s.tell("advice.soft_deleted", "y", "i", `{}`)
	s.tell("updated", "i", "ann", `{"changed":["advice_sessions"],"advice_session_id":"y"}`) // made while i was given to bob
	s.tell("created", "j", "ann", `{"investor_type":"company","investor_name":"J"}`)
	s.tell("advice.created", "z", "j", `{"title":"Z"}`)
	s.tell("soft_deleted", "j", "ann", `{}`)
	s.tell("updated", "j", "ann", `{"changed":["deleted_at"]}`)
	s.tell("soft_deleted", "j", "ann", `{}`)
	s.tell("created", "k", "ann", `{"investor_type":"person","investor_name":"K"}`)
	s.tell("advice.created", "w", "k", `{"title":"W"}`)
	s.tell("advice.deleted", "w", "k", `{}`)
	s.tell("deleted", "k", "ann", `{}`)
	s.listed = Platform{
		Advisors: map[string]string{"ann": "A", "bob": "B"},
		Investors: map[string]Investor{
			"i": {Advisor: "bob", Name: "I", Version: 2},
			"j": {Advisor: "ann", Name: "J", SoftDeleted: true, Version: 4},
		},
		Sessions: map[string]Session{
			"x": {Investor: "i", Title: "X", Completed: true, Version: 2, Reports: []string{"r"}},
			"y": {Investor: "i", Title: "Y", Version: 3},
			"z": {Investor: "j", Title: "Z", Version: 1},
		},
	}
	s.ask(Asked{Kind: AdvisorCreated, Object: "ann", Name: "A", Version: 1},
		Asked{Kind: AdvisorCreated, Name: "B", Lost: true},
		Asked{Kind: InvestorCreated, Object: "i", Name: "I", Version: 1}, Asked{Kind: InvestorCreated, Object: "j",
			Name: "J", Version: 1},
		Asked{Kind: InvestorCreated, Object: "k", Name: "K", Version: 1}, Asked{Kind: InvestorCreated, Name: "never",
			Lost: true},
		Asked{Kind: SessionCreated, Object: "x", Name: "X", Version: 1}, Asked{Kind: SessionCreated, Object: "y",
			Name: "Y", Version: 1},
		Asked{Kind: SessionCreated, Name: "Z", Lost: true}, Asked{Kind: SessionCreated, Object: "w", Name: "W",
			Version: 1},
		Asked{Kind: InvestorUpdated, Object: "i", Version: 2}, Asked{Kind: InvestorUpdated, Object: "i", Lost: true},
		Asked{Kind: InvestorUnchanged, Object: "i", Version: 1}, Asked{Kind: SessionCompleted, Object: "x", Version: 2},
		Asked{Kind: ReportCreated, Object: "x", Name: "r"}, Asked{Kind: ReportCreated, Object: "x", Lost: true},
		Asked{Kind: SessionSoftDeleted, Object: "y"}, Asked{Kind: SessionRestored, Object: "y", Version: 3},
		Asked{Kind: InvestorSoftDeleted, Object: "j"}, Asked{Kind: InvestorRestored, Object: "j", Version: 3},
		Asked{Kind: InvestorSoftDeleted, Object: "j", Lost: true}, Asked{Kind: InvestorDeleted, Object: "k"})
	return s
}

// without leaves out the events that f says.
func (s *story) without(f func(e client.Event) bool) { s.events = slices.DeleteFunc(s.events, f) }

func (s *story) alter(of string, f func(*client.Event)) {
	for i := range s.events {
		if s.events[i].ID == of {
			f(&s.events[i])
		}
	}
}

func changed[T any](m map[string]T, id string, f func(*T)) {
	v := m[id]
	f(&v)
	m[id] = v
}

// TestCheckAdvisoryCatchesDivergences proves the comparison: each divergence is found, and without one there is no
// finding.
func TestCheckAdvisoryCatchesDivergences(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(s *story)
		want  string // in a finding; empty: there must be none
	}{
		{"nothing", func(*story) {}, ""},
		{"duplicates in another order", func(s *story) {
			s.events = append(s.events, s.events...)
			slices.Reverse(s.events)
		}, ""},
		{"the last event missing", func(s *story) { s.without(func(e client.Event) bool { return e.ID == "0016" }) },
			"event without row: investor k"},
		{"an update's event missing", func(s *story) { s.without(func(e client.Event) bool { return e.ID == "0003" }) },
			"row and events differ: investor i"},
		{"a creation's event missing", func(s *story) { s.without(func(e client.Event) bool { return e.ObjectID == "y" || e.ID == "0007" }) },
			"row without event: session y"},
		{"a report's event missing", func(s *story) { s.without(func(e client.Event) bool { return e.ID == "0005" }) },
			"answered: report r of session x was made and has no event"},
		{"a cascade's event missing", func(s *story) { s.without(func(e client.Event) bool { return e.ID == "0015" }) },
			"half a deletion: investor k"},
		{"an event of a deletion that was not", func(s *story) { s.tell("advice.deleted", "y", "i", `{}`) },
			"row without event: session y"},
		{"an event of an update that was not",
			func(s *story) { s.tell("updated", "i", "bob", `{"changed":["reference"]}`) },
			"row and events differ: investor i"},
		{"an event that nobody asked for", func(s *story) {
			s.tell("updated", "i", "bob", `{"changed":["reference"]}`)
			s.tell("updated", "i", "bob", `{"changed":["reference"]}`)
			changed(s.listed.Investors, "i", func(i *Investor) { i.Version = 4 })
		}, "invented: investor updated i"},
		{"an event of an update to what is there", func(s *story) {
			s.tell("updated", "i", "bob", `{"changed":[]}`)
			s.asked = slices.DeleteFunc(s.asked, func(a Asked) bool { return a.Kind == InvestorUpdated && a.Lost })
			s.ask(Asked{Kind: InvestorUnchanged, Object: "i", Version: 3})
			changed(s.listed.Investors, "i", func(i *Investor) { i.Version = 3 })
		}, "invented: investor updated i"},
		{"an investor without event", func(s *story) { s.listed.Investors["n"] = Investor{Advisor: "ann", Name: "N", Version: 1} },
			"row without event: investor n"},
		{"an investor made twice under one key", func(s *story) {
			s.tell("created", "n", "ann", `{"investor_name":"I"}`)
			s.listed.Investors["n"] = Investor{Advisor: "ann", Name: "I", Version: 1}
		}, "invented: investor created I has 2 events"},
		{"a session without event", func(s *story) { s.listed.Sessions["n"] = Session{Investor: "i", Title: "N", Version: 1} },
			"row without event: session n"},
		{"a report without event", func(s *story) {
			changed(s.listed.Sessions, "x", func(x *Session) { x.Reports = []string{"q", "r"} })
		}, "row and events differ: session x"},
		{"a report without row", func(s *story) { changed(s.listed.Sessions, "x", func(x *Session) { x.Reports = nil }) },
			"row and events differ: session x"},
		{"an investor's row gone", func(s *story) { delete(s.listed.Investors, "j") }, "event without row: investor j"},
		{"a session's row gone", func(s *story) { delete(s.listed.Sessions, "x") }, "event without row: session x"},
		{"a wrong owner in the row", func(s *story) { changed(s.listed.Investors, "i", func(i *Investor) { i.Advisor = "ann" }) },
			"row and events differ: investor i"},
		{"a wrong owner in an event", func(s *story) { s.alter("0012", func(e *client.Event) { e.ObjectOwnerID = "bob" }) },
			"owner: event 0012"},
		{"a wrong owner in a restore's event",
			func(s *story) { s.alter("0007", func(e *client.Event) { e.ObjectOwnerID = "cy" }) },
			"owner: event 0007"},
		{"an owner who is not listed", func(s *story) { delete(s.listed.Advisors, "bob") },
			"owner: investor i belongs to bob"},
		{"an advisor's row gone", func(s *story) { delete(s.listed.Advisors, "ann") }, "answered: advisor ann"},
		{"an advisor nobody asked for", func(s *story) { s.listed.Advisors["cy"] = "C" }, "invented: advisor cy"},
		{"completed without event", func(s *story) {
			changed(s.listed.Sessions, "y", func(y *Session) { y.Completed, y.Version = true, 4 })
		}, "row and events differ: session y"},
		{"completed in the event alone",
			func(s *story) { changed(s.listed.Sessions, "x", func(x *Session) { x.Completed = false }) },
			"row and events differ: session x"},
		{"completed twice", func(s *story) { s.tell("advice.completed", "x", "i", `{}`) }, "does not fit session x"},
		{"soft-deleted without event", func(s *story) {
			changed(s.listed.Sessions, "x", func(x *Session) { x.SoftDeleted = true })
		}, "row and events differ: session x"},
		{"restored without event", func(s *story) { changed(s.listed.Investors, "j", func(j *Investor) { j.SoftDeleted = false }) },
			"row and events differ: investor j"},
		{"a version too many", func(s *story) { changed(s.listed.Investors, "i", func(i *Investor) { i.Version++ }) },
			"row and events differ: investor i"},
		{"an answer without row and event",
			func(s *story) { s.ask(Asked{Kind: InvestorCreated, Object: "n", Name: "N", Version: 1}) },
			"answered: investor created n"},
		{"an answered update without row and event",
			func(s *story) { s.ask(Asked{Kind: InvestorUpdated, Object: "i", Version: 3}) },
			"answered: investor updated i has version 3"},
		{"an answered deletion without row and event",
			func(s *story) { s.ask(Asked{Kind: SessionDeleted, Object: "x"}) },
			"answered: session deleted x was answered 1 times and has 0 events"},
		{"one version answered twice", func(s *story) {
			s.ask(Asked{Kind: InvestorUpdated, Object: "i", Version: 2})
		}, "answered: investor updated i was answered 2 times and has 1 events"},
		{"two contents of one event", func(s *story) {
			e := s.events[0]
			e.ObjectOwnerID = "bob"
			s.events = append(s.events, e)
		}, "two contents: event 0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sound()
			c.spoil(s)
			findings := strings.Join(CheckAdvisory(s.events, s.listed, s.asked), "\n")
			if c.want == "" && findings != "" {
				t.Errorf("findings without a divergence:\n%s", findings)
			}
			if !strings.Contains(findings, c.want) {
				t.Errorf("the divergence was not found; findings:\n%s\nwant one with %q", findings, c.want)
			}
		})
	}
}
