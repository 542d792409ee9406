package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/store"
)

// kinds are parents before children.
var kinds = []store.Kind{store.KindAdvisor, store.KindInvestor, store.KindSession, store.KindReport}

// model is what a store must hold of a tenant after what it accepted.
type model struct {
	tenant  string
	objects []any // as they were made
	keys    map[string]store.IdempotencyKey
	events  map[uuid.UUID]string // ID to data
}

func parentOf(x any) string {
	switch x := x.(type) {
	case *store.Investor:
		return x.AdvisorID
	case *store.AdviceSession:
		return x.InvestorID
	case *store.Report:
		return x.SessionID
	}
	return ""
}

func (m *model) index(kind store.Kind, id string) int {
	return slices.IndexFunc(m.objects, func(x any) bool {
		k, o := named(x)
		return k == kind && o.ID == id
	})
}

// version is that of the object; 0 when there is none.
func (m *model) version(kind store.Kind, id string) int64 {
	i := m.index(kind, id)
	if i < 0 {
		return 0
	}
	_, o := named(m.objects[i])
	return o.Version
}

func (m *model) children(id string) (list []any) {
	for _, x := range m.objects {
		if parentOf(x) == id {
			list = append(list, x)
		}
	}
	return list
}

func written(c *store.Change) (list []any) {
	for _, x := range []any{c.Advisor, c.Investor, c.Session, c.Report} {
		if !reflect.ValueOf(x).IsNil() {
			list = append(list, x)
		}
	}
	return list
}

func (m *model) holds(c *store.Change) bool {
	for _, e := range c.Expect {
		if m.version(e.Kind, e.ID) != e.Version || e.Children >= 0 && len(m.children(e.ID)) != e.Children {
			return false
		}
	}
	for _, x := range written(c) {
		if k, o := named(x); m.version(k, o.ID) != o.Version-1 {
			return false
		}
	}
	if c.Key == nil {
		return true
	}
	_, used := m.keys[c.Key.Key]
	return !used
}

// submit is what Commit does with a submission.
func (m *model) submit(x *store.Submission) error {
	events := maps.Clone(m.events)
	for _, e := range x.Events {
		if data, ok := events[e.Event.ID]; ok && data != string(e.Event.Data) {
			return &store.ConflictError{ID: e.Event.ID}
		}
		events[e.Event.ID] = string(e.Event.Data)
	}
	if !m.holds(x.Change) {
		return store.ErrVersion
	}
	m.events = events
	for _, x := range written(x.Change) {
		if k, o := named(x); m.index(k, o.ID) >= 0 {
			m.objects[m.index(k, o.ID)] = x
		} else {
			m.objects = append(m.objects, x)
		}
	}
	for _, r := range x.Change.Remove {
		m.objects = slices.DeleteFunc(m.objects, func(x any) bool {
			k, o := named(x)
			return k == r.Kind && o.ID == r.ID || k == store.KindReport && parentOf(x) == r.ID
		})
	}
	if k := x.Change.Key; k != nil {
		m.keys[k.Key] = *k
	}
	return nil
}

// drawSlip is seldom not 0.
func drawSlip(t *rapid.T) int64 {
	switch rapid.IntRange(0, 15).Draw(t, "slip") {
	case 14:
		return -1
	case 15:
		return 1
	}
	return 0
}

// drawID names one of the few objects that there may be of a kind.
func drawID(t *rapid.T, kind int) string {
	return idOf(10*kind + rapid.IntRange(0, 2).Draw(t, "object")).String()
}

// expectOne adds to the change what is stored of an object, with slips, and names the object. It never holds for one
// that is not stored.
func (m *model) expectOne(t *rapid.T, c *store.Change, kind int) string {
	e := store.Expected{Kind: kinds[kind], ID: drawID(t, kind), Children: -1}
	if m.version(e.Kind, e.ID) == 0 {
		e.ID = drawID(t, kind) // one more try
	}
	e.Version = max(1, m.version(e.Kind, e.ID)+drawSlip(t))
	if rapid.Bool().Draw(t, "counts") {
		e.Children = len(m.children(e.ID)) + int(drawSlip(t))
	}
	c.Expect = append(c.Expect, e)
	return e.ID
}

