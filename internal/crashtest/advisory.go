package crashtest

import (
	"fmt"
	"slices"
	"sort"

	"github.com/quantfolio/qhook/client"
)

// Kind is what happened to an object of the advisory platform. Restores have kinds of their own, although their events
// have the type of an investor's update.
type Kind string

// The kinds of changes.
const (
	AdvisorCreated      Kind = "advisor created" // has no event
	InvestorCreated     Kind = "investor created"
	InvestorUpdated     Kind = "investor updated"
	InvestorUnchanged   Kind = "investor unchanged" // an update to what is there; has no event
	InvestorSoftDeleted Kind = "investor soft-deleted"
	InvestorRestored    Kind = "investor restored"
	InvestorDeleted     Kind = "investor deleted"
	SessionCreated      Kind = "session created"
	SessionCompleted    Kind = "session completed"
	SessionSoftDeleted  Kind = "session soft-deleted"
	SessionRestored     Kind = "session restored"
	SessionDeleted      Kind = "session deleted"
	ReportCreated       Kind = "report created" // of a session, whose version it does not raise
)

// Asked is a change that a client asked for and was not refused.
type Asked struct {
	Kind    Kind
	Object  string // its ID, a report's session; empty when the answer to a creation was lost
	Name    string // of a creation: the name or title, which no other one has; of a report: its ID, unless lost
	Version int    // that the answer names; 0: it names none
	Lost    bool   // no answer was read: it happened wholly or not at all
}

// Platform is the objects that there are, by ID: as events tell, or as the API lists.
type Platform struct {
	Advisors  map[string]string // their names; events do not tell of them
	Investors map[string]Investor
	Sessions  map[string]Session
}

// Investor is what events tell of an investor.
type Investor struct {
	Advisor, Name string
	SoftDeleted   bool
	Version       int // 1, and 1 for every later change that has an event of its own
}

// Session is what events tell of an advice session.
type Session struct {
	Investor, Title        string
	Completed, SoftDeleted bool
	Version                int
	Reports                []string // their IDs, sorted
}

// CheckAdvisory compares what arrived, in any order and with duplicates, with the objects that the API lists and with
// what clients asked for. It returns the broken promises: a change without its event, an event without its change, an
// answer of success without either.
func CheckAdvisory(arrived []client.Event, listed Platform, asked []Asked) []string {
	r := replayAll(arrived)
	told := r.platform()
	compare(&r.findings, "investor", told.Investors, listed.Investors)
	compare(&r.findings, "session", told.Sessions, listed.Sessions)
	for id, i := range told.Investors {
		if _, ok := listed.Advisors[i.Advisor]; !ok {
			r.bad("owner: investor %s belongs to %s by its events, and no such advisor is listed", id, i.Advisor)
		}
	}
	r.checkAdvisors(listed.Advisors, asked)
	r.checkAnswers(asked)
	r.checkCounts(asked)
	sort.Strings(r.findings)
	return r.findings
}

// compare wants both to have the same objects, each the same.
func compare[T any](findings *[]string, what string, told, listed map[string]T) {
	for id, t := range told {
		l, ok := listed[id]
		if a, b := fmt.Sprintf("%+v", t), fmt.Sprintf("%+v", l); !ok {
			*findings = append(*findings,
				fmt.Sprintf("event without row: %s %s is %s by its events and is not listed", what, id, a))
		} else if a != b {
			*findings = append(*findings,
				fmt.Sprintf("row and events differ: %s %s is %s by its events and is listed as %s", what, id, a, b))
		}
	}
	for id, l := range listed {
		if _, ok := told[id]; !ok {
			*findings = append(*findings,
				fmt.Sprintf("row without event: %s %s is listed as %+v and is not there by its events", what, id, l))
		}
	}
}

