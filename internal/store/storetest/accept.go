package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

func testEmpty(t *testing.T, j store.Journal) {
	ctx := context.Background()
	if seq, err := j.LastSeq(ctx); err != nil || seq != 0 {
		t.Errorf("LastSeq = %d, %v, want 0, nil", seq, err)
	}
	if seq, err := j.RecoverFrom(ctx); err != nil || seq > j.Next(0) {
		t.Errorf("RecoverFrom = %d, %v, want none that is to come, nil", seq, err)
	}
	if _, ok, err := j.NextDue(ctx, "a", 1, time.Time{}, nil); err != nil || ok {
		t.Errorf("NextDue = %v, %v, want false, nil", ok, err)
	}
	if n, err := j.Attempts(ctx, "a", key(1, 1)); err != nil || n != 0 {
		t.Errorf("Attempts = %d, %v, want 0, nil", n, err)
	}
	wantDue(t, j, 1)
	wantList(t, unsettled(t, j, 0, 10), nil)
	mustCommit(t, j, &store.Batch{})
}

func testAccept(t *testing.T, j store.Journal) {
	s := mustSubmit(t, j, "a", submitted(1, 1, 2), submitted(2))
	for i, e := range s.Events {
		if e.Duplicate {
			t.Errorf("event %d is a duplicate, want new", i)
		}
	}
	if seq, err := j.LastSeq(context.Background()); err != nil || seq != seqOf(2) {
		t.Errorf("LastSeq = %d, %v, want %d, nil", seq, err, seqOf(2))
	}
	found, _, err := j.Unsettled(context.Background(), 0, 10)
	if err != nil || len(found) != 1 {
		t.Fatalf("Unsettled = %v, %v, want one event", found, err)
	}
	wantEqual(t, "Unsettled", found[0],
		store.Unsettled{Seq: seqOf(1), Tenant: "a", Event: newEvent(1), Webhooks: []int64{1, 2}})
}

func testRepeat(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1, 2))
	again := submitted(1, 1, 2, 3)
	again.Seq = seqOf(9)
	s := mustSubmit(t, j, "a", again)
	e := s.Events[0]
	if !e.Duplicate || !e.StoredTime.Equal(newEvent(1).Time) || e.StoredWebhooks != 2 {
		t.Errorf("repeated: Duplicate, StoredTime, StoredWebhooks = %v, %v, %d, want true, %v, 2",
			e.Duplicate, e.StoredTime, e.StoredWebhooks, newEvent(1).Time)
	}
	other := again
	other.TimeGiven, other.Event.Time = false, time.Now()
	if e := mustSubmit(t, j, "a", other).Events[0]; !e.Duplicate || !e.StoredTime.Equal(newEvent(1).Time) {
		t.Errorf("repeated without a time: Duplicate, StoredTime = %v, %v, want true, %v", e.Duplicate, e.StoredTime,
			newEvent(1).Time)
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1", "1:2"})
}

func testConflict(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1))
	for name, change := range map[string]func(*store.Submitted){
		"type":            func(e *store.Submitted) { e.Event.Type = "qap.investor.updated" },
		"object_id":       func(e *store.Submitted) { e.Event.ObjectID = "x" },
		"object_owner_id": func(e *store.Submitted) { e.Event.ObjectOwnerID = "x" },
		"owner_id":        func(e *store.Submitted) { e.Event.OwnerID = "x" },
		"data":            func(e *store.Submitted) { e.Event.Data = []byte(`{}`) },
		"time":            func(e *store.Submitted) { e.Event.Time = e.Event.Time.Add(time.Millisecond) },
	} {
		bad := submitted(1, 1)
		bad.Seq = seqOf(6)
		change(&bad)
		fresh := submitted(5, 1)
		fresh.Spilled = []int64{1}
		refused := submission("a", fresh, bad)
		mustCommit(t, j, &store.Batch{Submissions: []*store.Submission{refused}})
		conflict, ok := errors.AsType[*store.ConflictError](refused.Err)
		if !ok || conflict.ID != idOf(1) {
			t.Errorf("other %s: Err = %v, want a conflict of %s", name, refused.Err, idOf(1))
		}
	}
	wantDue(t, j, 1)
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1"})
	// The rest of a batch with a conflict is written, and the refused submission has not taken any ID.
	bad := submitted(1)
	bad.Event.Data = []byte(`{}`)
	one, two := submission("a", submitted(5, 1), bad), submission("a", submitted(5, 2))
	mustCommit(t, j, &store.Batch{Submissions: []*store.Submission{one, two}})
	if one.Err == nil || two.Err != nil || two.Events[0].Duplicate {
		t.Errorf("Err, Err, Duplicate = %v, %v, %v, want a conflict, nil, false", one.Err, two.Err,
			two.Events[0].Duplicate)
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1", "5:2"})
}

