package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

func testEventByID(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustSubmit(t, s, "a", submitted(1, 4, 7), submitted(2))
	for n, webhooks := range map[int][]int64{1: {4, 7}, 2: nil} {
		got, err := s.EventByID(ctx, "a", idOf(n))
		if err != nil {
			t.Fatalf("EventByID = %v, want nil", err)
		}
		if len(got.Webhooks) == 0 {
			got.Webhooks = nil
		}
		wantEqual(t, "EventByID", got, store.EventRecord{Seq: seqOf(n), Event: newEvent(n), Webhooks: webhooks})
	}
	for tenant, id := range map[string]uuid.UUID{"b": idOf(1), "a": idOf(9)} {
		if _, err := s.EventByID(ctx, tenant, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("EventByID(%s, %s) = %v, want ErrNotFound", tenant, id, err)
		}
	}
}

// eventNumbers lists events by their number.
func eventNumbers(t *testing.T, s store.Store, tenant string, f store.EventFilter, before store.Seq,
	limit int) (list []int) {
	t.Helper()
	found, err := s.ListEvents(context.Background(), tenant, f, before, limit)
	if err != nil {
		t.Fatalf("ListEvents = %v, want nil", err)
	}
	for _, r := range found {
		list = append(list, int((r.Seq-seqOf(0))/(seqOf(1)-seqOf(0))))
	}
	return list
}

func testListEvents(t *testing.T, s store.Store) {
	for n := 1; n <= 9; n++ {
		e := submitted(n)
		e.Event.Type = []string{"t0", "t1", "t2"}[n%3]
		e.Event.ObjectID = fmt.Sprint("o", n%2)
		e.Event.ObjectOwnerID = fmt.Sprint("oo", n%4)
		e.Event.OwnerID = fmt.Sprint("w", n/5)
		mustSubmit(t, s, "a", e)
		e.Seq++
		mustSubmit(t, s, "b", e)
	}
	at := func(n int) time.Time { return seqOf(n).Time() }
	for name, c := range map[string]struct {
		f      store.EventFilter
		before store.Seq
		limit  int
		want   []int
	}{
		"all":         {limit: 100, want: []int{9, 8, 7, 6, 5, 4, 3, 2, 1}},
		"limit":       {limit: 2, want: []int{9, 8}},
		"before":      {before: seqOf(3), limit: 100, want: []int{2, 1}},
		"before none": {before: seqOf(1), limit: 100},
		"type":        {f: store.EventFilter{Types: []string{"t1"}}, limit: 2, want: []int{7, 4}},
		"types": {f: store.EventFilter{Types: []string{"t1", "t2", "none"}}, limit: 100,
			want: []int{8, 7, 5, 4, 2, 1}},
		"no such type":    {f: store.EventFilter{Types: []string{"none"}}, limit: 100},
		"object":          {f: store.EventFilter{ObjectID: "o0"}, limit: 3, want: []int{8, 6, 4}},
		"object, before":  {f: store.EventFilter{ObjectID: "o0"}, before: seqOf(4), limit: 3, want: []int{2}},
		"object owner":    {f: store.EventFilter{ObjectOwnerID: "oo3"}, limit: 100, want: []int{7, 3}},
		"owner":           {f: store.EventFilter{OwnerID: "w1"}, limit: 100, want: []int{9, 8, 7, 6, 5}},
		"values of other": {f: store.EventFilter{ObjectID: "w1"}, limit: 100},
		"all of them":     {f: store.EventFilter{Types: []string{"t1"}, ObjectID: "o1", ObjectOwnerID: "oo3", OwnerID: "w1"}, limit: 100, want: []int{7}},
		"since":           {f: store.EventFilter{Since: at(7)}, limit: 100, want: []int{9, 8, 7}},
		"since, within":   {f: store.EventFilter{Since: at(7).Add(time.Nanosecond)}, limit: 100, want: []int{9, 8}},
		"until":           {f: store.EventFilter{Until: at(3)}, limit: 100, want: []int{2, 1}},
		"range": {f: store.EventFilter{Since: at(3), Until: at(6), ObjectID: "o1"}, limit: 100,
			want: []int{5, 3}},
		"far": {f: store.EventFilter{Since: time.Unix(-1, 0), Until: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, limit: 1, want: []int{9}},
	} {
		t.Run(name, func(t *testing.T) { wantList(t, eventNumbers(t, s, "a", c.f, c.before, c.limit), c.want) })
	}
	wantList(t, eventNumbers(t, s, "c", store.EventFilter{}, 0, 10), nil)
}

// testLongHistory has events enough that a store which cuts its history into parts has several.
func testLongHistory(t *testing.T, s store.Store) {
	const events, step = 6000, 250
	var rare, all []int
	for n := 0; n < events; n += step {
		var list []store.Submitted
		for i := n; i < n+step; i++ {
			e := submitted(i + 1)
			e.IDGiven = false
			e.Event.ObjectOwnerID = "common"
			if i%700 == 3 {
				e.Event.ObjectID, e.Event.Type = "rare", "qap.rare"
				rare = append(rare, i+1)
			}
			list = append(list, e)
			all = append(all, i+1)
		}
		mustSubmit(t, s, []string{"a", "a", "b"}[n/step%3], list...)
	}
	// One below the newest, as no engine makes it.
	late := submitted(0)
	late.Seq, late.Event.ObjectID = seqOf(2000)+1, "late"
	mustSubmit(t, s, "a", late)
	tenant := func(list []int, b bool) (own []int) {
		for _, n := range list {
			if (((n-1)/step)%3 == 2) == b {
				own = append(own, n)
			}
		}
		slices.Reverse(own)
		return own
	}
	for name, b := range map[string]bool{"a": false, "b": true} {
		want := tenant(rare, b)
		wantList(t, eventNumbers(t, s, name, store.EventFilter{ObjectID: "rare"}, 0, 1000), want)
		wantList(t, eventNumbers(t, s, name, store.EventFilter{Types: []string{"none", "qap.rare"}}, 0, 2), want[:2])
		wantList(t, eventNumbers(t, s, name, store.EventFilter{ObjectID: "rare"}, seqOf(want[1]), 1), want[2:3])
		wantList(t, eventNumbers(t, s, name, store.EventFilter{ObjectOwnerID: "common"}, 0, 3000),
			tenant(all, b)[:min(3000, len(tenant(all, b)))])
	}
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{ObjectID: "object-7"}, 0, 10), []int{7})
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{ObjectID: "late"}, 0, 10), []int{2000})
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{ObjectID: "nothing"}, 0, 10), nil)
}

