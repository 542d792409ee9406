package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// object is the first version of object n, made in minute n.
func object(tenant string, n int) store.Object {
	at := epoch.Add(time.Duration(n)*time.Minute + 7*time.Millisecond)
	return store.Object{Tenant: tenant, ID: idOf(n).String(), Version: 1, CreatedAt: at,
		UpdatedAt: at.Add(time.Millisecond)}
}

// newAdvisor is advisor n, all of its properties set; so are the next three.
func newAdvisor(tenant string, n int) *store.Advisor {
	return &store.Advisor{Object: object(tenant, n), Name: "Ädvisor 顧問 🙂", Email: "a@example.com"}
}

func newInvestor(a *store.Advisor, n int) *store.Investor {
	return &store.Investor{Object: object(a.Tenant, n), AdvisorID: a.ID, Type: "company", Name: "Ünvestor 投資家 🙂 'x\"",
		Email: "i@example.com", Country: "LI", Reference: "№ 7"}
}

func newSession(i *store.Investor, n int) *store.AdviceSession {
	return &store.AdviceSession{Object: object(i.Tenant, n), InvestorID: i.ID, Title: "Tïtle 題",
		Objective:   "line\r\nline\t🙂",
		RiskProfile: "balanced", HorizonYears: 12, Recommendation: "büy", CompletedAt: epoch.Add(time.Hour + time.Millisecond)}
}

func newReport(s *store.AdviceSession, n int) *store.Report {
	r := &store.Report{Object: object(s.Tenant, n), SessionID: s.ID, Content: []byte("%PDF\x00\xff")}
	r.UpdatedAt, r.Size = r.CreatedAt, len(r.Content)
	return r
}

// named is the kind of a *store.Advisor, *store.Investor, *store.AdviceSession or *store.Report, and what all have.
func named(x any) (store.Kind, *store.Object) {
	switch x := x.(type) {
	case *store.Advisor:
		return store.KindAdvisor, &x.Object
	case *store.Investor:
		return store.KindInvestor, &x.Object
	case *store.AdviceSession:
		return store.KindSession, &x.Object
	case *store.Report:
		return store.KindReport, &x.Object
	}
	panic(fmt.Sprintf("a %T is no object", x))
}

// write is a change that writes the objects.
func write(objects ...any) *store.Change {
	c := &store.Change{}
	for _, x := range objects {
		switch x := x.(type) {
		case *store.Advisor:
			c.Advisor = x
		case *store.Investor:
			c.Investor = x
		case *store.AdviceSession:
			c.Session = x
		case *store.Report:
			c.Report = x
		}
	}
	return c
}

// remove is a change that removes the objects, in this order.
func remove(objects ...any) *store.Change {
	c := &store.Change{}
	for _, x := range objects {
		k, o := named(x)
		c.Remove = append(c.Remove, store.Removed{Kind: k, ID: o.ID})
	}
	return c
}

// expecting adds to the change that x has the version that it has, and so many children.
func expecting(c *store.Change, x any, children int) *store.Change {
	k, o := named(x)
	c.Expect = append(c.Expect, store.Expected{Kind: k, ID: o.ID, Version: o.Version, Children: children})
	return c
}

// next is a copy of x, changed and of the next version.
func next[T any](x *T, change func(*T)) *T {
	y := *x
	_, o := named(&y)
	o.Version++
	o.UpdatedAt = o.UpdatedAt.Add(time.Second)
	if change != nil {
		change(&y)
	}
	return &y
}

func changing(tenant string, c *store.Change, events ...store.Submitted) *store.Submission {
	return &store.Submission{Tenant: tenant, Events: events, Change: c}
}

// mustChange commits the changes in one batch and fails the test if one is refused.
func mustChange(t *testing.T, s store.Store, tenant string, changes ...*store.Change) {
	t.Helper()
	b := &store.Batch{}
	for _, c := range changes {
		b.Submissions = append(b.Submissions, changing(tenant, c))
	}
	mustCommit(t, s, b)
	for i, x := range b.Submissions {
		if x.Err != nil {
			t.Fatalf("change %d: Submission.Err = %v, want nil", i, x.Err)
		}
	}
}

// wantStale commits the change and wants it refused.
func wantStale(t *testing.T, s store.Store, tenant, what string, c *store.Change) {
	t.Helper()
	x := changing(tenant, c)
	mustCommit(t, s, &store.Batch{Submissions: []*store.Submission{x}})
	if !errors.Is(x.Err, store.ErrVersion) {
		t.Errorf("%s: Submission.Err = %v, want ErrVersion", what, x.Err)
	}
}

