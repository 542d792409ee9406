package engine

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// What is not set has a default, and what is set stays.
func TestDefaults(t *testing.T) {
	var c Config
	c.setDefaults()
	if c.Attempts != 1024 || c.Concurrency != 32 || c.QueueLength != 8192 || c.QueueBytes != 32<<20 ||
		c.LateAfter != 10*time.Second {
		t.Errorf("the defaults are %+v", c)
	}
	if c.Logger == nil || c.Disable == nil || c.Broken == nil {
		t.Errorf("a function is missing: %+v", c)
	}
	c = Config{Attempts: 1, Concurrency: 1, QueueLength: 1, QueueBytes: 1, LateAfter: 1}
	c.setDefaults()
	if c.Attempts != 1 || c.Concurrency != 1 || c.QueueLength != 1 || c.QueueBytes != 1 || c.LateAfter != 1 {
		t.Errorf("what was set became %+v", c)
	}
}

// New events get the whole queue, and half of it while there is a backlog; what is promised counts.
func TestReserve(t *testing.T) {
	for _, c := range []struct {
		length  int
		backlog bool
		want    int
	}{{1, false, 1}, {1, true, 1}, {7, false, 7}, {7, true, 4}, {8, false, 8}, {8, true, 4}} {
		h := quiet(t, Config{QueueLength: c.length})
		h.backlog = c.backlog
		got := 0
		for h.reserve(600) {
			if got++; got > 1 && got%2 == 0 { // some of them have come
				h.push(queuedNot(h, store.Seq(got)))
			}
		}
		if got != c.want {
			t.Errorf("%d of %d places are given, backlog %v, want %d", got, c.length, c.backlog, c.want)
		}
	}
	h := quiet(t, Config{QueueLength: 2, QueueBytes: 1000})
	if h.reserve(1001) {
		t.Error("a place is given without memory")
	}
	for range 5 { // what is given back is there again
		if !h.reserve(1000) {
			t.Fatal("no place is given")
		}
		h.unreserve(1000)
	}
	h.stop()
	if h.reserve(1) {
		t.Error("a stopped webhook gives a place")
	}
}

// queuedNot is a delivery that is not in the queue.
func queuedNot(h *hook, seq store.Seq) *delivery {
	return &delivery{key: store.DeliveryKey{Webhook: h.num, Event: seq}, tenant: h.tenant, hook: h,
		event: &event.Event{}}
}

// Deliveries leave the queue in the order in which they came, and what has left is let go of.
func TestNext(t *testing.T) {
	for _, c := range []struct{ queued, taken, head, length int }{
		{10, 9, 9, 10}, {10, 10, 0, 0}, {2046, 1023, 1023, 2046}, {2048, 1023, 1023, 2048}, {2048, 1024, 0, 1024},
		{2049, 1024, 1024, 2049}, {2049, 1025, 0, 1024}, {3000, 1499, 1499, 3000}, {3000, 1500, 0, 1500},
	} {
		h := quiet(t, Config{})
		all := queued(h, 1, c.queued)
		for i, want := range all[:c.taken] {
			if d := h.next(); d != want {
				t.Fatalf("delivery %d of %d came out of its turn", i, c.queued)
			}
		}
		if h.head != c.head || len(h.queue) != c.length {
			t.Errorf("%d of %d taken: head %d of %d, want %d of %d", c.taken, c.queued, h.head, len(h.queue),
				c.head, c.length)
		}
		for _, want := range all[c.taken:] {
			if d := h.next(); d != want {
				t.Fatal("a delivery came out of its turn after the queue was cut")
			}
		}
		if h.next() != nil {
			t.Error("there is something in an empty queue")
		}
	}
}

