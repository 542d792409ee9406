package storetest

import (
	"bytes"
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// wantListed compares a list, in pages of every size, with the objects; all but Num.
func wantListed[T any](t *testing.T, list func(after int64, limit int) ([]T, error), want ...*T) {
	t.Helper()
	var values []T
	for _, x := range want {
		values = append(values, *x)
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []T
		for after := int64(0); len(got) <= len(want); {
			page, err := list(after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("a page has %d objects, %v, want at most %d, nil", len(page), err, limit)
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				_, o := named(&page[i])
				if o.Num <= after {
					t.Errorf("Num = %d, want above %d", o.Num, after)
				}
				after, o.Num = o.Num, 0
			}
			got = append(got, page...)
		}
		wantList(t, got, values)
	}
}

func testListAdvisors(t *testing.T, s store.Store) {
	mustTenant(t, s, "a", "b", "c")
	var want []*store.Advisor
	for n := range 3 {
		want = append(want, newAdvisor("a", 10-n))
		mustChange(t, s, "a", write(want[n]))
		mustChange(t, s, "b", write(newAdvisor("b", n)))
	}
	list := func(tenant string) func(int64, int) ([]store.Advisor, error) {
		return func(after int64, limit int) ([]store.Advisor, error) {
			return s.ListAdvisors(context.Background(), tenant, after, limit)
		}
	}
	wantListed(t, list("a"), want...)
	wantListed(t, list("c"))
	mustChange(t, s, "a", remove(want[1]))
	want[0] = next(want[0], nil)
	mustChange(t, s, "a", write(want[0]))
	wantListed(t, list("a"), want[0], want[2])
}

func testListInvestors(t *testing.T, s store.Store) {
	f, g := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 20)
	second := newAdvisor("a", 30)
	mustChange(t, s, "a", write(second), remove(f.session, f.investor))
	var all []*store.Investor
	for n := range 8 {
		i := newInvestor([]*store.Advisor{f.advisor, second}[n%2], 40+n)
		i.Type, i.Reference = []string{"person", "company"}[n/2%2], []string{"", "r1", "r2"}[n%3]
		if n >= 5 {
			i.DeletedAt = epoch.Add(time.Duration(n) * time.Millisecond)
		}
		all = append(all, i)
		mustChange(t, s, "a", write(i))
	}
	for name, c := range map[string]struct {
		tenant string
		f      store.InvestorFilter
		want   []int
	}{
		"present": {f: store.InvestorFilter{}, want: []int{0, 1, 2, 3, 4}},
		"gone":    {f: store.InvestorFilter{Presence: store.Gone}, want: []int{5, 6, 7}},
		"either":  {f: store.InvestorFilter{Presence: store.Either}, want: []int{0, 1, 2, 3, 4, 5, 6, 7}},
		"advisor": {f: store.InvestorFilter{AdvisorID: second.ID}, want: []int{1, 3}},
		"advisor, either": {f: store.InvestorFilter{AdvisorID: second.ID, Presence: store.Either},
			want: []int{1, 3, 5, 7}},
		"no such advisor":   {f: store.InvestorFilter{AdvisorID: g.advisor.ID, Presence: store.Either}},
		"type":              {f: store.InvestorFilter{Type: "company"}, want: []int{2, 3}},
		"type, gone":        {f: store.InvestorFilter{Type: "person", Presence: store.Gone}, want: []int{5}},
		"reference":         {f: store.InvestorFilter{Reference: "r1"}, want: []int{1, 4}},
		"reference, either": {f: store.InvestorFilter{Reference: "r1", Presence: store.Either}, want: []int{1, 4, 7}},
		"no such reference": {f: store.InvestorFilter{Reference: "R1"}},
		"all of them": {f: store.InvestorFilter{AdvisorID: second.ID, Type: "company", Reference: "r1",
			Presence: store.Gone},
			want: []int{7}},
		"none of all": {f: store.InvestorFilter{AdvisorID: f.advisor.ID, Type: "company", Reference: "r1",
			Presence: store.Either}},
		"another's": {tenant: "b", f: store.InvestorFilter{AdvisorID: f.advisor.ID}},
	} {
		var want []*store.Investor
		for _, n := range c.want {
			want = append(want, all[n])
		}
		t.Run(name, func(t *testing.T) {
			wantListed(t, func(after int64, limit int) ([]store.Investor, error) {
				return s.ListInvestors(context.Background(), cmp.Or(c.tenant, "a"), c.f, after, limit)
			}, want...)
		})
	}
}

