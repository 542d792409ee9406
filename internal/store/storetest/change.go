package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// testStale: a change that does not hold leaves nothing behind, and everything else in its batch is written.
func testStale(t *testing.T, s store.Store) {
	f := mustFirm(t, s, "a", 10)
	foreign := mustFirm(t, s, "b", 20)
	mustChange(t, s, "b", write(newInvestor(foreign.advisor, 25)), write(newInvestor(foreign.advisor, 26)))
	advisor := next(f.advisor, nil)
	deleted := newInvestor(advisor, 14)
	deleted.DeletedAt = epoch
	mustChange(t, s, "a", write(advisor, deleted))
	once := &store.IdempotencyKey{Caller: "c", Key: "k", CreatedAt: epoch}
	mustChange(t, s, "a", &store.Change{Key: once})
	fails := func(e store.Expected) *store.Change { return &store.Change{Expect: []store.Expected{e}} }
	last := expecting(expecting(expecting(&store.Change{}, advisor, 2), f.investor, 1), f.session, -1)
	last.Expect = append(last.Expect, store.Expected{Kind: store.KindInvestor, ID: deleted.ID, Version: 2, Children: -1})
	n := 100
	for name, c := range map[string]*store.Change{
		"the stored version":  write(next(f.advisor, nil)),
		"skipped version":     write(next(next(f.investor, nil), nil)),
		"update of nothing":   write(next(newSession(f.investor, 98), nil)),
		"update of another's": write(next(newInvestor(advisor, 21), nil)),
		"version 0": write(&store.Investor{Object: store.Object{ID: idOf(98).String()},
			AdvisorID: advisor.ID, Type: "person"}),
		"advisor once more":  write(newAdvisor("a", 10)),
		"investor once more": write(newInvestor(advisor, 11)),
		"session once more":  write(newSession(f.investor, 12)),
		"report once more":   write(newReport(f.session, 13)),
		"one of two":         write(next(f.investor, nil), f.session),
		"missing": fails(store.Expected{Kind: store.KindSession, ID: idOf(98).String(), Version: 1,
			Children: -1}),
		"of another kind": fails(store.Expected{Kind: store.KindSession, ID: f.investor.ID, Version: 1,
			Children: -1}),
		"of another tenant":         expecting(&store.Change{}, foreign.advisor, -1),
		"before the stored version": expecting(&store.Change{}, f.advisor, -1),
		"after the stored version":  expecting(&store.Change{}, next(f.session, nil), -1),
		"fewer children":            expecting(&store.Change{}, advisor, 1), // the soft-deleted one counts
		"more children":             expecting(&store.Change{}, advisor, 3),
		"no children":               expecting(&store.Change{}, f.investor, 0),
		"some children":             expecting(&store.Change{}, deleted, 1),
		"the last of four":          last,
		"key": {Key: &store.IdempotencyKey{Caller: "c", Key: "k", Request: [32]byte{9},
			ObjectID: "x", CreatedAt: epoch}},
	} {
		// The change would also make and remove something, and its event has an ID that the one after it takes.
		n += 10
		if c.Advisor == nil {
			c.Advisor = newAdvisor("a", n)
		}
		if c.Key == nil {
			c.Key = &store.IdempotencyKey{Caller: "c", Key: name, CreatedAt: epoch}
		}
		c.Remove = []store.Removed{{Kind: store.KindSession, ID: f.session.ID},
			{Kind: store.KindInvestor, ID: f.investor.ID}}
		lost, taken := submitted(n+1, 1), submitted(n+1, 1)
		lost.Spilled, lost.Event.Data, taken.Seq = []int64{1}, []byte(`{}`), seqOf(n+2)
		twice := lost
		twice.Seq++
		before, after := newAdvisor("a", n+3), newAdvisor("a", n+4)
		list := []*store.Submission{changing("a", write(before), submitted(n)),
			changing("a", c, lost, twice, submitted(n)),
			changing("a", write(after), taken), submission("a", submitted(n+5))}
		mustCommit(t, s, &store.Batch{Submissions: list})
		for i, x := range list {
			want := []error{nil, store.ErrVersion, nil, nil}[i]
			if !errors.Is(x.Err, want) {
				t.Errorf("%s: Err of submission %d = %v, want %v", name, i, x.Err, want)
			}
			for j, e := range x.Events {
				if e.Duplicate {
					t.Errorf("%s: event %d of submission %d is a duplicate, want none", name, j, i)
				}
			}
		}
		wantList(t, eventNumbers(t, s, "a", store.EventFilter{Since: seqOf(n).Time()}, 0, 10), []int{n + 5, n + 2, n})
		wantGone(t, s, newAdvisor("a", n))
		wantStored(t, s, before, after)
		if _, err := s.IdempotencyKey(context.Background(), "a", "c", name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: IdempotencyKey = %v, want ErrNotFound", name, err)
		}
		// And a submission without the others: its event's ID stays free afterwards.
		alone := changing("a", c, submitted(n+6))
		mustCommit(t, s, &store.Batch{Submissions: []*store.Submission{alone}})
		if !errors.Is(alone.Err, store.ErrVersion) {
			t.Errorf("%s, alone: Err = %v, want ErrVersion", name, alone.Err)
		}
		if e := mustSubmit(t, s, "a", submitted(n+6)).Events[0]; e.Duplicate {
			t.Errorf("%s: the ID of its event is taken, want free", name)
		}
	}
	wantDue(t, s, 1)
	wantStored(t, s, advisor, deleted, f.investor, f.session, f.report)
	wantStored(t, s, foreign.all()...)
	// What holds, so that the above is refused for its own reason.
	last.Expect[3].Version, last.Advisor, last.Remove, last.Key = 1, nil, nil, nil
	mustChange(t, s, "a", last, expecting(&store.Change{}, deleted, 0), write(next(f.investor, nil)))
}