// A worker is asked for while there are fewer than may be, and one too many takes nothing.
func TestWorkersOfAWebhook(t *testing.T) {
	for _, c := range []struct {
		workers, failures int
		wants, takes      bool
	}{{0, 0, true, true}, {3, 0, true, true}, {4, 0, false, true}, {5, 0, false, false},
		{0, paceAfter, true, true}, {1, paceAfter, false, true}, {2, paceAfter, false, false}} {
		h := quiet(t, Config{Concurrency: 4})
		queued(h, 1, 2)
		h.workers, h.pace.failures = c.workers, c.failures
		if got := h.wantsWorker(); got != c.wants {
			t.Errorf("with %d workers and %d failures: another is wanted: %v", c.workers, c.failures, got)
		}
		if got := h.next() != nil; got != c.takes {
			t.Errorf("with %d workers and %d failures: one takes a delivery: %v", c.workers, c.failures, got)
		}
	}
	h := quiet(t, Config{})
	if h.wantsWorker() {
		t.Error("a worker is wanted for nothing")
	}
	queued(h, 1, 1)
	h.pace.failures, h.pace.until = paceAfter, time.Now().Add(time.Hour)
	if h.wantsWorker() || h.next() != nil {
		t.Error("a webhook that rests is worked on")
	}
	h.stop()
	h.pace.reset(&h.e.paced)
	if h.wantsWorker() || h.next() != nil {
		t.Error("a stopped webhook is worked on")
	}
}

// The backlog is read on when half of the queue is free.
func TestForgetRefills(t *testing.T) {
	for _, c := range []struct {
		length, queued int
		backlog, want  bool
	}{{8, 6, true, false}, {8, 5, true, true}, {8, 5, false, false}, {8, 1, true, true}, {9, 5, true, true}, {9,
		6, true,
		false}} {
		h := quiet(t, Config{QueueLength: c.length})
		h.e.isReady(h)
		d := queued(h, 1, c.queued)[0]
		h.backlog = c.backlog
		h.forget(d)
		if got := h.e.isReady(h); got != c.want {
			t.Errorf("%d of %d left, backlog %v: read on %v, want %v", c.queued-1, c.length, c.backlog, got, c.want)
		}
		if used, want := h.e.memory.used, int64(c.queued-1)*512; used != want {
			t.Errorf("%d bytes are used, want %d", used, want)
		}
	}
}

// How many waiting deliveries can be read now.
func TestRoom(t *testing.T) {
	const kib = 1 << 10
	for _, c := range []struct {
		name             string
		length           int
		bytes            int64
		active, reserved int
		mean             int64
		failures         int
		taken            bool // nothing is queued: workers have it all
		want             int
	}{
		{"the sizes are known", 8192, 64 << 20, 0, 0, kib, 0, false, loadLimit},
		{"nothing was read yet", 8192, 64 << 20, 0, 0, 0, 0, false, firstLoad},
		{"nothing was read yet, and a short queue", 20, 64 << 20, 0, 0, 0, 0, false, 20},
		{"what is there and what is promised count", 100, 64 << 20, 60, 30, kib, 0, false, 10},
		{"the last place", 100, 64 << 20, 60, 39, kib, 0, false, 1},
		{"full", 100, 64 << 20, 60, 40, kib, 0, false, 0},
		{"memory for so many", 8192, 100 * kib, 0, 0, kib, 0, false, 50},
		{"memory for one large", 8192, 100 * kib, 0, 0, 60 * kib, 0, false, 1},
		{"not even that", 8192, 100 * kib, 0, 0, 101 * kib, 0, false, 0},
		{"paced, and nothing to do", 8192, 64 << 20, 3, 0, kib, paceAfter, true, slowLoad},
		{"paced, and something to do", 8192, 64 << 20, 1, 0, kib, paceAfter, false, 0},
		{"paced, and a short queue", 5, 64 << 20, 0, 0, kib, paceAfter, false, 5},
		{"one failure before", 8192, 64 << 20, 1, 0, kib, paceAfter - 1, false, loadLimit},
	} {
		h := quiet(t, Config{QueueLength: c.length, QueueBytes: c.bytes})
		queued(h, 1, c.active)
		if c.taken {
			h.head = len(h.queue)
		}
		h.reserved, h.mean, h.pace.failures = c.reserved, c.mean, c.failures
		if got := h.room(); got != c.want {
			t.Errorf("%s: room = %d, want %d", c.name, got, c.want)
		}
	}
}