// deliveryNames lists deliveries as "event:webhook:status:attempts".
func deliveryNames(t *testing.T, s store.Store, tenant string, f store.DeliveryFilter, before store.DeliveryKey,
	limit int) (names []string) {
	t.Helper()
	list, _, err := s.ListDeliveries(context.Background(), tenant, f, before, limit)
	if err != nil {
		t.Fatalf("ListDeliveries = %v, want nil", err)
	}
	for _, d := range list {
		names = append(names, fmt.Sprintf("%d:%d:%s:%d", (d.Event-seqOf(0))/(seqOf(1)-seqOf(0)), d.Webhook, d.Status, d.Attempts))
	}
	return names
}

func testDeliveryStates(t *testing.T, s store.Store) {
	mustTenant(t, s, "a")
	w := mustWebhook(t, s, "a")
	future := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	b := &store.Batch{}
	for n := 1; n <= 8; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, w.Num)))
	}
	retry := func(n, attempt int, next time.Time) store.Outcome {
		o := outcome(key(w.Num, n), attempt, store.Retry)
		o.NextAt = next
		return o
	}
	again := outcome(key(w.Num, 7), 1, store.Exhausted) // and then delivered by hand
	last := outcome(key(w.Num, 8), 2, store.Cancelled)  // a person gave up after one attempt
	last.Stored = true
	b.Wait = []store.Waiting{{Tenant: "a", DeliveryKey: key(w.Num, 2), DueAt: epoch}}
	b.Outcomes = []store.Outcome{
		retry(3, 1, future), outcome(key(w.Num, 4), 1, store.Delivered), outcome(key(w.Num, 5), 1, store.Exhausted),
		outcome(key(w.Num, 6), 1, store.Cancelled), again, retry(8, 1, future), last,
	}
	mustCommit(t, s, b)
	mustCommit(t, s, &store.Batch{Wait: []store.Waiting{{Tenant: "a", DeliveryKey: key(w.Num, 7), Attempts: 1, DueAt: future}}})
	record := func(n int, status store.Status, attempts int, next time.Time) store.DeliveryRecord {
		r := store.DeliveryRecord{DeliveryKey: key(w.Num, n), EventID: idOf(n), EventType: newEvent(n).Type,
			WebhookID: w.ID,
			Status:    status, Attempts: attempts, NextAt: next}
		if attempts > 0 {
			kind := map[int]store.OutcomeKind{3: store.Retry, 4: store.Delivered, 5: store.Exhausted,
				7: store.Exhausted, 8: store.Retry}[n]
			o := outcome(key(w.Num, n), 1, kind)
			r.LastAt, r.LastCode, r.LastClass = o.At, o.Status, o.Class
		}
		return r
	}
	want := []store.DeliveryRecord{
		record(8, store.StatusCancelled, 1, time.Time{}), record(7, store.StatusWaiting, 1, future),
		record(6, store.StatusCancelled, 0, time.Time{}), record(5, store.StatusExhausted, 1, time.Time{}),
		record(4, store.StatusDelivered, 1, time.Time{}), record(3, store.StatusWaiting, 1, future),
		record(2, store.StatusWaiting, 0, time.Time{}), record(1, store.StatusWaiting, 0, time.Time{}),
	}
	for _, status := range []store.Status{"", store.StatusWaiting, store.StatusDelivered, store.StatusExhausted,
		store.StatusCancelled} {
		var some []store.DeliveryRecord
		for _, r := range want {
			if status == "" || r.Status == status {
				some = append(some, r)
			}
		}
		got, _, err := s.ListDeliveries(context.Background(), "a", store.DeliveryFilter{Status: status},
			store.DeliveryKey{},
			100)
		if err != nil {
			t.Fatalf("ListDeliveries(%s) = %v, want nil", status, err)
		}
		wantList(t, got, some)
	}
	done := outcome(key(w.Num, 7), 2, store.Delivered)
	done.Stored = true
	mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{done}})
	wantList(t, deliveryNames(t, s, "a", store.DeliveryFilter{Status: store.StatusExhausted}, store.DeliveryKey{}, 10),
		[]string{"5:" + fmt.Sprint(w.Num) + ":exhausted:1"})
	wantList(t, deliveryNames(t, s, "a", store.DeliveryFilter{Event: seqOf(7)}, store.DeliveryKey{}, 10),
		[]string{"7:" + fmt.Sprint(w.Num) + ":delivered:2"})
}