// drawChange draws a change that breaks no reference if it holds.
func (m *model) drawChange(t *rapid.T) *store.Change {
	c := &store.Change{}
	if rapid.IntRange(0, 7).Draw(t, "keyed") == 7 {
		c.Key = &store.IdempotencyKey{Key: rapid.SampledFrom([]string{"k0", "k1", "k2"}).Draw(t, "key"),
			Request: [32]byte{1}, CreatedAt: epoch}
	}
	if rapid.IntRange(0, 4).Draw(t, "removes") == 4 {
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		m.removal(c, kinds[kind], m.expectOne(t, c, kind))
		return c
	}
	deleted := []time.Time{{}, {}, epoch.Add(time.Millisecond)}
	parent := ""
	for kind := rapid.IntRange(0, 3).Draw(t, "kind"); kind < len(kinds); kind++ {
		if kind > 0 && parent == "" {
			parent = m.expectOne(t, c, kind-1)
		}
		o := store.Object{Tenant: m.tenant, ID: drawID(t, kind), CreatedAt: epoch, UpdatedAt: epoch}
		o.Version = m.version(kinds[kind], o.ID) + 1 + drawSlip(t)
		switch kinds[kind] {
		case store.KindAdvisor:
			c.Advisor = &store.Advisor{Object: o, Name: rapid.String().Filter(noNUL).Draw(t, "name")}
		case store.KindInvestor:
			o.DeletedAt = rapid.SampledFrom(deleted).Draw(t, "deleted")
			c.Investor = &store.Investor{Object: o, AdvisorID: parent, Type: "person"}
		case store.KindSession:
			o.DeletedAt = rapid.SampledFrom(deleted).Draw(t, "deleted")
			c.Session = &store.AdviceSession{Object: o, InvestorID: parent,
				HorizonYears: rapid.IntRange(0, 100).Draw(t, "years")}
		case store.KindReport:
			o.Version = 1
			c.Report = &store.Report{Object: o, SessionID: parent, Content: []byte("%PDF"), Size: 4}
		}
		if parent = o.ID; rapid.Bool().Draw(t, "alone") {
			break
		}
	}
	return c
}

func noNUL(s string) bool { return !slices.Contains([]byte(s), 0) }

// removal adds to the change that an object goes, and before it all that is below it.
func (m *model) removal(c *store.Change, kind store.Kind, id string) {
	for _, x := range m.children(id) {
		if k, o := named(x); k != store.KindReport {
			m.removal(c, k, o.ID)
		}
	}
	c.Remove = append(c.Remove, store.Removed{Kind: kind, ID: id})
}

// list is what a list of the model's objects has.
func (m *model) list(kind store.Kind, parent string, p store.Presence) (list []any) {
	for _, x := range m.objects {
		if k, o := named(x); k == kind && (parent == "" || parentOf(x) == parent) &&
			(p == store.Either || o.Deleted() == (p == store.Gone)) {
			list = append(list, reflect.ValueOf(x).Elem().Interface())
		}
	}
	return list
}

