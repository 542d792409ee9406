package storetest

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// rollup is what a webhook's minute came to, of numbers that tell it apart.
func rollup(tenant string, webhook int64, minute int, n int64) store.Rollup {
	r := store.Rollup{Tenant: tenant, Webhook: webhook,
		At: epoch.Truncate(time.Hour).Add(time.Duration(minute) * time.Minute)}
	r.Delivered, r.Retried, r.Exhausted, r.Cancelled = n, 10*n, 100*n, 1000*n
	for i := range r.Latency {
		r.Latency[i] = n * int64(i+1)
	}
	return r
}

func testRollups(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a", "b")
	mustCommit(t, s, &store.Batch{Rollups: []store.Rollup{rollup("a", 0, 0, 1), rollup("a", 1, 0, 1), rollup("b", 0, 0, 7)}})
	mustCommit(t, s, &store.Batch{Rollups: []store.Rollup{rollup("a", 1, 0, 2), rollup("a", 1, 59, 3), rollup("a", 2, 61, 4)}})
	hour := epoch.Truncate(time.Hour)
	for name, test := range map[string]struct {
		query store.RollupQuery
		want  []store.Rollup
	}{
		"minutes": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Since: hour, Until: hour.Add(2 * time.Hour),
			Step: time.Minute},
			[]store.Rollup{rollup("a", 1, 0, 3), rollup("a", 1, 59, 3), rollup("a", 2, 61, 4)}},
		"steps": {store.RollupQuery{Tenant: "a", Webhooks: []int64{2, 1}, Since: hour.Add(-20 * time.Minute),
			Until: hour.Add(2 * time.Hour), Step: 40 * time.Minute},
			[]store.Rollup{rollup("a", 1, -20, 3), rollup("a", 1, 20, 3), rollup("a", 2, 60, 4)}},
		"ends": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Since: hour.Add(time.Minute),
			Until: hour.Add(61 * time.Minute), Step: time.Minute},
			[]store.Rollup{rollup("a", 1, 59, 3)}},
		"hours": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Span: store.PerHour, Since: hour,
			Until: hour.Add(2 * time.Hour), Step: time.Hour},
			[]store.Rollup{rollup("a", 1, 0, 6), rollup("a", 2, 60, 4)}},
		"total":   {store.RollupQuery{Tenant: "a", Webhooks: []int64{0}, Since: hour, Until: hour.Add(time.Hour), Step: time.Hour}, []store.Rollup{rollup("a", 0, 0, 1)}},
		"tenant":  {store.RollupQuery{Tenant: "b", Webhooks: []int64{0, 1, 2}, Since: hour, Until: hour.Add(time.Hour), Step: time.Hour}, []store.Rollup{rollup("b", 0, 0, 7)}},
		"nothing": {store.RollupQuery{Tenant: "a", Since: hour, Until: hour.Add(time.Hour), Step: time.Hour}, nil},
	} {
		got, err := s.Rollups(ctx, test.query)
		if err != nil {
			t.Errorf("Rollups of %s = %v, want nil", name, err)
		}
		wantList(t, got, test.want)
	}

	// Minutes go before hours do.
	mustCommit(t, s, &store.Batch{Trim: &store.Trim{Before: store.SeqAt(hour.Add(time.Hour)), Limit: 10, Minutes: hour.Add(61 * time.Minute)}})
	minutes, err := s.Rollups(ctx, store.RollupQuery{Tenant: "a", Webhooks: []int64{0, 1, 2}, Since: hour, Until: hour.Add(2 * time.Hour), Step: time.Minute})
	if err != nil {
		t.Errorf("Rollups = %v, want nil", err)
	}
	wantList(t, minutes, []store.Rollup{rollup("a", 2, 61, 4)})
	hours, err := s.Rollups(ctx, store.RollupQuery{Tenant: "a", Webhooks: []int64{0, 1, 2}, Span: store.PerHour, Since: hour, Until: hour.Add(2 * time.Hour), Step: time.Hour})
	if err != nil {
		t.Errorf("Rollups = %v, want nil", err)
	}
	wantList(t, hours, []store.Rollup{rollup("a", 2, 60, 4)})
}

func testWaitingCounts(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a", "b")
	one, two, none, other := mustWebhook(t, s, "a"), mustWebhook(t, s, "a"), mustWebhook(t, s, "a"), mustWebhook(t,
		s, "b")
	all := []int64{two.Num, none.Num, one.Num, other.Num + 1000}
	backlogs := func(limit int, hooks []int64, want ...store.WaitingCount) {
		t.Helper()
		got, err := s.WaitingCounts(ctx, "a", hooks, limit)
		if err != nil {
			t.Errorf("WaitingCounts = %v, want nil", err)
		}
		slices.SortFunc(got, func(x, y store.WaitingCount) int { return cmp.Compare(x.Webhook, y.Webhook) })
		wantList(t, got, want)
	}
	last := func(hooks []int64, want ...store.Outcome) {
		t.Helper()
		got, err := s.LastOutcomes(ctx, "a", hooks)
		if err != nil {
			t.Errorf("LastOutcomes = %v, want nil", err)
		}
		slices.SortFunc(got, func(x, y store.Outcome) int { return cmp.Compare(x.Webhook, y.Webhook) })
		wantList(t, got, want)
	}
	backlogs(10, all)
	last(all)
	for n := range 5 {
		mustSubmit(t, s, "a", submitted(n+1, one.Num, two.Num))
	}
	mustSubmit(t, s, "b", submitted(6, other.Num))
	retry := func(hook int64, n, attempt int) store.Outcome {
		return store.Outcome{Tenant: "a", DeliveryKey: key(hook, n), Attempt: attempt, Kind: store.Retry,
			At:       seqOf(20 + attempt).Time(),
			Duration: time.Second, Sent: true, Status: 500 + attempt, Class: "http_status", Response: []byte("no"),
			Timings: store.Timings{DNS: time.Second}, NextAt: seqOf(30).Time(), Stored: attempt > 1}
	}
	bare := func(o store.Outcome) store.Outcome {
		o.Response, o.Timings, o.Stored = nil, store.Timings{}, false
		return o
	}
	elsewhere := retry(other.Num, 6, 1)
	elsewhere.Tenant = "b"
	mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{retry(one.Num, 2, 1), retry(one.Num, 3, 1),
		retry(one.Num, 4, 1), retry(two.Num, 5, 1), elsewhere}})
	mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{retry(one.Num, 3, 2), retry(one.Num, 3, 3),
		retry(one.Num, 4, 2)}})
	ofOne := store.WaitingCount{Webhook: one.Num, Waiting: 3, Oldest: seqOf(2)}
	ofTwo := store.WaitingCount{Webhook: two.Num, Waiting: 1, Oldest: seqOf(5)}
	backlogs(10, all, ofOne, ofTwo)
	backlogs(3, []int64{one.Num}, ofOne)
	backlogs(10, nil)
	ofOne.Waiting = 2
	backlogs(2, all, ofOne, ofTwo)
	last(all, bare(retry(one.Num, 4, 2)), bare(retry(two.Num, 5, 1)))
	last([]int64{two.Num}, bare(retry(two.Num, 5, 1)))
	last(nil)
}