func testListSessions(t *testing.T, s store.Store) {
	ctx := context.Background()
	f, g := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 10)
	second := newInvestor(f.advisor, 30)
	mustChange(t, s, "a", remove(f.session), write(second), write(newSession(second, 31)))
	var all []*store.AdviceSession
	for n := range 6 {
		x := newSession(f.investor, 50-n)
		if n%2 == 0 {
			x.CompletedAt = time.Time{}
		}
		if n >= 3 {
			x.DeletedAt = epoch
		}
		mustChange(t, s, "a", write(x))
		all = append(all, x)
	}
	all[1] = next(all[1], nil)
	mustChange(t, s, "a", write(all[1]))
	yes, no := true, false
	for name, c := range map[string]struct {
		f    store.SessionFilter
		want []int
	}{
		"present":       {store.SessionFilter{}, []int{0, 1, 2}},
		"gone":          {store.SessionFilter{Presence: store.Gone}, []int{3, 4, 5}},
		"either":        {store.SessionFilter{Presence: store.Either}, []int{0, 1, 2, 3, 4, 5}},
		"completed":     {store.SessionFilter{Completed: &yes, Presence: store.Either}, []int{1, 3, 5}},
		"not completed": {store.SessionFilter{Completed: &no}, []int{0, 2}},
		"both of them":  {store.SessionFilter{Completed: &no, Presence: store.Gone}, []int{4}},
	} {
		var want []*store.AdviceSession
		for _, n := range c.want {
			want = append(want, all[n])
		}
		c.f.InvestorID = f.investor.ID
		t.Run(name, func(t *testing.T) {
			wantListed(t, func(after int64, limit int) ([]store.AdviceSession, error) {
				return s.ListSessions(ctx, "a", c.f, after, limit)
			}, want...)
		})
	}
	wantListed(t, func(after int64, limit int) ([]store.AdviceSession, error) {
		return s.ListSessions(ctx, "b", store.SessionFilter{InvestorID: f.investor.ID}, after, limit)
	}, g.session)
	var versions []store.Object
	for _, x := range all {
		versions = append(versions, store.Object{ID: x.ID, Version: x.Version})
	}
	for limit := range len(all) + 2 {
		got, err := s.SessionVersions(ctx, "a", f.investor.ID, limit)
		if err != nil {
			t.Fatalf("SessionVersions = %v, want nil", err)
		}
		wantList(t, got, versions[:min(limit, len(all))])
	}
}

func testReports(t *testing.T, s store.Store) {
	f, g := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 10)
	second := newSession(f.investor, 30)
	large := newReport(f.session, 31)
	large.Content = bytes.Repeat([]byte{0, 1, 2, 255}, 300_000)
	large.Size = len(large.Content)
	mustChange(t, s, "a", write(large), write(second, newReport(second, 33)))
	wantStored(t, s, f.report, large)
	other := *f.report // only its own session has it
	other.SessionID = second.ID
	wantGone(t, s, &other)
	bare := func(r *store.Report) *store.Report {
		x := *r
		x.Content = nil
		return &x
	}
	list := func(tenant string, x *store.AdviceSession) func(int64, int) ([]store.Report, error) {
		return func(after int64, limit int) ([]store.Report, error) {
			return s.ListReports(context.Background(), tenant, x.ID, after, limit)
		}
	}
	wantListed(t, list("a", f.session), bare(f.report), bare(large))
	wantListed(t, list("a", second), bare(newReport(second, 33)))
	wantListed(t, list("b", f.session), bare(g.report))
	wantListed(t, list("b", second))
}

func testListExpired(t *testing.T, s store.Store) {
	a, b := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 10)
	at := func(minute int) time.Time { return epoch.Add(time.Duration(minute) * time.Minute) }
	gone := func(minute int) func(*store.Investor) { return func(i *store.Investor) { i.DeletedAt = at(minute) } }
	goneSession := func(minute int) func(*store.AdviceSession) {
		return func(x *store.AdviceSession) { x.DeletedAt = at(minute) }
	}
	restored, last := newInvestor(a.advisor, 30), newInvestor(a.advisor, 31)
	gone(1)(restored)
	gone(9)(last)
	mustChange(t, s, "a", write(next(a.investor, gone(5)), next(a.session, goneSession(2))), write(restored),
		write(last),
		write(next(restored, func(i *store.Investor) { i.DeletedAt = time.Time{} })), write(newSession(restored, 32)))
	mustChange(t, s, "b", write(next(b.investor, gone(3)), next(b.session, goneSession(1))))
	want := []store.Expired{
		{Tenant: "b", Kind: store.KindInvestor, ID: b.investor.ID}, {Tenant: "a", Kind: store.KindInvestor,
			ID: a.investor.ID},
		{Tenant: "a", Kind: store.KindInvestor, ID: last.ID},
		{Tenant: "b", Kind: store.KindSession, ID: b.session.ID}, {Tenant: "a", Kind: store.KindSession,
			ID: a.session.ID},
	}
	list := func(before time.Time, limit int) []store.Expired {
		got, err := s.ListExpired(context.Background(), before, limit)
		if err != nil {
			t.Fatalf("ListExpired = %v, want nil", err)
		}
		return got
	}
	for limit := range len(want) + 2 {
		wantList(t, list(at(10), limit), want[:min(limit, len(want))])
	}
	wantList(t, list(at(5), 10), []store.Expired{want[0], want[3], want[4]})
	wantList(t, list(at(5).Add(time.Millisecond), 2), want[:2])
	wantList(t, list(at(1), 10), nil)
	mustChange(t, s, "b", remove(b.session, b.investor))
	wantList(t, list(at(10), 10), []store.Expired{want[1], want[2], want[4]})
}
