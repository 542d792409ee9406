package crashtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quantfolio/qhook/client"
)

// replay is what events tell when they are read one by one.
//
// The changes that raise an object's version are in the order of their events' IDs, since each is planned on the
// version before. A report, and for its investor a session's restore, raises no version: its event may have a lower or
// a higher ID than one of a change that was made at the same time.
type replay struct {
	findings   []string
	investors  map[string]Investor
	sessions   map[string]Session
	gone       map[string]bool     // deleted permanently
	history    map[string][]Kind   // by object: what made its versions
	names      map[string]string   // by object: the name or title at its creation
	reports    map[string][]string // by session, deleted ones included
	investorOf map[string]string   // by session, deleted ones included
	owners     map[string][]string // by investor: every advisor it had
	restores   []client.Event      // of sessions
}

func (r *replay) bad(format string, args ...any) {
	r.findings = append(r.findings, fmt.Sprintf(format, args...))
}

// replayAll reads each event once, in the order of the IDs.
func replayAll(arrived []client.Event) *replay {
	r := &replay{
		investors: map[string]Investor{}, sessions: map[string]Session{}, gone: map[string]bool{}, history: map[string][]Kind{},
		names: map[string]string{}, reports: map[string][]string{}, investorOf: map[string]string{}, owners: map[string][]string{},
	}
	events := slices.SortedStableFunc(slices.Values(arrived),
		func(a, b client.Event) int { return cmp.Compare(a.ID, b.ID) })
	for i, e := range events {
		if i > 0 && events[i-1].ID == e.ID {
			if a, b := fmt.Sprintf("%+v", events[i-1]), fmt.Sprintf("%+v", e); a != b {
				r.bad("two contents: event %s arrived as %s and as %s", e.ID, a, b)
			}
			continue
		}
		r.read(e)
	}
	for _, e := range r.restores {
		if !slices.Contains(r.owners[e.ObjectID], e.ObjectOwnerID) {
			r.bad("owner: event %s says that investor %s belongs to %s, who never had it", e.ID, e.ObjectID,
				e.ObjectOwnerID)
		}
	}
	for id, s := range r.sessions {
		if r.gone[s.Investor] {
			r.bad("half a deletion: investor %s is deleted and its session %s is not", s.Investor, id)
		}
	}
	return r
}

// details are what data can have.
type details struct {
	Name    string   `json:"investor_name"`
	Title   string   `json:"title"`
	Changed []string `json:"changed"`
	Session string   `json:"advice_session_id"`
	Report  string   `json:"report_id"`
}

func (r *replay) read(e client.Event) {
	var d details
	if err := json.Unmarshal(e.Data, &d); err != nil {
		r.bad("event %s has the data %s: %v", e.ID, e.Data, err)
		return
	}
	switch e.Type {
	case "qap.investor.created":
		r.createInvestor(e, d)
	case "qap.investor.updated":
		switch {
		case slices.Equal(d.Changed, []string{"advice_sessions"}):
			r.restores = append(r.restores, e)
			owned := e
			owned.ObjectID, owned.ObjectOwnerID = d.Session, e.ObjectID
			r.session(SessionRestored, owned)
		case slices.Equal(d.Changed, []string{"deleted_at"}):
			r.investor(InvestorRestored, e, false)
		default:
			r.investor(InvestorUpdated, e, slices.Contains(d.Changed, "advisor_id"))
		}
	case "qap.investor.soft_deleted":
		r.investor(InvestorSoftDeleted, e, false)
	case "qap.investor.deleted":
		r.investor(InvestorDeleted, e, false)
	case "qap.investor.advice.created":
		r.createSession(e, d)
	case "qap.investor.advice.completed":
		r.session(SessionCompleted, e)
	case "qap.investor.advice.soft_deleted":
		r.session(SessionSoftDeleted, e)
	case "qap.investor.advice.deleted":
		r.session(SessionDeleted, e)
	case "qap.investor.advice.report.created":
		r.report(e, d)
	default:
		r.bad("event %s has the unknown type %s", e.ID, e.Type)
	}
}

func (r *replay) createInvestor(e client.Event, d details) {
	if len(r.history[e.ObjectID]) > 0 {
		r.bad("order: event %s makes investor %s a second time", e.ID, e.ObjectID)
		return
	}
	r.investors[e.ObjectID] = Investor{Advisor: e.ObjectOwnerID, Name: d.Name, Version: 1}
	r.history[e.ObjectID] = []Kind{InvestorCreated}
	r.names[e.ObjectID] = d.Name
	r.owners[e.ObjectID] = []string{e.ObjectOwnerID}
}