// waits makes so many waiting deliveries with data of a size, due a second apart from at on.
func waits(h *hook, at time.Time, n, size int) (list []store.Due) {
	for i := range n {
		d := store.Due{Waiting: store.Waiting{Tenant: h.tenant, Attempts: 1,
			DueAt: at.Add(time.Duration(i) * time.Second)}}
		d.DeliveryKey = store.DeliveryKey{Webhook: h.num, Event: store.Seq(i + 1)}
		d.Event.Data = make([]byte, size)
		list = append(list, d)
	}
	return list
}

// What was read is queued as far as there is memory; where the next read begins, and when.
func TestTakeWhatWasRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name           string
		found, limit   int
		length         int
		bytes          int64
		size           int // of the data
		there          int // of those found, in memory already
		queued         int
		more, again    bool
		loaded         int // seconds after at; -1: until now
		mean           int64
		laterIfNothing bool
	}{
		{"all that there is", 3, 4, 100, 1 << 20, 0, 0, 3, false, false, -1, 512, false},
		{"as many as were asked for", 4, 4, 100, 1 << 20, 0, 0, 4, true, true, 3, 512, false},
		{"half of the queue is free", 4, 4, 8, 1 << 20, 0, 0, 4, true, true, 3, 512, false},
		{"less than half of it is", 4, 4, 7, 1 << 20, 0, 0, 4, true, false, 3, 512, false},
		{"memory for one more", 4, 10, 100, 3000, 488, 0, 1, true, true, 1, 1000, false},
		{"memory for none", 4, 10, 100, 900, 488, 0, 0, true, false, 0, 1000, true},
		{"some are there", 4, 5, 100, 1 << 20, 100, 2, 2, false, false, -1, 612, false},
		{"all are there", 4, 4, 100, 1 << 20, 0, 4, 0, true, false, 3, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := quiet(t, Config{QueueLength: c.length, QueueBytes: c.bytes})
				h.e.isReady(h)
				now := at.Add(time.Hour)
				h.loaded = now
				found := waits(h, at, c.found, c.size)
				h.active = map[store.Seq]*delivery{}
				for i := range found[:c.there] {
					h.active[store.Seq(i+1)] = queuedNot(h, store.Seq(i+1))
				}
				if got := h.take(found, c.limit); got != c.more || h.backlog != c.more {
					t.Errorf("more = %v, backlog %v, want %v", got, h.backlog, c.more)
				}
				if len(h.queue) != c.queued || h.mean != c.mean {
					t.Errorf("%d are queued, of %d bytes on average, want %d of %d", len(h.queue), h.mean,
						c.queued, c.mean)
				}
				want := now
				if c.loaded >= 0 {
					want = at.Add(time.Duration(c.loaded) * time.Second)
				}
				if !h.loaded.Equal(want) {
					t.Errorf("the next read begins at %v, want %v", h.loaded, want)
				}
				if got := h.e.isReady(h); got != c.again {
					t.Errorf("read on at once = %v, want %v", got, c.again)
				}
				time.Sleep(tick / 10)
				synctest.Wait()
				if got := h.e.isReady(h); got != c.laterIfNothing {
					t.Errorf("read on after a while = %v, want %v", got, c.laterIfNothing)
				}
			})
		})
	}
}

