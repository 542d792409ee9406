package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// What one commit takes of what waits: each tenant its part of the bytes, in order; who is larger than that lets others
// go first once.
func TestDivideParts(t *testing.T) {
	// A request is written tenant, size, and ! if it has let others go first.
	for _, c := range []struct {
		limit           int64
		list, now, rest []string
	}{
		{100, nil, nil, nil},
		{100, []string{"a60", "b40"}, []string{"a60", "b40"}, nil},
		{100, []string{"a60", "b41"}, []string{"b41"}, []string{"a60"}},
		{100, []string{"a60", "a41", "a1"}, []string{"a60"}, []string{"a41", "a1"}},
		{100, []string{"a101", "a1"}, []string{"a101"}, []string{"a1"}},
		{100, []string{"a50", "a50", "a1"}, []string{"a50", "a50"}, []string{"a1"}},
		{100, []string{"a50", "a1", "b50"}, []string{"a50", "b50"}, []string{"a1"}},
		{100, []string{"a51", "b49", "b1"}, []string{"b49", "b1"}, []string{"a51"}},
		{100, []string{"a51!", "b49", "b2"}, []string{"a51!", "b49"}, []string{"b2"}},
		{100, []string{"a1", "a51!", "b49"}, []string{"a1", "b49"}, []string{"a51!"}},
		{100, []string{"a51", "a1", "b49"}, []string{"b49"}, []string{"a51", "a1"}},
		{90, []string{"a30", "b30", "c31", "a1", "b1!", "c1"}, []string{"a30", "b30"},
			[]string{"c31", "a1", "b1!", "c1"}},
	} {
		t.Run(fmt.Sprint(c.list), func(t *testing.T) {
			names := map[*accepted]string{}
			var list []*accepted
			for _, s := range c.list {
				a := &accepted{}
				a.sub.Tenant = s[:1]
				if _, err := fmt.Sscanf(s[1:], "%d", &a.size); err != nil {
					t.Fatal(err)
				}
				a.waited = s[len(s)-1] == '!'
				names[a] = s
				list = append(list, a)
			}
			now, rest := divide(list, c.limit)
			name := func(list []*accepted) (out []string) {
				for _, a := range list {
					out = append(out, names[a])
				}
				return out
			}
			if !slices.Equal(name(now), c.now) || !slices.Equal(name(rest), c.rest) {
				t.Errorf("divide = %v, %v, want %v, %v", name(now), name(rest), c.now, c.rest)
			}
			for _, a := range rest {
				if !a.waited {
					t.Errorf("%s waits and it is not noted", names[a])
				}
			}
		})
	}
}

// What waits is taken in order, so many rows at a time, and none twice.
func TestTake(t *testing.T) {
	for _, n := range []int{0, 1, commitRows - 1, commitRows, commitRows + 1, 3*commitRows + 7} {
		w := quiet(t, Config{}).e.writer
		for i := range n {
			w.write(writing{wait: store.Waiting{Attempts: i}})
		}
		got := 0
		for {
			took := w.take().writes
			if want := min(commitRows, n-got); len(took) != want {
				t.Fatalf("of %d rows %d are taken after %d, want %d", n, len(took), got, want)
			}
			if len(took) == 0 {
				break
			}
			for _, x := range took {
				if x.wait.Attempts != got {
					t.Fatalf("row %d is taken as number %d", x.wait.Attempts, got)
				}
				got++
			}
		}
		if w.writes != nil {
			t.Error("what was written is still held")
		}
	}
}

// The mark is written when something was accepted since, and else once a minute.
func TestMoves(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		after    time.Duration
		more     store.Seq
		accepted bool
		want     bool
	}{
		{0, 0, true, false}, {0, 0, false, false}, {0, 1, true, true}, {0, 1, false, false},
		{-time.Second, 0, true, false},
		{time.Minute - time.Millisecond, 0, false, false}, {time.Minute, 0, false, true}, {2 * time.Minute, 0,
			false, true},
		{time.Minute, 0, true, true},
	} {
		w := quiet(t, Config{}).e.writer
		w.marked, w.accepted = store.SeqAt(at), c.accepted
		if got := w.moves(store.SeqAt(at.Add(c.after)) + c.more); got != c.want {
			t.Errorf("%v and %d later, accepted %v: moves = %v", c.after, c.more, c.accepted, got)
		}
	}
}

