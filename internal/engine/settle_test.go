package engine

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/store"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	schedule := []time.Duration{10 * time.Second, 2 * time.Hour}
	failure := attempt.Result{Verdict: attempt.Failure, Status: 500, Class: attempt.ClassHTTPStatus}
	asks := func(d time.Duration) attempt.Result { r := failure; r.RetryAfter = d; return r }
	for _, c := range []struct {
		name   string
		r      attempt.Result
		number int
		u      float64
		kind   store.OutcomeKind
		in     time.Duration
	}{
		{"success", attempt.Result{Verdict: attempt.Success}, 1, 0.5, store.Delivered, 0},
		{"first failure", failure, 1, 0.5, store.Retry, 10 * time.Second},
		{"first failure, least", failure, 1, 0, store.Retry, 9 * time.Second},
		{"first failure, most", failure, 1, 1, store.Retry, 11 * time.Second},
		{"second failure", failure, 2, 0.5, store.Retry, 2 * time.Hour},
		{"last failure", failure, 3, 0.5, store.Exhausted, 0},
		{"beyond", failure, 9, 0.5, store.Exhausted, 0},
		{"asks for more", asks(time.Minute), 1, 0.5, store.Retry, time.Minute},
		{"asks for less", asks(time.Second), 2, 0.5, store.Retry, 2 * time.Hour},
		{"asks for too much", asks(1000 * time.Hour), 1, 0.5, store.Retry, MaxRetryAfter},
		{"gone", attempt.Result{Verdict: attempt.Gone, Status: 410}, 3, 0.5, store.Retry, goneDelay},
		{"refused", attempt.Result{Verdict: attempt.Refused, Class: attempt.ClassRefused}, 1, 0.5, store.Retry,
			10 * time.Second},
		{"refused, at last", attempt.Result{Verdict: attempt.Refused, Class: attempt.ClassRefused}, 3, 0.5,
			store.Exhausted, 0},
		{"broken off by a stop", attempt.Result{Class: attempt.ClassCancelled}, 3, 0.5, store.Retry, 0},
	} {
		kind, next := decide(c.r, c.number, schedule, now, c.u)
		want := now.Add(c.in)
		if c.kind != store.Retry {
			want = time.Time{}
		}
		if kind != c.kind || !next.Equal(want) {
			t.Errorf("%s: decide = %s, %v, want %s, %v", c.name, kind, next, c.kind, want)
		}
	}
}

// TestFailuresAreCountedByClass: the reason of a failure makes no series of its own.
func TestFailuresAreCountedByClass(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	for _, r := range []attempt.Result{{Class: attempt.ClassTLS}, {Class: attempt.ClassTLS, Reason: attempt.ReasonExpired},
		{Class: attempt.ClassTLS, Reason: attempt.ReasonWrongName}, {Class: attempt.ClassTimeout}} {
		m.settled(store.Retry, r, time.Now(), nil)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			if f.GetName() == "qhook_attempt_failures_total" {
				got[x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"tls": 3, "timeout": 1}; !maps.Equal(got, want) {
		t.Errorf("failures by class are %v, want %v", got, want)
	}
}