// manyDeliveries has two webhooks, three events for both, in all states that a list must join.
func manyDeliveries(t *testing.T, s store.Store) (one, two *webhook.Webhook) {
	t.Helper()
	mustTenant(t, s, "a", "b")
	one, two = mustWebhook(t, s, "a"), mustWebhook(t, s, "a")
	b := &store.Batch{RecoverFrom: seqOf(4)}
	for n := 1; n <= 5; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, one.Num, two.Num)))
	}
	b.Outcomes = []store.Outcome{
		outcome(key(one.Num, 1), 1, store.Delivered), outcome(key(two.Num, 1), 1, store.Exhausted),
		outcome(key(one.Num, 2), 1, store.Retry), outcome(key(two.Num, 2), 1, store.Delivered),
		outcome(key(one.Num, 3), 1, store.Delivered), outcome(key(one.Num, 4), 1, store.Delivered),
	}
	b.Wait = []store.Waiting{waiting(two.Num, 3, 0, 0)}
	mustCommit(t, s, b)
	return one, two
}

func testListDeliveries(t *testing.T, s store.Store) {
	one, two := manyDeliveries(t, s)
	name := func(n int, w *webhook.Webhook, state string) string { return fmt.Sprintf("%d:%d:%s", n, w.Num, state) }
	all := []string{
		name(5, two, "waiting:0"), name(5, one, "waiting:0"), name(4, two, "waiting:0"), name(4, one, "delivered:1"),
		name(3, two, "waiting:0"), name(3, one, "delivered:1"), name(2, two, "delivered:1"), name(2, one, "waiting:1"),
		name(1, two, "exhausted:1"), name(1, one, "delivered:1"),
	}
	at := func(n int) time.Time { return seqOf(n).Time() }
	pick := func(is ...int) (list []string) {
		for _, i := range is {
			list = append(list, all[i])
		}
		return list
	}
	for label, c := range map[string]struct {
		f    store.DeliveryFilter
		want []string
	}{
		"all":                {store.DeliveryFilter{}, all},
		"webhook":            {store.DeliveryFilter{Webhook: two.Num}, pick(0, 2, 4, 6, 8)},
		"event":              {store.DeliveryFilter{Event: seqOf(4)}, pick(2, 3)},
		"no such event":      {store.DeliveryFilter{Event: seqOf(4) + 1}, nil},
		"waiting":            {store.DeliveryFilter{Status: store.StatusWaiting}, pick(0, 1, 2, 4, 7)},
		"waiting of webhook": {store.DeliveryFilter{Status: store.StatusWaiting, Webhook: one.Num}, pick(1, 7)},
		"delivered":          {store.DeliveryFilter{Status: store.StatusDelivered}, pick(3, 5, 6, 9)},
		"exhausted, webhook": {store.DeliveryFilter{Status: store.StatusExhausted, Webhook: two.Num}, pick(8)},
		"none exhausted":     {store.DeliveryFilter{Status: store.StatusExhausted, Webhook: one.Num}, nil},
		"cancelled":          {store.DeliveryFilter{Status: store.StatusCancelled}, nil},
		"since, until":       {store.DeliveryFilter{Since: at(2), Until: at(5)}, pick(2, 3, 4, 5, 6, 7)},
		"webhook and event":  {store.DeliveryFilter{Webhook: one.Num, Event: seqOf(2)}, pick(7)},
		"no such webhook":    {store.DeliveryFilter{Webhook: 999}, nil},
	} {
		t.Run(label, func(t *testing.T) {
			wantList(t, deliveryNames(t, s, "a", c.f, store.DeliveryKey{}, 100), c.want)
			for _, limit := range []int{100, 2} {
				n, more, err := s.CountDeliveries(context.Background(), "a", c.f, limit)
				if want := min(len(c.want), limit); err != nil || n != want || more != (want == limit) {
					t.Errorf("CountDeliveries up to %d = %d, %t, %v, want %d, %t, nil", limit, n, more, err, want,
						want == limit)
				}
			}
		})
	}
	two.DeletedAt = epoch
	mustUpdate(t, s, two)
	wantList(t, deliveryNames(t, s, "a", store.DeliveryFilter{}, store.DeliveryKey{}, 100), all)
}

