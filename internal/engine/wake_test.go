package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Whatever came and went, wherever the webhooks' targets moved to: nobody is in line who could have a place, none has
// more places than there are, in all or at its target, and in the end nothing is kept.
func TestNobodyWaitsBesideAPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type worker struct {
			h *hook
			o *origin
		}
		var working []worker
		all, most := rapid.Int64Range(1, 24).Draw(t, "places"), rapid.Int64Range(1, 12).Draw(t, "of a target")
		p := newPlaces(all, most, func(h *hook, o *origin) { working = append(working, worker{h, o}) })
		hooks, at, keys := make([]*hook, 20), map[*hook]*origin{}, []string{"x", "y", "z"}
		for i := range hooks {
			hooks[i] = &hook{tenant: string(rune('a' + i%3))}
			at[hooks[i]] = p.origin(keys[i%len(keys)])
		}
		leave := func(i int) {
			w := working[i]
			working = append(working[:i], working[i+1:]...)
			p.leave(w.h, w.o)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			h := rapid.SampledFrom(hooks).Draw(t, "webhook")
			switch n := len(working); rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				was := at[h]
				at[h] = p.origin(rapid.SampledFrom(keys).Draw(t, "moves to"))
				p.drop(h, was)
			case 1, 2:
				if n > 0 {
					leave(rapid.IntRange(0, n-1).Draw(t, "who leaves"))
				}
			default:
				p.ask(h, at[h])
			}
			there := map[*origin]int64{}
			for _, w := range working {
				if there[w.o]++; there[w.o] > most || int64(len(working)) > all {
					t.Fatalf("%d attempts are under way of %d, %d at one target of %d", len(working), all,
						there[w.o], most)
				}
			}
			for h, o := range p.waiting {
				if o != at[h] {
					t.Fatal("a webhook waits for a place at a target that it has no longer")
				}
				waitsThere := slices.Contains(o.line.hooks[h.tenant], h)
				if waitsThere && o.share.would(h, 1) || !waitsThere && p.share.would(h, 1) {
					t.Fatalf("a webhook of tenant %s waits, and there is a place for it", h.tenant)
				}
			}
		}
		for len(working) > 0 {
			leave(0)
		}
		for h, o := range at {
			p.drop(h, o)
		}
		if len(p.waiting) > 0 || p.waits.Load() > 0 || len(p.origins) > 0 || p.share.used > 0 {
			t.Fatalf("%d webhooks are left in line, %d targets, %d places", len(p.waiting), len(p.origins),
				p.share.used)
		}
	})
}

// Of whatever waits a commit takes something, each tenant's in order, and leaves the rest.
func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*accepted
		for range rapid.IntRange(1, 12).Draw(t, "requests") {
			list = append(list, &accepted{sub: store.Submission{Tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t,
				"tenant")},
				size: rapid.Int64Range(1, 200).Draw(t, "size")})
		}
		left := map[string][]*accepted{}
		for _, a := range list {
			left[a.sub.Tenant] = append(left[a.sub.Tenant], a)
		}
		for len(list) > 0 {
			now, rest := divide(list, 100)
			if len(now) == 0 || len(now)+len(rest) != len(list) {
				t.Fatalf("of %d a commit takes %d and leaves %d", len(list), len(now), len(rest))
			}
			for _, a := range now {
				if left[a.sub.Tenant][0] != a {
					t.Fatal("a request went before one that was there earlier")
				}
				left[a.sub.Tenant] = left[a.sub.Tenant][1:]
			}
			list = rest
		}
	})
}

type sender func(context.Context) attempt.Result

func (s sender) Send(ctx context.Context, _ *attempt.Target, _ *event.Event) attempt.Result {
	return s(ctx)
}

// unready is a journal that does not read what is due until it is told to, and then fails when told so.
type unready struct {
	*storetest.Memory
	fail chan error // nil: reads as ever
	from time.Time  // of the last read
}

func (u *unready) Due(ctx context.Context, tenant string, num int64, from, to time.Time, limit int,
	skip map[store.Seq]struct{}) ([]store.Due, error) {
	u.from = from
	if u.fail != nil {
		return nil, <-u.fail
	}
	return u.Memory.Due(ctx, tenant, num, from, to, limit, skip)
}

func startOne(t *testing.T, j store.Journal, s Sender) (*Engine, *hook) {
	t.Helper()
	e := New(Config{Journal: j, Sender: s, Concurrency: 1})
	w := &webhook.Webhook{Num: 1, ID: uuid.NewString(), Tenant: "firm", URL: "https://receiver.example/",
		Method:     webhook.POST,
		EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true, Timeout: 15 * time.Second,
		RetrySchedule: webhook.DefaultRetrySchedule(), Version: 1}
	if err := e.Start(t.Context(), []*webhook.Webhook{w}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	synctest.Wait()
	return e, e.table.Load().byNum(1)
}

// Who asks for an earlier look while a read is under way gets it, also when the read fails.
func TestFailedReadKeepsWhatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &unready{Memory: storetest.NewMemory()}
		e, h := startOne(t, j, sender(func(context.Context) attempt.Result { return attempt.Result{Verdict: attempt.Success} }))
		j.fail = make(chan error)
		h.mu.Lock()
		h.loaded = e.now().Add(-time.Minute)
		h.mu.Unlock()
		e.ready.add(h)
		synctest.Wait() // it reads
		h.again()
		j.fail <- errors.New("not now")
		synctest.Wait() // it reads again
		if !j.from.IsZero() {
			t.Errorf("the next read begins at %v, want at the very first", j.from)
		}
		close(j.fail)
	})
}

// A delivery that leaves memory since its webhook was disabled comes back when that was enabled before it had left.
func TestEnabledBeforeItsDeliveryLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &unready{Memory: storetest.NewMemory()}
		var sent atomic.Int64
		e, h := startOne(t, j, sender(func(context.Context) attempt.Result {
			if sent.Add(1) == 1 {
				time.Sleep(10 * time.Second)
			}
			return attempt.Result{Verdict: attempt.Success}
		}))
		typ, _ := event.Lookup("qap.investor.updated")
		for range 2 {
			if _, err := e.Accept(t.Context(), "firm", []event.Event{typ.Example(time.Now())}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // the first is under way
		h.mu.Lock()
		d := h.queue[h.head]
		h.queue, h.head = h.queue[:0], 0 // as if a worker had it, that saw the webhook disabled
		h.mu.Unlock()
		row, _ := h.late(d)
		if err := e.writer.writeAndWait(t.Context(), writing{wait: row, hook: h, delivery: d}); err != nil {
			t.Fatal(err)
		}
		h.reconfigured() // enabled
		synctest.Wait()
		h.putBack(d, h.rowDue(d))
		time.Sleep(time.Minute)
		if n := sent.Load(); n != 2 {
			t.Errorf("%d of 2 deliveries were made", n)
		}
	})
}

// A retry by hand that meets a delivery on its way into memory leaves it there.
func TestHoldBesideADispatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := startOne(t, storetest.NewMemory(), sender(func(context.Context) attempt.Result {
			time.Sleep(time.Minute)
			return attempt.Result{Verdict: attempt.Success}
		}))
		if !h.hold(7) || !h.reserve(512) {
			t.Fatal("no hold or no place")
		}
		d := &delivery{key: store.DeliveryKey{Webhook: 1, Event: 7}, tenant: "firm", hook: h, event: &event.Event{}}
		h.push(d)
		h.unhold(7)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.active[7] != d {
			t.Error("the delivery is no longer known to be in memory")
		}
	})
}