// A commit that takes long has publishers turned away at once, and one that takes as long as it may has not.
func TestStalledCommitTurnsPublishersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := quiet(t, Config{}).e.writer
		w.state = writerRunning
		for _, c := range []struct {
			takes time.Duration
			want  error
		}{{0, nil}, {stalledAfter - 1, nil}, {stalledAfter, nil}, {stalledAfter + 1, store.ErrAway}, {time.Hour,
			store.ErrAway}} {
			w.busy(time.Now().Add(-c.takes))
			if err := w.submit(&accepted{}); !errors.Is(err, c.want) {
				t.Errorf("submit while a commit has been taking %v = %v, want %v", c.takes, err, c.want)
			}
		}
		w.busy(time.Time{})
		if err := w.submit(&accepted{}); err != nil {
			t.Errorf("submit while there is no commit = %v", err)
		}
		if len(w.accepts) != 4 {
			t.Errorf("%d requests were taken, want 4", len(w.accepts))
		}
	})
}

// Attempts wait while more than so many bytes of outcomes are not committed, and go on when there is room.
func TestOutcomesWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := quiet(t, Config{}).e.writer
		x := writing{outcome: &store.Outcome{Response: make([]byte, 1000)}}
		if n := x.size(); n != 1256 {
			t.Errorf("size = %d, want the response's and 256", n)
		}
		if n := (&writing{}).size(); n != 0 {
			t.Errorf("the size of a row that is no outcome = %d", n)
		}
		w.write(x, x)
		if n := w.bytes.Load(); n != 2512 {
			t.Errorf("%d bytes wait, want 2512", n)
		}
		w.bytes.Store(outcomeBytes)
		w.room() // returns
		w.bytes.Add(2)
		var in atomic.Bool
		go func() { w.room(); in.Store(true) }()
		for i, want := range []bool{false, false, true} {
			synctest.Wait()
			if in.Load() != want {
				t.Errorf("%d bytes over the limit: an attempt begins: %v", 2-i, in.Load())
			}
			if i < 2 {
				w.ease(1)
			}
		}
		eased := w.eased
		w.ease(1) // from room to more of it: nobody waits
		if w.eased != eased {
			t.Error("nobody waits, and the signal is given")
		}
	})
}

// What comes when the writer has ended is answered, and counted when it is lost.
func TestRefuse(t *testing.T) {
	done := make(chan error, 1)
	lost := refuse([]writing{{outcome: &store.Outcome{}}, {}, {outcome: &store.Outcome{}},
		{outcome: &store.Outcome{}, done: done}}, ErrStopping)
	if lost != 2 || !errors.Is(<-done, ErrStopping) {
		t.Errorf("refuse = %d, want 2", lost)
	}
}

// Whoever comes when the writer has ended is told so, or what broke it.
func TestWriterHasEnded(t *testing.T) {
	for _, broken := range []error{nil, store.ErrBroken} {
		w := quiet(t, Config{}).e.writer
		w.broken = broken
		want := broken
		if broken == nil {
			want = ErrStopping
		}
		w.end()
		if err := w.writeAndWait(t.Context(), writing{}); !errors.Is(err, want) {
			t.Errorf("a row after the end = %v, want %v", err, want)
		}
		if err := w.submit(&accepted{}); !errors.Is(err, want) {
			t.Errorf("a request after the end = %v, want %v", err, want)
		}
	}
}

// Whoever waits for a row is told that a commit failed, also when the row's turn would only come after those that are
// kept.
func TestWhoWaitsIsToldOfAFailure(t *testing.T) {
	for _, n := range []int{1, commitRows, commitRows + 1, 3 * commitRows} {
		w := quiet(t, Config{}).e.writer
		w.state = writerClosing // no pause
		list := make([]writing, n)
		for i := range list {
			list[i].wait.Attempts = i
		}
		done := make(chan error, 1)
		list[n-1].done = done
		w.write(list...)
		w.failed(w.take(), store.ErrFull)
		select {
		case err := <-done:
			if !errors.Is(err, store.ErrFull) {
				t.Errorf("of %d rows: %v, want ErrFull", n, err)
			}
		default:
			t.Errorf("of %d rows nobody is told", n)
		}
		if len(w.writes) != n-1 {
			t.Errorf("of %d rows %d are kept, want all that nobody waits for", n, len(w.writes))
		}
		for i, x := range w.writes {
			if x.wait.Attempts != i {
				t.Errorf("row %d is kept as number %d", x.wait.Attempts, i)
			}
		}
	}
}