// A webhook's waiting deliveries are looked at when the earliest is due, and at once when it is.
func TestDueAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quiet(t, Config{})
		ready := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if got := h.e.isReady(h); got != want {
				t.Errorf("%s: looked at = %v, want %v", when, got, want)
			}
		}
		state := func() (loaded, timerAt time.Time, backlog bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.loaded, h.timerAt, h.backlog
		}
		start := func(loaded time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.loaded, h.backlog = loaded, false
		}
		for range 2 { // the second round sets the same timer again
			now := time.Now()
			start(now.Add(time.Hour))
			h.dueAt(now.Add(20 * time.Second))
			h.dueAt(now.Add(30 * time.Second)) // later: the timer stays
			h.dueAt(now.Add(10 * time.Second)) // earlier: it moves
			want := now.Add(10 * time.Second)
			if loaded, timerAt, _ := state(); !timerAt.Equal(want) || !loaded.Equal(want) {
				t.Errorf("the timer is set to %v, what is before %v is loaded", timerAt.Sub(now), loaded.Sub(now))
			}
			time.Sleep(10*time.Second - 1)
			ready(false, "a nanosecond before")
			time.Sleep(time.Nanosecond)
			ready(true, "when it is due")
			time.Sleep(time.Hour)
			ready(false, "later")
			if _, timerAt, backlog := state(); backlog || !timerAt.IsZero() {
				t.Errorf("a backlog: %v, a timer at %v", backlog, timerAt)
			}
		}
		for _, ago := range []time.Duration{0, time.Second} {
			start(time.Time{})
			h.dueAt(time.Now().Add(-ago))
			ready(true, "due already")
			if _, timerAt, backlog := state(); !backlog || !timerAt.IsZero() {
				t.Errorf("due %v ago: a backlog: %v, a timer at %v", ago, backlog, timerAt)
			}
		}
		start(time.Now().Add(-time.Hour))
		h.dueAt(time.Now().Add(time.Minute))
		if loaded, _, _ := state(); !loaded.Equal(time.Now().Add(-time.Hour)) {
			t.Error("what is due later moved where the next read begins")
		}
		h.stop()
		time.Sleep(time.Hour)
		ready(false, "after a stop")
		h.dueAt(time.Now())
		ready(false, "due after a stop")
	})
}

// Whatever asks to have a webhook looked at after a while, however often: it is once.
func TestLaterIsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quiet(t, Config{})
		h.e.isReady(h)
		looks := 0
		for i := range 40 {
			if i < 20 {
				h.e.later(h, tick)
			}
			time.Sleep(tick / 10)
			synctest.Wait()
			if h.e.isReady(h) {
				looks++
			}
		}
		if looks != 2 {
			t.Errorf("it is looked at %d times after two seconds of asking, want 2", looks)
		}
	})
}

// What Due passes over: what is in memory with a row that is due from then on, and what RetryNow holds.
func TestSkip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := quiet(t, Config{})
	list := queued(h, 1, 4)
	list[1].row, list[1].due = true, at.Add(-1)
	list[2].row, list[2].due = true, at
	list[3].row, list[3].due = true, at.Add(1)
	if !h.hold(9) || h.hold(9) || h.hold(1) {
		t.Error("a delivery in memory is held, or one that is not is not")
	}
	if got, want := slices.Sorted(maps.Keys(h.skip(at))), []store.Seq{3, 4, 9}; !slices.Equal(got, want) {
		t.Errorf("skip = %v, want %v", got, want)
	}
}

// A late delivery is written down once, and not when its outcome is on its way or it has left.
func TestLate(t *testing.T) {
	h := quiet(t, Config{})
	list := queued(h, 1, 4)
	list[1].place, list[2].place = handedOver, committed
	delete(h.active, list[3].key.Event)
	for i, want := range []bool{true, false, false, false} {
		row, ok := h.late(list[i])
		if ok != want || ok && (!row.Held || row.DeliveryKey != list[i].key || !list[i].row || list[i].place != handedOver) {
			t.Errorf("late(%d) = %+v, %v, want %v", i, row, ok, want)
		}
	}
	if _, ok := h.late(list[0]); ok {
		t.Error("it is written down twice")
	}
}