// testChangesInOrder: a submission sees what those before it in the batch did.
func testChangesInOrder(t *testing.T, s store.Store) {
	f := mustFirm(t, s, "a", 10)
	name := func(n int) func(*store.Investor) {
		return func(i *store.Investor) { i.Name = fmt.Sprint("name ", n) }
	}
	two := next(f.investor, name(2))
	three := next(two, name(3))
	made := newInvestor(f.advisor, 20)
	list := []*store.Submission{
		changing("a", write(two), submitted(1)),
		changing("a", write(next(f.investor, name(9))), submitted(2)), // builds on what the first one has replaced
		changing("a", write(three), submitted(3)),
		changing("a", expecting(write(made), f.advisor, 1)),
		changing("a", expecting(write(newInvestor(f.advisor, 21)), f.advisor, 1)),
		changing("a", write(next(made, nil))),
		changing("a", expecting(remove(made), next(made, nil), 0)),
		changing("a", write(next(next(made, nil), nil))),
		changing("a", expecting(&store.Change{}, f.advisor, 1)),
		changing("a", write(made)),
	}
	mustCommit(t, s, &store.Batch{Submissions: list})
	var refused []int
	for i, x := range list {
		if x.Err != nil {
			refused = append(refused, i)
		}
	}
	wantList(t, refused, []int{1, 4, 7})
	wantStored(t, s, three, made)
	wantGone(t, s, newInvestor(f.advisor, 21))
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{}, 0, 10), []int{3, 1})
}

// testChangeInConflict: a change whose event is in conflict is not written, nor does it stand in the way of another.
func testChangeInConflict(t *testing.T, s store.Store) {
	f := mustFirm(t, s, "a", 10)
	mustSubmit(t, s, "a", submitted(1))
	bad := submitted(1)
	bad.Event.Data = []byte(`{}`)
	again := submitted(1)
	again.Seq = seqOf(4)
	lost, kept := next(f.advisor, func(a *store.Advisor) { a.Name = "lost" }), next(f.advisor,
		func(a *store.Advisor) { a.Name = "kept" })
	list := []*store.Submission{changing("a", write(lost), submitted(2), bad),
		changing("a", write(kept), submitted(3), again)}
	mustCommit(t, s, &store.Batch{Submissions: list})
	if conflict, ok := errors.AsType[*store.ConflictError](list[0].Err); !ok || conflict.ID != idOf(1) ||
		list[1].Err != nil {
		t.Errorf("Err, Err = %v, %v, want a conflict of %s, nil", list[0].Err, list[1].Err, idOf(1))
	}
	if !slices.ContainsFunc(list[1].Events, func(e store.Submitted) bool { return e.Duplicate }) {
		t.Error("a repeated event beside a change is new, want a duplicate")
	}
	wantStored(t, s, kept)
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{}, 0, 10), []int{3, 1})
}

func testRemove(t *testing.T, s store.Store) {
	f, other := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 10)
	x, y := newSession(f.investor, 20), newSession(f.investor, 21)
	xr, yr := newReport(x, 22), newReport(y, 23)
	second := newInvestor(f.advisor, 24)
	z := newSession(second, 25)
	zr := newReport(z, 26)
	mustChange(t, s, "a", write(x, xr), write(y, yr), write(newReport(y, 27)), write(second, z, zr))
	// An advice session, with its reports.
	mustChange(t, s, "a", expecting(remove(y), f.investor, 3))
	wantGone(t, s, y, yr, newReport(y, 27))
	if list, err := s.ListReports(context.Background(), "a", y.ID, 0, 10); err != nil || len(list) != 0 {
		t.Errorf("ListReports of a removed session = %d reports, %v, want 0, nil", len(list), err)
	}
	wantStored(t, s, append(f.all(), x, xr, second, z, zr)...)
	// An investor, with the sessions.
	mustChange(t, s, "a", expecting(remove(x, f.session, f.investor), f.investor, 2))
	wantGone(t, s, x, xr, f.session, f.report, f.investor)
	wantStored(t, s, f.advisor, second, z, zr)
	// An advisor, with all that is left. What is made under the same ID afterwards is new.
	_, before, _ := find(s, second)
	mustChange(t, s, "a", expecting(remove(z, second, f.advisor), f.advisor, 1))
	wantGone(t, s, f.advisor, second, z, zr)
	mustChange(t, s, "a", write(f.advisor, second, z, zr))
	wantStored(t, s, f.advisor, second, z, zr)
	if _, after, _ := find(s, second); after <= before {
		t.Errorf("Num of what is made once more = %d, want above %d", after, before)
	}
	wantStored(t, s, other.all()...)
}