// find reads what is stored under the ID of x, and its Num.
func find(s store.Store, x any) (found any, num int64, err error) {
	ctx := context.Background()
	switch x := x.(type) {
	case *store.Advisor:
		got, err := s.AdvisorByID(ctx, x.Tenant, x.ID)
		return &got, got.Num, err
	case *store.Investor:
		got, err := s.InvestorByID(ctx, x.Tenant, x.ID)
		return &got, got.Num, err
	case *store.AdviceSession:
		got, err := s.SessionByID(ctx, x.Tenant, x.ID)
		return &got, got.Num, err
	}
	r := x.(*store.Report)
	got, err := s.ReportByID(ctx, r.Tenant, r.SessionID, r.ID)
	return &got, got.Num, err
}

// wantStored finds each object by its ID and compares all but Num.
func wantStored(t *testing.T, s store.Store, objects ...any) {
	t.Helper()
	for _, want := range objects {
		kind, o := named(want)
		got, _, err := find(s, want)
		if err != nil {
			t.Errorf("%s %s = %v, want it", kind, o.ID, err)
			continue
		}
		_, g := named(got)
		g.Num = 0
		wantEqual(t, string(kind), got, want)
	}
}

func wantGone(t *testing.T, s store.Store, objects ...any) {
	t.Helper()
	for _, x := range objects {
		if _, _, err := find(s, x); !errors.Is(err, store.ErrNotFound) {
			kind, o := named(x)
			t.Errorf("%s %s of %s = %v, want ErrNotFound", kind, o.ID, o.Tenant, err)
		}
	}
}

// firm is a tenant with one object of each kind, stored in one change: numbers n to n+3.
type firm struct {
	advisor  *store.Advisor
	investor *store.Investor
	session  *store.AdviceSession
	report   *store.Report
}

func newFirm(tenant string, n int) (f firm) {
	f.advisor = newAdvisor(tenant, n)
	f.investor = newInvestor(f.advisor, n+1)
	f.session = newSession(f.investor, n+2)
	f.report = newReport(f.session, n+3)
	return f
}

func (f firm) all() []any { return []any{f.advisor, f.investor, f.session, f.report} }

func mustFirm(t *testing.T, s store.Store, tenant string, n int) firm {
	t.Helper()
	mustTenant(t, s, tenant)
	f := newFirm(tenant, n)
	mustChange(t, s, tenant, write(f.all()...))
	return f
}

func testObjectRoundTrip(t *testing.T, s store.Store) {
	full := mustFirm(t, s, "a", 10)
	wantStored(t, s, full.all()...)
	bare := firm{advisor: &store.Advisor{Object: object("a", 20)}}
	bare.investor = &store.Investor{Object: object("a", 21), AdvisorID: bare.advisor.ID, Type: "person"}
	bare.session = &store.AdviceSession{Object: object("a", 22), InvestorID: bare.investor.ID}
	bare.report = newReport(bare.session, 23)
	mustChange(t, s, "a", write(bare.all()...))
	wantStored(t, s, bare.all()...)
	wantStored(t, s, full.all()...)
	for i, x := range full.all() {
		_, one, _ := find(s, x)
		if _, two, _ := find(s, bare.all()[i]); one <= 0 || two <= one {
			kind, _ := named(x)
			t.Errorf("Num of the first and the second %s = %d, %d, want above 0 and ascending", kind, one, two)
		}
	}
	// Times are kept in milliseconds and come back in UTC.
	zone := time.FixedZone("", 3*3600)
	fine := func(at time.Time) time.Time { return at.In(zone).Add(999 * time.Microsecond) }
	x := newSession(full.investor, 30)
	x.DeletedAt = epoch.Add(5 * time.Millisecond)
	given := *x
	given.CreatedAt, given.UpdatedAt, given.DeletedAt, given.CompletedAt = fine(x.CreatedAt), fine(x.UpdatedAt), fine(x.DeletedAt), fine(x.CompletedAt)
	mustChange(t, s, "a", write(&given))
	wantStored(t, s, x)
}

func testObjectTenants(t *testing.T, s store.Store) {
	f, other := mustFirm(t, s, "a", 10), newFirm("b", 10)
	wantGone(t, s, other.all()...)
	wantGone(t, s, newFirm("a", 90).all()...)
	mustFirm(t, s, "b", 10)
	mustChange(t, s, "b", write(next(other.advisor, func(a *store.Advisor) { a.Name = "other" })))
	mustChange(t, s, "b", expecting(remove(other.session, other.investor), other.investor, 1))
	wantGone(t, s, other.session, other.investor, other.report)
	wantStored(t, s, f.all()...)
}