// check compares what the readers say with the model.
func (m *model) check(t *rapid.T, s store.Store) {
	ctx := context.Background()
	p := rapid.SampledFrom([]store.Presence{store.Present, store.Gone, store.Either}).Draw(t, "presence")
	advisors, err := s.ListAdvisors(ctx, m.tenant, 0, 100)
	same(t, "ListAdvisors", advisors, err, m.list(store.KindAdvisor, "", store.Either))
	investors, err := s.ListInvestors(ctx, m.tenant, store.InvestorFilter{Presence: p}, 0, 100)
	same(t, "ListInvestors", investors, err, m.list(store.KindInvestor, "", p))
	n := rapid.IntRange(0, 2).Draw(t, "parent")
	owner, parent, session := idOf(n).String(), idOf(10+n).String(), idOf(20+n).String()
	investors, err = s.ListInvestors(ctx, m.tenant, store.InvestorFilter{AdvisorID: owner, Presence: p}, 0, 100)
	same(t, "ListInvestors of one", investors, err, m.list(store.KindInvestor, owner, p))
	sessions, err := s.ListSessions(ctx, m.tenant, store.SessionFilter{InvestorID: parent, Presence: p}, 0, 100)
	same(t, "ListSessions", sessions, err, m.list(store.KindSession, parent, p))
	reports, err := s.ListReports(ctx, m.tenant, session, 0, 100)
	for i := range reports {
		reports[i].Content = []byte("%PDF")
	}
	same(t, "ListReports", reports, err, m.list(store.KindReport, session, store.Either))
	key := fmt.Sprint("k", n)
	want, used := m.keys[key]
	if got, err := s.IdempotencyKey(ctx, m.tenant, "", key); used && got != want ||
		errors.Is(err, store.ErrNotFound) == used {
		t.Fatalf("IdempotencyKey(%s) = %+v, %v, want %+v, %v", key, got, err, want, used)
	}
	for _, want := range m.objects {
		kind, o := named(want)
		got, _, err := find(s, want)
		_, g := named(got)
		if g.Num = 0; err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s %s = %+v, %v, want %+v, nil", kind, o.ID, got, err, want)
		}
	}
	found, err := s.ListEvents(ctx, m.tenant, store.EventFilter{}, 0, 100)
	events := map[uuid.UUID]string{}
	for _, r := range found {
		events[r.Event.ID] = string(r.Event.Data)
	}
	if err != nil || !maps.Equal(events, m.events) || len(found) != len(events) {
		t.Fatalf("ListEvents = %d events, %v, %v, want %v", len(found), events, err, m.events)
	}
}

func same[T any](t *rapid.T, what string, list []T, err error, want []any) {
	var got []any
	for i := range list {
		_, o := named(&list[i])
		o.Num = 0
		got = append(got, list[i])
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s = %+v, %v, want %+v, nil", what, got, err, want)
	}
}

// testRandomChanges: after any sequence of changes with events, good and bad ones, the store has what the model has.
func testRandomChanges(t *testing.T, s store.Store) {
	tenants, n := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tenants++
		m := &model{tenant: fmt.Sprint("t", tenants), keys: map[string]store.IdempotencyKey{},
			events: map[uuid.UUID]string{}}
		if err := s.CreateTenant(context.Background(), store.Tenant{ID: m.tenant, CreatedAt: epoch}); err != nil {
			t.Fatalf("CreateTenant = %v, want nil", err)
		}
		for range rapid.IntRange(1, 2).Draw(t, "batches") {
			b := &store.Batch{}
			var want []error
			for range rapid.IntRange(1, 12).Draw(t, "submissions") {
				x := changing(m.tenant, m.drawChange(t))
				for range rapid.IntRange(0, 2).Draw(t, "events") {
					n++
					e := submitted(rapid.IntRange(0, 5).Draw(t, "event"))
					e.Seq = seqOf(n)
					if rapid.IntRange(0, 3).Draw(t, "other") == 0 {
						e.Event.Data = []byte(`{}`)
					}
					x.Events = append(x.Events, e)
				}
				b.Submissions, want = append(b.Submissions, x), append(want, m.submit(x))
			}
			if err := s.Commit(context.Background(), b); err != nil {
				t.Fatalf("Commit = %v, want nil", err)
			}
			for i, x := range b.Submissions {
				if !reflect.DeepEqual(x.Err, want[i]) {
					t.Fatalf("submission %d: Err = %v, want %v", i, x.Err, want[i])
				}
			}
			m.check(t, s)
		}
	})
}