// What goes back has a waiting row with the time that it is due at: one is written unless it has that.
func TestPutBack(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name  string
		place place
		row   bool
		due   time.Time
		want  bool // a row is written
	}{
		{"no row", inMemory, false, time.Time{}, true},
		{"a row on its way", handedOver, true, at, true},
		{"its row", committed, true, at, false},
		{"a row with another time", committed, true, at.Add(1), true},
	} {
		h := quiet(t, Config{})
		d := queued(h, 1, 1)[0]
		d.place, d.row, d.due = c.place, c.row, c.due
		h.putBack(d, at)
		list := h.e.writer.take().writes
		if got := len(list) == 1; got != c.want || got && (!list[0].wait.DueAt.Equal(at) || !list[0].leaves) {
			t.Errorf("%s: %d rows are written", c.name, len(list))
		}
		if _, there := h.active[1]; there != c.want {
			t.Errorf("%s: in memory %v, want %v", c.name, there, c.want)
		}
		if c.want && (d.place == inMemory || !d.row) {
			t.Errorf("%s: place %d, row %v", c.name, d.place, d.row)
		}
	}
}

// Memory is given back from the end of the queue, by deliveries that have their row on record, and never the first.
func TestShed(t *testing.T) {
	const each = 512
	for _, c := range []struct {
		name  string
		rows  string // of each delivery: r: on record, h: on its way, -: none
		taken int    // by workers
		bytes int64
		left  []store.Seq
	}{
		{"nothing is to be freed", "rrrr", 0, 0, []store.Seq{1, 2, 3, 4}},
		{"a byte is a delivery", "rrrr", 0, 1, []store.Seq{1, 2, 3}},
		{"one", "rrrr", 0, each, []store.Seq{1, 2, 3}},
		{"one and a byte", "rrrr", 0, each + 1, []store.Seq{1, 2}},
		{"all that can be", "rrrr", 0, 1 << 20, []store.Seq{1}},
		{"those without a row stay", "r-rhr", 0, 1 << 20, []store.Seq{1, 2, 4}},
		{"those without a row count nothing", "rr-h", 0, each, []store.Seq{1, 3, 4}},
		{"workers have some", "rrrrr", 2, 1 << 20, []store.Seq{3}},
		{"workers have all but one", "rrr", 2, 1 << 20, []store.Seq{3}},
		{"no row", "---", 0, 1 << 20, []store.Seq{1, 2, 3}},
	} {
		h := quiet(t, Config{})
		for i, d := range queued(h, 1, len(c.rows)) {
			switch c.rows[i] {
			case 'r':
				d.row, d.place = true, committed
			case 'h':
				d.row, d.place = true, handedOver
			}
		}
		for range c.taken {
			h.next()
		}
		h.loaded, h.backlog = time.Now(), false
		h.e.isReady(h)
		h.shed(c.bytes)
		gone := len(c.rows) - c.taken - len(c.left)
		if h.backlog != (gone > 0) || h.loaded.IsZero() != (gone > 0) {
			t.Errorf("%s: backlog %v, the next read begins at %v", c.name, h.backlog, h.loaded)
		}
		if h.e.isReady(h) != (gone > 0) {
			t.Errorf("%s: what was shed is to be read again: %v", c.name, gone == 0)
		}
		if used := h.e.memory.used; used != int64(len(c.rows)-gone)*each {
			t.Errorf("%s: %d bytes are used, want those of %d", c.name, used, len(c.rows)-gone)
		}
		var left []store.Seq
		for d := h.next(); d != nil; d = h.next() {
			left = append(left, d.key.Event)
		}
		if !slices.Equal(left, c.left) {
			t.Errorf("%s: %v are left, want %v", c.name, left, c.left)
		}
	}
}

