package storetest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// waiting is a row of event n, due that many minutes after the epoch.
func waiting(webhook int64, n, attempts, minutes int) store.Waiting {
	return store.Waiting{Tenant: "a", DeliveryKey: key(webhook, n), Attempts: attempts,
		DueAt: epoch.Add(time.Duration(minutes) * time.Minute)}
}

func testDueOrder(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1, 2), submitted(2, 1), submitted(3, 1), submitted(4, 1))
	mustCommit(t, j, &store.Batch{Wait: []store.Waiting{
		waiting(1, 1, 1, 30), waiting(1, 2, 2, 10), waiting(1, 4, 4, 20), waiting(1, 3, 3, 20), waiting(2, 1, 9, 5),
	}})
	at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		now   time.Time
		limit int
		want  []string
	}{
		{at(10).Add(-time.Millisecond), 10, nil}, {at(10), 10, []string{"2:2"}}, {at(29), 10,
			[]string{"2:2", "3:3", "4:4"}},
		{at(30), 10, []string{"2:2", "3:3", "4:4", "1:1"}}, {at(30), 2, []string{"2:2", "3:3"}},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 1, []string{"2:2"}},
	} {
		wantList(t, dueNames(mustDue(t, j, 1, c.now, c.limit, nil)), c.want)
	}
	for webhook, want := range map[int64]time.Time{1: at(10), 2: at(5)} {
		if got, ok, err := j.NextDue(context.Background(), "a", webhook, time.Time{}, nil); err != nil || !ok ||
			!got.Equal(want) {
			t.Errorf("NextDue(%d) = %v, %v, %v, want %v, true, nil", webhook, got, ok, err, want)
		}
	}
	if _, ok, err := j.NextDue(context.Background(), "a", 3, time.Time{}, nil); err != nil || ok {
		t.Errorf("NextDue(3) = %v, %v, want false, nil", ok, err)
	}
}

func testDueSkip(t *testing.T, j store.Journal) {
	b := &store.Batch{}
	skip := map[store.Seq]struct{}{seqOf(99): {}}
	for n := 1; n <= 20; n++ {
		e := submitted(n, 1)
		e.Spilled = []int64{1}
		b.Submissions = append(b.Submissions, submission("a", e))
		if n <= 15 {
			skip[seqOf(n)] = struct{}{}
		}
	}
	mustCommit(t, j, b)
	wantList(t, dueNames(mustDue(t, j, 1, later, 3, skip)), []string{"16:0", "17:0", "18:0"})
	wantList(t, dueNames(mustDue(t, j, 1, later, 10, skip)), []string{"16:0", "17:0", "18:0", "19:0", "20:0"})
	from, err := j.Due(context.Background(), "a", 1, seqOf(19).Time(), later, 10, nil)
	if err != nil {
		t.Fatalf("Due = %v, want nil", err)
	}
	wantList(t, dueNames(from), []string{"19:0", "20:0"})
}

func testWait(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1, 2))
	mustCommit(t, j, &store.Batch{Wait: []store.Waiting{waiting(1, 1, 3, 10)}})
	wantDue(t, j, 1, "1:3")
	mustCommit(t, j, &store.Batch{Wait: []store.Waiting{waiting(1, 1, 4, 20)}})
	wantDue(t, j, 1, "1:4")
	if at, _, _ := j.NextDue(context.Background(), "a", 1, time.Time{}, nil); !at.Equal(epoch.Add(20 * time.Minute)) {
		t.Errorf("NextDue = %v, want the replaced time", at)
	}
	wantList(t, unsettled(t, j, 0, 10), []string{"1:2"})
}

func testRetry(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1))
	first := outcome(key(1, 1), 1, store.Retry)
	mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{first}})
	list := mustDue(t, j, 1, later, 10, nil)
	if len(list) != 1 || list[0].Attempts != 1 || !list[0].DueAt.Equal(first.NextAt) {
		t.Fatalf("Due = %+v, want one, 1 attempt, at %v", list, first.NextAt)
	}
	second := outcome(key(1, 1), 2, store.Retry)
	second.Stored = true
	mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{second}})
	wantDue(t, j, 1, "1:2")
	wantList(t, unsettled(t, j, 0, 10), nil)
}