// checkAdvisors compares the advisors with the answers alone.
func (r *replay) checkAdvisors(listed map[string]string, asked []Asked) {
	lost, made := map[string]bool{}, map[string]bool{}
	for _, a := range asked {
		if a.Kind != AdvisorCreated {
			continue
		}
		if a.Lost {
			lost[a.Name] = true
		} else if made[a.Object] = true; listed[a.Object] != a.Name {
			r.bad("answered: advisor %s was made with the name %q and is listed with %q", a.Object, a.Name,
				listed[a.Object])
		}
	}
	for id, name := range listed {
		if !made[id] && !lost[name] {
			r.bad("invented: advisor %s, %q, is listed and nobody asked for it", id, name)
		}
	}
}

// checkAnswers wants what each answer of success says to have happened.
func (r *replay) checkAnswers(asked []Asked) {
	for _, a := range asked {
		h := r.history[a.Object]
		switch {
		case a.Lost || a.Kind == AdvisorCreated:
		case a.Kind == ReportCreated:
			if !slices.Contains(r.reports[a.Object], a.Name) {
				r.bad("answered: report %s of session %s was made and has no event", a.Name, a.Object)
			}
		case a.Version > len(h):
			r.bad("answered: %s %s has version %d, and its events make only %d", a.Kind, a.Object, a.Version, len(h))
		case a.Kind != InvestorUnchanged && a.Version > 0 && h[a.Version-1] != a.Kind:
			r.bad("answered: %s %s made version %d, which is %s by its events", a.Kind, a.Object, a.Version,
				h[a.Version-1])
		case a.Name != "" && r.names[a.Object] != a.Name:
			r.bad("answered: %s %s has the name %q, and %q by its event", a.Kind, a.Object, a.Name, r.names[a.Object])
		}
	}
}

// counted names what is counted: a kind of change of one object, or the creation with one name.
type counted struct {
	kind Kind
	of   string
}

// checkCounts wants as many events as answers of success, and up to as many more as answers were lost.
func (r *replay) checkCounts(asked []Asked) {
	type number struct{ happened, answered, lost int }
	numbers := map[counted]*number{}
	of := func(k Kind, object, name string) *number {
		c := counted{k, object}
		if k == InvestorCreated || k == SessionCreated {
			c.of = name
		}
		if numbers[c] == nil {
			numbers[c] = &number{}
		}
		return numbers[c]
	}
	for id, kinds := range r.history {
		for _, k := range kinds {
			of(k, id, r.names[id]).happened++
		}
	}
	for id, ids := range r.reports {
		of(ReportCreated, id, "").happened += len(ids)
	}
	for _, a := range asked {
		switch n := of(a.Kind, a.Object, a.Name); {
		case a.Kind == InvestorUnchanged || a.Kind == AdvisorCreated:
		case a.Lost && (a.Kind == InvestorCreated || a.Kind == SessionCreated):
			n.lost = 1 // however often one was asked for under one idempotency key
		case a.Lost:
			n.lost++
		default:
			n.answered++
		}
	}
	for c, n := range numbers {
		if c.kind == SessionDeleted && r.gone[r.investorOf[c.of]] {
			n.lost++ // its investor's deletion deletes it
		}
		if n.happened < n.answered {
			r.bad("answered: %s %s was answered %d times and has %d events", c.kind, c.of, n.answered, n.happened)
		}
		if most := n.answered + n.lost; n.happened > most {
			r.bad("invented: %s %s has %d events; %d answers, of them %d lost or implied, explain fewer", c.kind, c.of,
				n.happened, most, n.lost)
		}
	}
}

// without says what lists leave out: the reports of what is soft-deleted. When everything is restored, they leave
// nothing out.
func (p Platform) without() Platform {
	sessions := map[string]Session{}
	for id, s := range p.Sessions {
		if p.Investors[s.Investor].SoftDeleted || s.SoftDeleted {
			s.Reports = nil
		}
		sessions[id] = s
	}
	p.Sessions = sessions
	return p
}

// String counts the objects.
func (p Platform) String() string {
	reports := 0
	for _, s := range p.Sessions {
		reports += len(s.Reports)
	}
	return fmt.Sprintf("%d advisors, %d investors, %d sessions, %d reports", len(p.Advisors), len(p.Investors),
		len(p.Sessions), reports)
}