// Numbers are committed a bounded number of webhooks at a time, the totals of their tenants beside them, and none
// twice.
func TestRollupsAreTakenInParts(t *testing.T) {
	for _, n := range []int{1, rollupRows - 1, rollupRows, rollupRows + 1, 2*rollupRows + 3} {
		w := quiet(t, Config{}).e.writer
		at := time.Date(2026, 1, 2, 3, 4, 59, 999_000_000, time.UTC)
		for i := range n {
			o := store.Outcome{Tenant: []string{"a", "b"}[i%2], DeliveryKey: store.DeliveryKey{Webhook: int64(i + 1)},
				Kind: store.Delivered, At: at}
			w.count(&o)
		}
		parts, sums := 0, map[int64]int64{}
		for total := n; total > 0; total -= rollupRows {
			parts++
			if !w.assemble(&taken{mark: parts == 1}) {
				t.Fatalf("part %d of %d webhooks' numbers is empty", parts, n)
			}
			rows := 0
			for _, r := range w.batch.Rollups {
				if sums[r.Webhook] += r.Delivered; r.Webhook != 0 {
					rows++
				}
				if !r.At.Equal(at.Truncate(time.Minute)) {
					t.Errorf("numbers of %v are those of %v", at, r.At)
				}
			}
			if want := min(total, rollupRows); rows != want {
				t.Errorf("part %d has %d webhooks' numbers, want %d", parts, rows, want)
			}
			w.tookRollups()
		}
		if w.assemble(&taken{mark: true}) {
			t.Errorf("numbers of %d webhooks are taken twice", n)
		}
		for num, got := range sums {
			want := int64(1)
			if num == 0 {
				want = int64(n)
			}
			if got != want {
				t.Errorf("webhook %d has %d delivered, want %d", num, got, want)
			}
		}
		if len(sums) != n+1 {
			t.Errorf("%d webhooks have numbers, want %d and the total", len(sums), n)
		}
	}
}

// A publisher's request takes of the gate what its events hold, each with its overhead, and never so much that it has
// no chance.
func TestSubmissionSize(t *testing.T) {
	h := quiet(t, Config{})
	sized := func(n int) event.Event { return event.Event{Data: make([]byte, n)} }
	for _, c := range []struct {
		evs  []event.Event
		want int64
	}{
		{[]event.Event{sized(0)}, 512},
		{[]event.Event{sized(100), sized(1)}, 1125},
		{[]event.Event{sized(acceptMost - 512)}, acceptMost},
		{[]event.Event{sized(acceptMost - 511)}, acceptMost},
		{[]event.Event{sized(acceptMost)}, acceptMost},
	} {
		_, size, err := h.e.submission("firm", c.evs)
		if err != nil || size != c.want {
			t.Errorf("size = %d, %v, want %d", size, err, c.want)
		}
	}
}

// A webhook's numbers are those of the minute in which its attempts ended: one row for each minute.
func TestRollupOfAMinute(t *testing.T) {
	w := quiet(t, Config{}).e.writer
	minute := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for _, in := range []time.Duration{0, 30 * time.Second, time.Minute - 1, time.Minute, 90 * time.Second} {
		w.count(&store.Outcome{Kind: store.Delivered, At: minute.Add(in - time.Second), Duration: time.Second})
	}
	got := map[time.Time]int64{}
	for _, r := range w.rollups {
		got[r.At] += r.Delivered
	}
	if len(w.rollups) != 2 || got[minute] != 3 || got[minute.Add(time.Minute)] != 2 {
		t.Errorf("%d rows, %v, want 3 in the first minute and 2 in the second", len(w.rollups), got)
	}
}

// What a start found goes into memory where there is a place, and else gets a row; without a place nothing is in the
// ledger.
func TestResume(t *testing.T) {
	h := quiet(t, Config{QueueLength: 1})
	other := addHook(t, h.e, 2, "firm")
	u := store.Unsettled{Seq: 1, Tenant: "firm", Webhooks: []int64{1, 2, 77}}
	if o, rows := h.e.resume(&u); o == nil || len(o.deliveries) != 2 || len(rows) != 0 {
		t.Errorf("resume = %+v, %d rows, want both webhooks' in memory", o, len(rows))
	}
	other.unreserve(weight(&u.Event))
	if o, rows := h.e.resume(&u); o == nil || len(o.deliveries) != 1 || len(rows) != 1 || rows[0].hook != h {
		t.Errorf("resume = %+v, %d rows, want one of each", o, len(rows))
	}
	if o, rows := h.e.resume(&u); o != nil || len(rows) != 2 {
		t.Errorf("resume = %+v, %d rows, want two rows", o, len(rows))
	}
}