func testObjectUpdate(t *testing.T, s store.Store) {
	f := mustFirm(t, s, "a", 10)
	second, third := newAdvisor("a", 2), newAdvisor("a", 3)
	mustChange(t, s, "a", write(second), write(third))
	nums := func() (list []int64) {
		for _, x := range f.all() {
			_, num, _ := find(s, x)
			list = append(list, num)
		}
		return list
	}
	before := nums()
	a := next(f.advisor, func(a *store.Advisor) { a.Name, a.Email = "new", "" })
	i := next(f.investor, func(i *store.Investor) {
		i.AdvisorID, i.Type, i.Name, i.Email, i.Country, i.Reference, i.DeletedAt = second.ID, "person", "new", "", "DE", "", epoch
	})
	x := next(f.session, func(x *store.AdviceSession) {
		x.Title, x.Objective, x.RiskProfile, x.HorizonYears, x.Recommendation = "new", "", "", 0, "new"
		x.CompletedAt, x.DeletedAt = time.Time{}, epoch.Add(time.Millisecond)
	})
	mustChange(t, s, "a", write(a, i, x))
	wantStored(t, s, a, i, x, f.report, second, third)
	i, x = next(i, func(i *store.Investor) { i.DeletedAt = time.Time{} }), next(x,
		func(x *store.AdviceSession) { x.DeletedAt = time.Time{} })
	mustChange(t, s, "a", write(i), write(x), expecting(expecting(remove(third), second, 1), a, 0))
	wantStored(t, s, a, i, x, f.report, second)
	wantList(t, nums(), before)
}

func testAdvisorKeys(t *testing.T, s store.Store) {
	ctx := context.Background()
	f, g := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 20)
	second := newAdvisor("a", 30)
	mustChange(t, s, "a", write(second))
	newKey := func(role store.Role, advisor string, hash byte) store.APIKey {
		return store.APIKey{ID: idOf(int(hash)).String(), Tenant: "a", Role: role, Advisor: advisor, Name: "key",
			Hash:      [32]byte{hash},
			CreatedAt: epoch.Add(time.Duration(hash) * time.Second)}
	}
	own, admin := newKey(store.AdvisorRole, f.advisor.ID, 1), newKey(store.Admin, "", 2)
	more, others := newKey(store.AdvisorRole, f.advisor.ID, 3), newKey(store.AdvisorRole, second.ID, 4)
	all := []store.APIKey{own, admin, more, others}
	for _, k := range all {
		if err := s.CreateAPIKey(ctx, k); err != nil {
			t.Fatalf("CreateAPIKey = %v, want nil", err)
		}
		if got, err := s.APIKeyByHash(ctx, k.Hash); err != nil || got != k {
			t.Errorf("APIKeyByHash = %+v, %v, want %+v, nil", got, err, k)
		}
	}
	for _, id := range []string{g.advisor.ID, f.investor.ID, "nobody"} {
		if err := s.CreateAPIKey(ctx, newKey(store.AdvisorRole, id, 5)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("CreateAPIKey for the advisor %s = %v, want ErrNotFound", id, err)
		}
	}
	for role, advisor := range map[store.Role]string{store.AdvisorRole: "", store.Viewer: f.advisor.ID,
		store.Admin:     f.advisor.ID,
		store.Publisher: f.advisor.ID, "other": f.advisor.ID} {
		if err := s.CreateAPIKey(ctx, newKey(role, advisor, 6)); err == nil {
			t.Errorf("CreateAPIKey of role %s with advisor %q = nil, want an error", role, advisor)
		}
	}
	want := func(want ...store.APIKey) {
		t.Helper()
		got, err := s.ListAPIKeys(ctx, "a", store.KindAPIKey, time.Time{}, 0, 100)
		if err != nil {
			t.Errorf("ListAPIKeys = %v, want nil", err)
		}
		wantList(t, got, want)
	}
	want(all...)
	mustChange(t, s, "a", write(next(f.advisor, nil)))
	want(all...) // a change of the advisor leaves the keys
	mustChange(t, s, "a", remove(f.session, f.investor, f.advisor))
	want(admin, others)
	if _, err := s.APIKeyByHash(ctx, own.Hash); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("APIKeyByHash of a removed advisor's = %v, want ErrNotFound", err)
	}
}
