package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/ui"
	"github.com/quantfolio/qhook/internal/webhook"
)

// counting is a store that counts the calls of the overview. It has no other: the store that is embedded is nil.
type counting struct {
	store.Store
	s     store.Store
	calls atomic.Int64
}

func (c *counting) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	return c.s.APIKeyByHash(ctx, hash) // cached for a second, so that how often depends on the time
}

func (c *counting) TenantByID(ctx context.Context, id string) (store.Tenant, error) {
	return c.s.TenantByID(ctx, id) // likewise
}

func (c *counting) ListWebhooks(ctx context.Context, tenant string, after int64, limit int) ([]*webhook.Webhook,
	error) {
	c.calls.Add(1)
	return c.s.ListWebhooks(ctx, tenant, after, limit)
}

func (c *counting) ListDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, before store.DeliveryKey,
	limit int) ([]store.DeliveryRecord, store.DeliveryKey, error) {
	c.calls.Add(1)
	return c.s.ListDeliveries(ctx, tenant, f, before, limit)
}

func (c *counting) Rollups(ctx context.Context, q store.RollupQuery) ([]store.Rollup, error) {
	c.calls.Add(1)
	return c.s.Rollups(ctx, q)
}

func (c *counting) WaitingCounts(ctx context.Context, tenant string, hooks []int64, limit int) ([]store.WaitingCount,
	error) {
	c.calls.Add(1)
	if limit*len(hooks) > maxBacklogs {
		return nil, fmt.Errorf("%d webhooks up to %d: more than %d can be read", len(hooks), limit, maxBacklogs)
	}
	return c.s.WaitingCounts(ctx, tenant, hooks, limit)
}

func (c *counting) LastOutcomes(ctx context.Context, tenant string, hooks []int64) ([]store.Outcome, error) {
	c.calls.Add(1)
	return c.s.LastOutcomes(ctx, tenant, hooks)
}

// TestOverviewIsAFixedNumberOfQueries shows the overview of tenants with few and many webhooks, in every state.
func TestOverviewIsAFixedNumberOfQueries(t *testing.T) {
	t.Parallel()
	calls := map[int]int64{}
	for _, n := range []int{5, 50} {
		r := newRig(t)
		now := time.Now().UTC()
		var batch store.Batch
		for i := range n {
			r.must(201, admin, "POST", "/v1/webhooks", hookBody)
			x := store.Rollup{Tenant: "default", Webhook: int64(i + 1),
				At: now.Add(-time.Duration(i%4) * 20 * time.Hour).Truncate(time.Minute)}
			x.Delivered, x.Retried = int64(i%3), int64(i%2) // idle, failing, unsteady, ok
			batch.Rollups = append(batch.Rollups, x)
		}
		r.must(202, admin, "POST", "/v1/events", eventBody)
		for i := range n {
			batch.Outcomes = append(batch.Outcomes, store.Outcome{Tenant: "default",
				DeliveryKey: store.DeliveryKey{Webhook: int64(i + 1), Event: r.engine.seq},
				Attempt:     1, Kind: store.Retry, At: now, Sent: true, Status: 503, NextAt: now.Add(time.Hour), Stored: true})
		}
		if err := r.store.Commit(t.Context(), &batch); err != nil {
			t.Fatal(err)
		}
		c := &counting{s: r.store}
		h, err := New(Config{Engine: r.engine, Store: c, Guard: fakeGuard{}})
		if err != nil {
			t.Fatal(err)
		}
		pages, err := ui.New(ui.Config{API: h})
		if err != nil {
			t.Fatal(err)
		}
		q := httptest.NewRequest(http.MethodGet, "/t/default/", nil)
		q.AddCookie(&http.Cookie{Name: "qhook", Value: r.keys[admin]})
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, q)
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "503") {
			t.Fatalf("the overview of %d webhooks = %d %s", n, w.Code, body)
		}
		calls[n] = c.calls.Load()
	}
	if calls[5] != calls[50] || calls[5] > 12 {
		t.Errorf("calls of the store by webhooks: %v, want as many, and at most 12", calls)
	}
}

func TestFailingSince(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Date(2026, 1, 2, n, 0, 0, 0, time.UTC) }
	rows := func(s string) (list []store.Rollup) { // d: delivered, f: failed, b: both, c: cancelled
		for i, x := range s {
			r := store.Rollup{At: at(i)}
			switch x {
			case 'd':
				r.Delivered = 1
			case 'f':
				r.Exhausted = 1
			case 'b':
				r.Delivered, r.Retried = 1, 1
			case 'c':
				r.Cancelled = 1
			}
			list = append(list, r)
		}
		return list
	}
	for s, want := range map[string][2]int{ // with finer rows to come, and without; -1: never
		"": {-1, -1}, "d": {-1, -1}, "f": {0, 0}, "ff": {0, 0}, "df": {1, 1}, "fdf": {2, 2}, "bf": {0, 1}, "dbf": {1,
			2}, "fbcf": {1, 3},
		"cf": {1, 1}, "fc": {0, 0}, "fd": {-1, -1}, "b": {0, -1}, "bdf": {2, 2},
	} {
		for i, finer := range []bool{true, false} {
			wanted := time.Time{}
			if want[i] >= 0 {
				wanted = at(want[i])
			}
			if got := failingSince(rows(s), finer); !got.Equal(wanted) {
				t.Errorf("failingSince(%q, %t) = %v, want %v", s, finer, got, wanted)
			}
		}
	}
}