// A read that finds no room is made when there is some: when a delivery leaves, or, where none is there to leave, after
// a while.
func TestLoadWithoutRoom(t *testing.T) {
	for _, c := range []struct {
		name   string
		queued int
		others int64 // bytes that another tenant holds
		want   bool
	}{{"a full queue", 2, 0, false}, {"the memory is others'", 0, 1 << 20, true}, {"there is room", 1, 0, false}} {
		synctest.Test(t, func(t *testing.T) {
			h := quiet(t, Config{QueueLength: 2, QueueBytes: 1 << 20})
			h.e.memory.add(&hook{tenant: "other"}, c.others)
			queued(h, 1, c.queued)
			h.e.isReady(h)
			if err := h.e.load(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if room := c.queued == 1; h.backlog == room || h.loaded.IsZero() == room {
				t.Errorf("%s: a backlog %v, loaded up to %v", c.name, h.backlog, h.loaded)
			}
			time.Sleep(tick/10 - 1)
			synctest.Wait()
			if h.e.isReady(h) {
				t.Errorf("%s: another look at once", c.name)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := h.e.isReady(h); got != c.want {
				t.Errorf("%s: another look after a while = %v, want %v", c.name, got, c.want)
			}
		})
	}
}

// What a row on record asks for: a look at what waits when the delivery is due, unless it is in memory or held.
func TestWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		at := func(d time.Duration) store.Waiting { return store.Waiting{DueAt: now.Add(d)} }
		retry := &store.Outcome{Kind: store.Retry, NextAt: now.Add(time.Minute)}
		d, done := &delivery{}, &store.Outcome{Kind: store.Delivered}
		for _, c := range []struct {
			name             string
			x                writing
			enabled, deleted bool
			ready, timer     bool
		}{
			{"of one that is not in memory", writing{wait: at(0)}, true, false, true, false},
			{"due later", writing{wait: at(time.Minute)}, true, false, false, true},
			{"in memory", writing{wait: at(0), delivery: d}, true, false, false, false},
			{"that leaves it", writing{wait: at(0), delivery: d, leaves: true}, true, false, true, false},
			{"a retry", writing{outcome: retry, delivery: d, leaves: true}, true, false, false, true},
			{"delivered", writing{outcome: done, delivery: d, leaves: true}, true, false, false, false},
			{"held", writing{wait: at(0)}, false, false, false, false},
			{"a retry, held", writing{outcome: retry, delivery: d, leaves: true}, false, false, false, false},
			{"to be cancelled", writing{wait: at(time.Minute)}, false, true, true, false},
			{"a retry, to be cancelled", writing{outcome: retry, delivery: d, leaves: true}, true, true, true, false},
		} {
			h := quiet(t, Config{})
			w := *h.conf.Load().webhook
			if w.Enabled = c.enabled; c.deleted {
				w.DeletedAt = now
			}
			if err := h.configure(&w, matcher{}); err != nil {
				t.Fatal(err)
			}
			h.e.isReady(h)
			h.wrote(&c.x)
			if ready, timer := h.e.isReady(h), !h.timerAt.IsZero(); ready != c.ready || timer != c.timer {
				t.Errorf("%s: a look at once %v, later %v, want %v, %v", c.name, ready, timer, c.ready, c.timer)
			}
			h.stop()
		}
	})
}

// An outcome that is handed over keeps a late row from being written; it says whether there is a row, and a time only
// for a retry.
func TestSettle(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		place place
		row   bool
		want  place
	}{{inMemory, false, handedOver}, {handedOver, true, handedOver}, {committed, true, committed}} {
		for _, kind := range []store.OutcomeKind{store.Retry, store.Delivered, store.Exhausted, store.Cancelled} {
			h := quiet(t, Config{})
			d := queued(h, 1, 1)[0]
			d.place, d.row = c.place, c.row
			h.e.settle(h, d, &store.Outcome{Kind: kind, NextAt: at})
			o := h.e.writer.take().writes[0].outcome
			if d.place != c.want || o.Stored != c.row || o.NextAt.IsZero() == (kind == store.Retry) {
				t.Errorf("%s at place %d, row %v: place %d, %+v", kind, c.place, c.row, d.place, o)
			}
		}
	}
}