func testIdempotencyKeys(t *testing.T, s store.Store) {
	ctx := context.Background()
	f, other := mustFirm(t, s, "a", 10), mustFirm(t, s, "b", 20)
	k := store.IdempotencyKey{Caller: "c", Key: "schlüssel 🙂", Request: [32]byte{1, 31: 255}, ObjectID: f.advisor.ID,
		CreatedAt: epoch}
	with := func(k store.IdempotencyKey, c *store.Change) *store.Change {
		c.Key = &k
		return c
	}
	want := func(tenant string, k store.IdempotencyKey) {
		t.Helper()
		if got, err := s.IdempotencyKey(ctx, tenant, k.Caller, k.Key); err != nil || got != k {
			t.Errorf("IdempotencyKey(%s, %s) = %+v, %v, want %+v, nil", tenant, k.Caller, got, err, k)
		}
	}
	two := next(f.advisor, nil)
	mustChange(t, s, "a", with(k, write(two)))
	want("a", k)
	wantStored(t, s, two)
	again := k
	again.Request, again.ObjectID, again.CreatedAt = [32]byte{2}, "other", epoch.Add(time.Hour)
	wantStale(t, s, "a", "the same key", with(again, write(next(two, nil))))
	wantStale(t, s, "a", "the same key and request", with(k, &store.Change{}))
	want("a", k)
	wantStored(t, s, two)
	caller, bare, name := again, again, again
	caller.Caller, bare.Caller, name.Key = "d", "", "other"
	mustChange(t, s, "a", with(caller, &store.Change{}), with(bare, &store.Change{}), with(name, &store.Change{}))
	mustChange(t, s, "b", with(again, write(next(other.advisor, nil))))
	for _, x := range []store.IdempotencyKey{k, caller, bare, name} {
		want("a", x)
	}
	want("b", again)
	// Of two in a batch the first one counts.
	twice := k
	twice.Key = "twice"
	list := []*store.Submission{changing("a", with(twice, write(next(two, nil)))),
		changing("a", with(twice, &store.Change{}))}
	mustCommit(t, s, &store.Batch{Submissions: list})
	if list[0].Err != nil || !errors.Is(list[1].Err, store.ErrVersion) {
		t.Errorf("Err, Err = %v, %v, want nil, ErrVersion", list[0].Err, list[1].Err)
	}
	// One that is written by itself counts like any other.
	alone := store.IdempotencyKey{Caller: "e", Key: k.Key, Request: [32]byte{3}, ObjectID: "made",
		CreatedAt: epoch.Add(time.Minute)}
	if err := s.AddIdempotencyKey(ctx, "a", alone); err != nil {
		t.Fatalf("AddIdempotencyKey = %v, want nil", err)
	}
	want("a", alone)
	for _, taken := range []store.IdempotencyKey{k, alone} {
		if err := s.AddIdempotencyKey(ctx, "a", taken); !errors.Is(err, store.ErrExists) {
			t.Errorf("AddIdempotencyKey of one that is there = %v, want ErrExists", err)
		}
		want("a", taken)
	}
	wantStale(t, s, "a", "a key that was written by itself", with(alone, &store.Change{}))
	late := store.IdempotencyKey{Caller: "e", Key: "late", ObjectID: "x",
		CreatedAt: epoch.Add(store.IdempotencyLife + time.Second)}
	if err := s.AddIdempotencyKey(ctx, "a", late); err != nil {
		t.Fatalf("AddIdempotencyKey a day later = %v, want nil", err)
	}
	want("a", alone)
	anew := alone
	anew.Request, anew.CreatedAt = [32]byte{4}, alone.CreatedAt.Add(store.IdempotencyLife+time.Second)
	if err := s.AddIdempotencyKey(ctx, "a", anew); err != nil {
		t.Fatalf("AddIdempotencyKey of one that is a day old = %v, want nil", err)
	}
	want("a", anew)
	if _, err := s.IdempotencyKey(ctx, "a", k.Caller, k.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key of a day before is %v, want ErrNotFound", err)
	}
	if err := s.DropIdempotencyKeys(ctx, epoch.Add(time.Hour)); err != nil {
		t.Errorf("DropIdempotencyKeys = %v, want nil", err)
	}
	for _, key := range []string{k.Key, twice.Key} {
		if _, err := s.IdempotencyKey(ctx, "a", "c", key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("IdempotencyKey after dropping = %v, want ErrNotFound", err)
		}
	}
	want("a", caller)
	want("b", again)
	mustChange(t, s, "a", with(again, &store.Change{}))
	want("a", again)
}
