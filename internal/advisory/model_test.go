package advisory_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quantfolio/qhook/internal/advisory"
)

// model is what the platform should hold, and the events that it should have triggered.
type model struct {
	firm      advisory.Actor
	advisors  map[string]string // name by ID
	investors map[string]*mInvestor
	sessions  map[string]*mSession
	order     []string // of sessions, as made
	events    []seen
	gone      []string // IDs of what was removed
	keys      map[string]used
}

type mInvestor struct {
	advisor, name, email string
	version              int64
	deleted              time.Time
}

type mSession struct {
	investor, title string
	version         int64
	completed       bool
	deleted         time.Time
	reports         int
}

// used is what an idempotency key stands for.
type used struct {
	request, object string
	at              time.Time
}

func newModel(firm advisory.Actor) *model {
	return &model{firm: firm, advisors: map[string]string{}, investors: map[string]*mInvestor{},
		sessions: map[string]*mSession{}, keys: map[string]used{}}
}

func owner(who advisory.Actor) string {
	if who.Advisor != "" {
		return who.Advisor
	}
	return who.Tenant
}

func (m *model) onInvestor(kind, id string, who advisory.Actor, data string) {
	m.events = append(m.events, seen{"qap.investor." + kind, id, m.investors[id].advisor, owner(who), data})
}

func (m *model) onSession(kind, id string, who advisory.Actor, data string) {
	m.events = append(m.events, seen{"qap.investor.advice." + kind, id, m.sessions[id].investor, owner(who), data})
}

// investor finds one that who may see; nil: none.
func (m *model) investor(who advisory.Actor, id string) *mInvestor {
	i := m.investors[id]
	if i == nil || who.Advisor != "" && i.advisor != who.Advisor {
		return nil
	}
	return i
}

// change says what is in the way of changing an investor.
func (m *model) change(who advisory.Actor, id string, version int64) (*mInvestor, string) {
	i := m.investor(who, id)
	switch {
	case i == nil:
		return nil, "not found"
	case version != 0 && version != i.version:
		return i, "version"
	case !i.deleted.IsZero():
		return i, string(advisory.RuleDeleted)
	}
	return i, ""
}

// session finds one that who may see; nil: none.
func (m *model) session(who advisory.Actor, id string) *mSession {
	s := m.sessions[id]
	if s == nil || m.investor(who, s.investor) == nil {
		return nil
	}
	return s
}

// open says what is in the way of changing a session.
func (m *model) open(who advisory.Actor, id string, version int64) (*mSession, string) {
	s := m.session(who, id)
	switch {
	case s == nil:
		return nil, "not found"
	case !m.investors[s.investor].deleted.IsZero():
		return s, string(advisory.RuleDeleted)
	case version != 0 && version != s.version:
		return s, "version"
	case !s.deleted.IsZero():
		return s, string(advisory.RuleDeleted)
	}
	return s, ""
}

func (m *model) removeSession(id string, who advisory.Actor) {
	m.onSession("deleted", id, who, "{}")
	delete(m.sessions, id)
	m.gone = append(m.gone, id)
	m.order = slices.DeleteFunc(m.order, func(x string) bool { return x == id })
}

func (m *model) removeInvestor(id string, who advisory.Actor) {
	for _, s := range slices.Clone(m.order) {
		if m.sessions[s].investor == id {
			m.removeSession(s, who)
		}
	}
	m.onInvestor("deleted", id, who, "{}")
	delete(m.investors, id)
	m.gone = append(m.gone, id)
}

// expire removes what was soft-deleted longer ago than the retention: investors first, each by the time of its
// deletion. Idempotency keys are forgotten after a day.
func (m *model) expire(now time.Time) {
	before := now.Add(-retention)
	maps.DeleteFunc(m.keys, func(_ string, u used) bool { return u.at.Before(now.Add(-24 * time.Hour)) })
	var due []string
	for id, i := range m.investors {
		if !i.deleted.IsZero() && i.deleted.Before(before) {
			due = append(due, id)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return m.investors[a].deleted.Compare(m.investors[b].deleted) })
	for _, id := range due {
		m.removeInvestor(id, m.firm)
	}
	due = nil
	for id, s := range m.sessions {
		if !s.deleted.IsZero() && s.deleted.Before(before) {
			due = append(due, id)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return m.sessions[a].deleted.Compare(m.sessions[b].deleted) })
	for _, id := range due {
		m.removeSession(id, m.firm)
	}
}

// advisorsInvestors counts an advisor's, soft-deleted ones included.
func (m *model) advisorsInvestors(id string) (n int) {
	for _, i := range m.investors {
		if i.advisor == id {
			n++
		}
	}
	return n
}

func changed(names ...string) string {
	s := `{"changed":[`
	for i, n := range names {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf("%q", n)
	}
	return s + "]}"
}
