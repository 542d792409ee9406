package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// rollup is what a webhook's minute came to, of numbers that tell it apart.
func rollup(tenant string, webhook int64, minute int, n int64) store.Rollup {
	r := store.Rollup{Tenant: tenant, Webhook: webhook, At: epoch.Truncate(time.Hour).Add(time.Duration(minute) * time.Minute)}
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
		"minutes": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Since: hour, Until: hour.Add(2 * time.Hour), Step: time.Minute},
			[]store.Rollup{rollup("a", 1, 0, 3), rollup("a", 1, 59, 3), rollup("a", 2, 61, 4)}},
		"steps": {store.RollupQuery{Tenant: "a", Webhooks: []int64{2, 1}, Since: hour.Add(-20 * time.Minute), Until: hour.Add(2 * time.Hour), Step: 40 * time.Minute},
			[]store.Rollup{rollup("a", 1, -20, 3), rollup("a", 1, 20, 3), rollup("a", 2, 60, 4)}},
		"ends": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Since: hour.Add(time.Minute), Until: hour.Add(61 * time.Minute), Step: time.Minute},
			[]store.Rollup{rollup("a", 1, 59, 3)}},
		"hours": {store.RollupQuery{Tenant: "a", Webhooks: []int64{1, 2}, Span: store.PerHour, Since: hour, Until: hour.Add(2 * time.Hour), Step: time.Hour},
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

func testBacklog(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustTenant(t, s, "a")
	one, two := mustWebhook(t, s, "a"), mustWebhook(t, s, "a")
	backlog := func(w, limit, want int, oldest store.Seq) {
		t.Helper()
		n, at, err := s.Backlog(ctx, "a", int64(w), limit)
		if err != nil || n != want || at != oldest {
			t.Errorf("Backlog up to %d = %d, %d, %v, want %d, %d, nil", limit, n, at, err, want, oldest)
		}
	}
	backlog(int(one.Num), 10, 0, 0)
	if _, err := s.LastOutcome(ctx, "a", one.Num); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("LastOutcome of none = %v, want ErrNotFound", err)
	}
	for n := range 5 {
		mustSubmit(t, s, "a", submitted(n+1, one.Num, two.Num))
	}
	retry := func(n, attempt int) store.Outcome {
		return store.Outcome{Tenant: "a", DeliveryKey: key(one.Num, n), Attempt: attempt, Kind: store.Retry, At: seqOf(20 + attempt).Time(), Duration: time.Second,
			Sent: true, Status: 500 + attempt, Class: "http_status", Response: []byte("no"), NextAt: seqOf(30).Time(), Stored: attempt > 1}
	}
	last := retry(4, 2)
	mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{retry(2, 1), retry(3, 1), retry(4, 1)}})
	mustCommit(t, s, &store.Batch{Outcomes: []store.Outcome{retry(3, 2), retry(3, 3), last}})
	backlog(int(one.Num), 10, 3, seqOf(2))
	backlog(int(one.Num), 2, 2, seqOf(2))
	backlog(int(two.Num), 10, 0, 0)
	got, err := s.LastOutcome(ctx, "a", one.Num)
	if last.Stored = false; err != nil {
		t.Errorf("LastOutcome = %v, want nil", err)
	}
	wantList(t, []store.Outcome{got}, []store.Outcome{last})
}