// investor reads a change of an investor; given tells that it may have another advisor from then on.
func (r *replay) investor(k Kind, e client.Event, given bool) {
	i, ok := r.investors[e.ObjectID]
	r.history[e.ObjectID] = append(r.history[e.ObjectID], k)
	switch {
	case !ok:
		r.bad("order: event %s, %s, is of investor %s, which is not there", e.ID, k, e.ObjectID)
		return
	case i.SoftDeleted != (k == InvestorRestored) && k != InvestorDeleted:
		r.bad("order: event %s, %s, does not fit investor %s, soft-deleted: %t", e.ID, k, e.ObjectID, i.SoftDeleted)
	case e.ObjectOwnerID != i.Advisor && !given:
		r.bad("owner: event %s, %s, gives investor %s to %s; it belongs to %s", e.ID, k, e.ObjectID,
			e.ObjectOwnerID, i.Advisor)
	}
	i.Version++
	i.SoftDeleted = k == InvestorSoftDeleted
	if given {
		i.Advisor = e.ObjectOwnerID
		r.owners[e.ObjectID] = append(r.owners[e.ObjectID], i.Advisor)
	}
	r.investors[e.ObjectID] = i
	if k == InvestorDeleted {
		delete(r.investors, e.ObjectID)
		r.gone[e.ObjectID] = true
	}
}

func (r *replay) createSession(e client.Event, d details) {
	if len(r.history[e.ObjectID]) > 0 {
		r.bad("order: event %s makes session %s a second time", e.ID, e.ObjectID)
		return
	}
	if _, ok := r.investors[e.ObjectOwnerID]; !ok {
		r.bad("order: event %s makes session %s of investor %s, which is not there", e.ID, e.ObjectID, e.ObjectOwnerID)
	}
	r.sessions[e.ObjectID] = Session{Investor: e.ObjectOwnerID, Title: d.Title, Version: 1}
	r.history[e.ObjectID] = []Kind{SessionCreated}
	r.names[e.ObjectID] = d.Title
	r.investorOf[e.ObjectID] = e.ObjectOwnerID
}

// session reads a change of an advice session.
func (r *replay) session(k Kind, e client.Event) {
	s, ok := r.sessions[e.ObjectID]
	r.history[e.ObjectID] = append(r.history[e.ObjectID], k)
	switch {
	case !ok:
		r.bad("order: event %s, %s, is of session %s, which is not there", e.ID, k, e.ObjectID)
		return
	case s.SoftDeleted != (k == SessionRestored) && k != SessionDeleted, s.Completed && k == SessionCompleted:
		r.bad("order: event %s, %s, does not fit session %s, %+v", e.ID, k, e.ObjectID, s)
	case e.ObjectOwnerID != s.Investor:
		r.bad("owner: event %s, %s, gives session %s to %s; it belongs to %s", e.ID, k, e.ObjectID,
			e.ObjectOwnerID, s.Investor)
	}
	s.Version++
	s.SoftDeleted = k == SessionSoftDeleted
	s.Completed = s.Completed || k == SessionCompleted
	r.sessions[e.ObjectID] = s
	if k == SessionDeleted {
		delete(r.sessions, e.ObjectID)
		r.gone[e.ObjectID] = true
	}
}

// report reads the event of a report; its session may be deleted by then, but not incomplete.
func (r *replay) report(e client.Event, d details) {
	if !slices.Contains(r.history[e.ObjectID], SessionCompleted) {
		r.bad("order: event %s makes report %s of session %s, which is not completed", e.ID, d.Report, e.ObjectID)
	}
	if e.ObjectOwnerID != r.investorOf[e.ObjectID] {
		r.bad("owner: event %s, %s, gives session %s to %s; it belongs to %s", e.ID, ReportCreated, e.ObjectID,
			e.ObjectOwnerID, r.investorOf[e.ObjectID])
	}
	if slices.Contains(r.reports[e.ObjectID], d.Report) {
		r.bad("order: event %s makes report %s a second time", e.ID, d.Report)
	}
	r.reports[e.ObjectID] = append(r.reports[e.ObjectID], d.Report)
}

// platform is what the API must list.
func (r *replay) platform() Platform {
	p := Platform{Investors: r.investors, Sessions: map[string]Session{}}
	for id, s := range r.sessions {
		s.Reports = slices.Sorted(slices.Values(r.reports[id]))
		p.Sessions[id] = s
	}
	return p.without()
}