func testSettle(t *testing.T, j store.Journal) {
	for i, kind := range []store.OutcomeKind{store.Delivered, store.Exhausted, store.Cancelled} {
		n := i + 1
		e := submitted(n, 1)
		e.Spilled = []int64{1}
		mustSubmit(t, j, "a", e)
		o := outcome(key(1, n), 1, kind)
		o.Stored = true
		mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{o}})
		wantDue(t, j, 1)
	}
	wantList(t, unsettled(t, j, 0, 10), nil)
}

// testSettleInBatch: submissions come before Wait, and Wait before Outcomes.
func testSettleInBatch(t *testing.T, j store.Journal) {
	e := submitted(1, 1, 2, 3, 4)
	e.Spilled = []int64{1, 4}
	done, again, unaware := outcome(key(1, 1), 1, store.Delivered), outcome(key(2, 1), 1,
		store.Retry), outcome(key(3, 1), 1, store.Delivered)
	done.Stored, unaware.Stored = true, false
	final := outcome(key(4, 1), 2, store.Exhausted)
	final.Stored = true
	mustCommit(t, j, &store.Batch{
		Submissions: []*store.Submission{submission("a", e)},
		Wait:        []store.Waiting{waiting(2, 1, 0, 1), waiting(3, 1, 0, 1)},
		Outcomes:    []store.Outcome{done, again, unaware, outcome(key(4, 1), 1, store.Retry), final},
	})
	wantDue(t, j, 1)
	wantDue(t, j, 2, "1:1")
	wantDue(t, j, 3)
	wantDue(t, j, 4)
}

// testNotStored: without Stored, a row of before is left alone.
func testNotStored(t *testing.T, j store.Journal) {
	e := submitted(1, 1)
	e.Spilled = []int64{1}
	mustSubmit(t, j, "a", e)
	mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{outcome(key(1, 1), 1, store.Delivered)}})
	wantDue(t, j, 1, "1:0")
}

func testAttempts(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1, 2))
	mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{
		outcome(key(1, 1), 3, store.Retry), outcome(key(1, 1), 12, store.Retry), outcome(key(1, 1), 4, store.Retry),
	}})
	for webhook, want := range map[int64]int{1: 12, 2: 0} {
		if n, err := j.Attempts(context.Background(), "a", key(webhook, 1)); err != nil || n != want {
			t.Errorf("Attempts(%d) = %d, %v, want %d, nil", webhook, n, err, want)
		}
	}
}

// testAttemptOnce: an attempt is on record once; a batch that says otherwise is refused whole.
func testAttemptOnce(t *testing.T, j store.Journal) {
	mustSubmit(t, j, "a", submitted(1, 1))
	mustCommit(t, j, &store.Batch{Outcomes: []store.Outcome{outcome(key(1, 1), 1, store.Retry)}})
	b := &store.Batch{
		Submissions: []*store.Submission{submission("a", submitted(2, 1))},
		Outcomes:    []store.Outcome{outcome(key(1, 1), 1, store.Delivered)},
	}
	err := j.Commit(context.Background(), b)
	if err == nil || errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrFull) {
		t.Errorf("Commit of a second attempt 1 = %v, want an error that is neither ErrBroken nor ErrFull", err)
	}
	wantList(t, unsettled(t, j, 0, 10), nil)
	mustSubmit(t, j, "a", submitted(2, 1))
	wantList(t, unsettled(t, j, 0, 10), []string{"2:1"})
}

func testRecoverFrom(t *testing.T, j store.Journal) {
	for _, set := range []struct{ mark, want store.Seq }{{seqOf(5), seqOf(5)}, {0, seqOf(5)}, {seqOf(3), seqOf(3)}} {
		mustCommit(t, j, &store.Batch{RecoverFrom: set.mark})
		if got, err := j.RecoverFrom(context.Background()); err != nil || got != set.want {
			t.Errorf("RecoverFrom after %d = %d, %v, want %d, nil", set.mark, got, err, set.want)
		}
	}
}