func testSameBatch(t *testing.T, j store.Journal) {
	one, two, three := submission("a", submitted(1, 1)), submission("a", submitted(1, 1, 2)), submission("a",
		submitted(1))
	two.Events[0].Seq, three.Events[0].Seq = seqOf(2), seqOf(3)
	three.Events[0].Event.Data = []byte(`{}`)
	mustCommit(t, j, &store.Batch{Submissions: []*store.Submission{one, two, three}})
	if one.Err != nil || one.Events[0].Duplicate {
		t.Errorf("first: Err, Duplicate = %v, %v, want nil, false", one.Err, one.Events[0].Duplicate)
	}
	if e := two.Events[0]; two.Err != nil || !e.Duplicate || e.StoredWebhooks != 1 ||
		!e.StoredTime.Equal(newEvent(1).Time) {
		t.Errorf("second: Err = %v, event = %+v, want a duplicate of the first", two.Err, e)
	}
	if three.Err == nil {
		t.Error("third: Err = nil, want a conflict")
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1"})
}

func testSameSubmission(t *testing.T, j store.Journal) {
	again := submitted(1, 1)
	again.Seq = seqOf(2)
	s := mustSubmit(t, j, "a", submitted(1, 1), again)
	if s.Events[0].Duplicate || !s.Events[1].Duplicate || s.Events[1].StoredWebhooks != 1 {
		t.Errorf("Duplicate = %v, %v, want false, true", s.Events[0].Duplicate, s.Events[1].Duplicate)
	}
	first, other := submitted(3, 1), submitted(3, 1)
	other.Seq, other.Event.OwnerID = seqOf(4), "x"
	refused := submission("a", first, other)
	mustCommit(t, j, &store.Batch{Submissions: []*store.Submission{refused}})
	if refused.Err == nil {
		t.Error("Err = nil, want a conflict")
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1"})
}

func testMixedSubmission(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1))
	again := submitted(1, 1)
	again.Seq = seqOf(2)
	made := submitted(4, 1)
	made.IDGiven, made.TimeGiven = false, false
	s := mustSubmit(t, j, "a", again, submitted(3, 1), made)
	if !s.Events[0].Duplicate || s.Events[1].Duplicate || s.Events[2].Duplicate {
		t.Errorf("Duplicate = %v, %v, %v, want true, false, false", s.Events[0].Duplicate, s.Events[1].Duplicate,
			s.Events[2].Duplicate)
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1", "3:1", "4:1"})
}

func testIDsOfTenants(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1))
	other := submitted(1, 2)
	other.Seq, other.Event.Data = seqOf(2), []byte(`{}`)
	if s := mustSubmit(t, j, "b", other); s.Events[0].Duplicate {
		t.Error("another tenant's event with the same ID is a duplicate, want new")
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:1", "2:2"})
}

// testLargeBatch writes as many rows as any way of cutting them up must get right.
func testLargeBatch(t *testing.T, j store.Journal) {
	for _, n := range []int{1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 85, 300} {
		base := n * 1000
		b := &store.Batch{}
		var want []string
		for i := range n {
			e := submitted(base+i, int64(n))
			if e.IDGiven = i%3 == 0; !e.IDGiven {
				e.Event.ID = madeID(base + i)
			}
			b.Submissions = append(b.Submissions, submission("a", e))
			want = append(want, itoa(base+i)+":1")
			o := outcome(key(int64(n), base+i), 1, store.Retry)
			o.NextAt = epoch.Add(time.Duration(i) * time.Minute)
			b.Outcomes = append(b.Outcomes, o)
		}
		mustCommit(t, j, b)
		wantDue(t, j, int64(n), want...)
		for i := range n {
			b.Submissions[i].Events[0].IDGiven = true
			b.Outcomes[i] = outcome(key(int64(n), base+i), 2, store.Delivered)
			b.Outcomes[i].Stored = i%7 != 0
		}
		mustCommit(t, j, b)
		for i, s := range b.Submissions {
			if s.Err != nil || !s.Events[0].Duplicate {
				t.Fatalf("event %d of %d again: Err, Duplicate = %v, %v, want nil, true", i, n, s.Err,
					s.Events[0].Duplicate)
			}
		}
		want = nil
		for i := 0; i < n; i += 7 {
			want = append(want, itoa(base+i)+":1")
		}
		wantDue(t, j, int64(n), want...)
	}
	wantList(t, unsettled(t, j, 0, 77), nil)
}

func testSpilled(t *testing.T, j store.Journal) {
	e := submitted(1, 1, 2, 3)
	e.Spilled = []int64{1, 3}
	mustSubmit(t, j, "a", e)
	list := mustDue(t, j, 1, seqOf(1).Time(), 10, nil)
	if len(list) != 1 {
		t.Fatalf("Due = %v, want one", list)
	}
	wantEqual(t, "Due", list[0], store.Due{Event: newEvent(1),
		Waiting: store.Waiting{Tenant: "a", DeliveryKey: key(1, 1), DueAt: seqOf(1).Time()}})
	wantDue(t, j, 2)
	wantDue(t, j, 3, "1:0")
	wantList(t, unsettled(t, j, 0, 10), []string{"1:2"})
}