func testDeliveryPages(t *testing.T, s store.Store) {
	one, _ := manyDeliveries(t, s)
	for _, f := range []store.DeliveryFilter{{}, {Webhook: one.Num}, {Status: store.StatusWaiting},
		{Status: store.StatusDelivered}} {
		all, _, err := s.ListDeliveries(context.Background(), "a", f, store.DeliveryKey{}, 100)
		if err != nil {
			t.Fatalf("ListDeliveries = %v, want nil", err)
		}
		for limit := 1; limit <= 4; limit++ {
			var paged []store.DeliveryRecord
			var before store.DeliveryKey
			for range len(all) + 1 {
				page, _, err := s.ListDeliveries(context.Background(), "a", f, before, limit)
				if err != nil {
					t.Fatalf("ListDeliveries = %v, want nil", err)
				}
				if len(page) == 0 {
					break
				}
				paged = append(paged, page...)
				before = page[len(page)-1].DeliveryKey
			}
			wantList(t, paged, all)
		}
	}
}

func testDelivery(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a", "b")
	w, other := mustWebhook(t, s, "a"), mustWebhook(t, s, "a")
	foreign := mustWebhook(t, s, "b")
	mustSubmit(t, s, "a", submitted(1, w.Num))
	list := []store.Outcome{outcome(key(w.Num, 1), 1, store.Retry), outcome(key(w.Num, 1), 2, store.Exhausted),
		outcome(key(w.Num, 1), 3, store.Cancelled)}
	for i := range list {
		o := list[i]
		o.Stored = i > 0
		mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{o}})
	}
	r, e, got, err := s.Delivery(ctx, "a", key(w.Num, 1))
	if err != nil {
		t.Fatalf("Delivery = %v, want nil", err)
	}
	wantEqual(t, "record", r, store.DeliveryRecord{DeliveryKey: key(w.Num, 1), EventID: idOf(1), EventType: newEvent(1).Type,
		WebhookID: w.ID, Status: store.StatusCancelled, Attempts: 2, LastAt: list[1].At, LastClass: "timeout"})
	wantEqual(t, "event", e, store.EventRecord{Seq: seqOf(1), Event: newEvent(1), Webhooks: []int64{w.Num}})
	wantList(t, got, list)
	for _, c := range []struct {
		tenant string
		key    store.DeliveryKey
	}{{"b", key(w.Num, 1)}, {"a", key(w.Num, 2)}, {"a", key(other.Num, 1)}, {"a", key(foreign.Num, 1)}, {"b",
		key(foreign.Num, 1)}, {"a", key(0, 1)}} {
		if _, _, _, err := s.Delivery(ctx, c.tenant, c.key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Delivery(%s, %v) = %v, want ErrNotFound", c.tenant, c.key, err)
		}
	}
}