func testUnsettled(t *testing.T, j store.Journal) {
	b := &store.Batch{}
	for n := 1; n <= 10; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, 1, 2)))
	}
	b.Submissions[3].Events[0].Webhooks = nil
	b.Submissions[4].Events[0].Spilled = []int64{1, 2}
	b.Wait = []store.Waiting{waiting(2, 6, 0, 0)}
	b.Outcomes = []store.Outcome{outcome(key(1, 1), 1, store.Delivered), outcome(key(2, 1), 1, store.Cancelled),
		outcome(key(1, 2), 1, store.Retry)}
	mustCommit(t, j, b)
	want := []string{"2:2", "3:1", "3:2", "6:1", "7:1", "7:2", "8:1", "8:2", "9:1", "9:2", "10:1", "10:2"}
	for _, limit := range []int{1, 2, 3, 5, 10, 100} {
		wantList(t, unsettled(t, j, 0, limit), want)
	}
	wantList(t, unsettled(t, j, seqOf(9)+1, 100), want[10:])
}

func testTrim(t *testing.T, j store.Journal) {
	b := &store.Batch{}
	for n := 1; n <= 10; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, 1, 2)))
		b.Outcomes = append(b.Outcomes, outcome(key(1, n), 1, store.Delivered), outcome(key(2, n), 1, store.Exhausted))
	}
	mustCommit(t, j, b)
	step := &store.Trim{Before: seqOf(8), Limit: 3}
	mustCommit(t, j, &store.Batch{Trim: step})
	if step.Removed != 3 || step.Done || step.Next != seqOf(3) {
		t.Errorf("Trim = %+v, want 3 removed, not done, next %d", step, seqOf(3))
	}
	if removed := trimAll(t, j, step.Next, seqOf(8), 3); removed != 4 {
		t.Errorf("Trim removed %d, want 4", removed)
	}
	for n, want := range map[int]int{1: 0, 7: 0, 8: 1, 10: 1} {
		if got, err := j.Attempts(context.Background(), "a", key(1, n)); err != nil || got != want {
			t.Errorf("Attempts of event %d = %d, %v, want %d, nil", n, got, err, want)
		}
	}
	// What was removed is forgotten: its ID is new again.
	again := submitted(1, 1)
	again.Seq = seqOf(20)
	if s := mustSubmit(t, j, "a", again); s.Events[0].Duplicate {
		t.Error("an event that was removed is a duplicate, want new")
	}
}

// trimAll trims in steps until it is done, and tells how many events are gone.
func trimAll(t *testing.T, j store.Journal, after, before store.Seq, limit int) (removed int) {
	t.Helper()
	for range 100 {
		step := &store.Trim{After: after, Before: before, Limit: limit}
		mustCommit(t, j, &store.Batch{Trim: step})
		removed += step.Removed
		if step.Done {
			return removed
		}
		if step.Next <= after || step.Next >= before {
			t.Fatalf("Trim next = %d, want between %d and %d", step.Next, after, before)
		}
		after = step.Next
	}
	t.Fatal("Trim is never done")
	return 0
}

// testTrimKeeps: what waits, in a row or in memory, is passed over.
func testTrimKeeps(t *testing.T, j store.Journal) {
	b := &store.Batch{}
	for n := 1; n <= 6; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, 1)))
	}
	b.Submissions[5].Events[0].Webhooks = nil // matched nothing: nothing to wait for
	b.Wait = []store.Waiting{waiting(1, 2, 0, 0)}
	b.Outcomes = []store.Outcome{outcome(key(1, 1), 1, store.Delivered), outcome(key(1, 3), 1, store.Retry),
		outcome(key(1, 5), 1, store.Delivered)}
	mustCommit(t, j, b)
	if removed := trimAll(t, j, 0, seqOf(100), 2); removed != 3 {
		t.Errorf("Trim removed %d, want 3", removed)
	}
	wantDue(t, j, 1, "2:0", "3:1")
	wantList(t, unsettled(t, j, 0, 10), []string{"4:1"})
}

func testDoneContext(t *testing.T, j store.Journal) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Commit(ctx, &store.Batch{Submissions: []*store.Submission{submission("a", submitted(1, 1))}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit with a context that is done = %v, want context.Canceled", err)
	}
	if seq, err := j.LastSeq(context.Background()); err != nil || seq != 0 {
		t.Errorf("LastSeq = %d, %v, want 0, nil", seq, err)
	}
}