// TestStateIsOfTheLastAttempts: a webhook fails from the minute on from which nothing is delivered, and is in order
// again an hour after its last failure, wherever hours begin.
func TestStateIsOfTheLastAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := time.Now().UTC().Truncate(time.Minute)
	type minute struct {
		ago               time.Duration
		delivered, failed int64
	}
	want := map[string]string{}
	var batch store.Batch
	for i, tt := range []struct {
		minutes []minute
		want    string
		since   time.Duration
	}{
		{[]minute{{30, 5, 0}, {4, 3, 0}, {2, 0, 1}, {1, 0, 7}}, client.StateFailing,
			2}, // an outage that began just now
		{[]minute{{4, 3, 0}, {1, 1, 1}}, client.StateUnsteady, 0},
		{[]minute{{50, 0, 9}, {1, 2, 0}}, client.StateUnsteady, 0},
		{[]minute{{70, 0, 9}, {65, 1, 0}, {2, 3, 0}}, client.StateOK, 0},
		{[]minute{{310, 0, 9}, {305, 1, 0}, {300, 0, 1}}, client.StateFailing, 300}, // and not tried since
		{[]minute{{130, 1, 0}, {100, 0, 1}, {65, 0, 1}, {1, 0, 1}}, client.StateFailing, 100},
	} {
		id := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
		want[id] = tt.want
		if tt.since != 0 {
			want[id] += " since " + now.Add(-tt.since*time.Minute).Format(time.RFC3339)
		}
		for _, m := range tt.minutes {
			x := store.Rollup{Tenant: "default", Webhook: int64(i + 1), At: now.Add(-m.ago * time.Minute)}
			x.Delivered, x.Retried = m.delivered, m.failed
			batch.Rollups = append(batch.Rollups, x)
		}
	}
	if err := r.store.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	failing := len(r.must(200, viewer, "GET", "/v1/webhooks?state=failing", "").items())
	if failing != 3 {
		t.Errorf("%d webhooks are listed as failing, want 3", failing)
	}
	for _, x := range r.must(200, viewer, "GET", "/v1/stats/webhooks", "").items() {
		got := x["state"].(string)
		if s, ok := x["since"].(string); ok {
			at, _ := time.Parse(time.RFC3339, s)
			got += " since " + at.Format(time.RFC3339)
		}
		if id := x["id"].(string); got != want[id] {
			t.Errorf("a webhook is %s, want %s", got, want[id])
		}
	}
}

// TestFailingSinceTheMinute has hours with both, and webhooks that fail since other times.
func TestFailingSinceTheMinute(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hour := time.Now().UTC().Truncate(time.Hour)
	row := func(num int64, ago time.Duration, delivered, retried int64) store.Rollup {
		x := store.Rollup{Tenant: "default", Webhook: num, At: hour.Add(-ago)}
		x.Delivered, x.Retried = delivered, retried
		return x
	}
	minute := time.Minute
	err := r.store.Commit(t.Context(), &store.Batch{Rollups: []store.Rollup{
		row(1, 110*minute, 1, 0), row(1, 100*minute, 0, 1), row(1, 90*minute, 0, 1), row(1, 30*minute, 0, 5),
		row(2, 23*60*minute, 0, 1), row(2, 10*minute, 0, 1),
		row(3, 300*minute, 0, 1), row(3, 290*minute, 1, 0), row(3, 20*minute, 0, 1),
		row(4, 29*24*60*minute, 0, 1),
		row(5, 30*minute, 1, 3),
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{}
	for _, ago := range []time.Duration{100 * minute, 23 * 60 * minute, 20 * minute, 29 * 24 * 60 * minute} {
		want[r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")] = hour.Add(-ago)
	}
	want[r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")] = time.Time{} // unsteady
	for _, x := range r.must(200, viewer, "GET", "/v1/stats/webhooks", "").items() {
		var got time.Time
		if s, ok := x["since"].(string); ok {
			got, _ = time.Parse(time.RFC3339, s)
		}
		if at := want[x["id"].(string)]; !got.Equal(at) {
			t.Errorf("a webhook that is %v is so since %v, want %v", x["state"], got, at)
		}
	}
}