func testTenantsApart(t *testing.T, s store.Store) {
	one, _ := manyDeliveries(t, s)
	w := mustWebhook(t, s, "b")
	mustSubmit(t, s, "b", submitted(6, w.Num))
	list, _, err := s.ListDeliveries(context.Background(), "b", store.DeliveryFilter{}, store.DeliveryKey{}, 100)
	if err != nil || len(list) != 1 || list[0].Webhook != w.Num {
		t.Errorf("ListDeliveries of b = %+v, %v, want its one", list, err)
	}
	for _, f := range []store.DeliveryFilter{{Webhook: one.Num}, {Event: seqOf(1)}, {Event: seqOf(5)}} {
		wantList(t, deliveryNames(t, s, "b", f, store.DeliveryKey{}, 100), nil)
	}
}

func testTrimmedRecords(t *testing.T, s store.Store) {
	mustTenant(t, s, "a")
	w := mustWebhook(t, s, "a")
	for n := 1; n <= 3; n++ {
		mustSubmit(t, s, "a", submitted(n, w.Num))
		mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{outcome(key(w.Num, n), 1, store.Exhausted)}})
	}
	trimAll(t, s, 0, seqOf(3), 10)
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{}, 0, 10), []int{3})
	wantList(t, eventNumbers(t, s, "a", store.EventFilter{OwnerID: "firm-1"}, 0, 10), []int{3})
	wantList(t, deliveryNames(t, s, "a", store.DeliveryFilter{Status: store.StatusExhausted}, store.DeliveryKey{}, 10),
		[]string{fmt.Sprintf("3:%d:exhausted:1", w.Num)})
	if _, err := s.EventByID(context.Background(), "a", idOf(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("EventByID of a trimmed event = %v, want ErrNotFound", err)
	}
}

// testLastSigned: a key's last use is found among the newest attempts before a time, and of this webhook only.
func testLastSigned(t *testing.T, s store.Store) {
	mustTenant(t, s, "a")
	b := &store.Batch{}
	for n := 1; n <= 30; n++ {
		b.Submissions = append(b.Submissions, submission("a", submitted(n, 1, 2)))
		one, two := outcome(key(1, n), 1, store.Delivered), outcome(key(2, n), 1, store.Delivered)
		one.KeyID, two.KeyID = "old", "other"
		if n > 20 {
			one.KeyID = "new"
		}
		one.At, two.At = epoch.Add(time.Duration(n)*time.Hour), epoch.Add(100*time.Hour)
		b.Outcomes = append(b.Outcomes, one, two)
	}
	mustCommit(t, s, b)
	for _, c := range []struct {
		key    string
		before int
		hours  int
	}{{"new", 100, 30}, {"old", 100, 20}, {"old", 11, 10}, {"new", 21, 0}, {"other", 100, 0}} {
		var want time.Time
		if c.hours > 0 {
			want = epoch.Add(time.Duration(c.hours) * time.Hour)
		}
		got, err := s.LastSigned(context.Background(), "a", 1, c.key, seqOf(c.before))
		if err != nil || !got.Equal(want) {
			t.Errorf("LastSigned(%s, before %d) = %v, %v, want %v", c.key, c.before, got, err, want)
		}
	}
}
