package store_test

import (
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

func TestCounts(t *testing.T) {
	accepted := store.SeqAt(time.UnixMilli(1_700_000_000_000))
	outcome := func(kind store.OutcomeKind, after, took time.Duration) *store.Outcome {
		return &store.Outcome{DeliveryKey: store.DeliveryKey{Event: accepted}, Kind: kind,
			At: accepted.Time().Add(after), Duration: took}
	}
	var c store.Counts
	for _, o := range []*store.Outcome{outcome(store.Delivered, 0, time.Millisecond),
		outcome(store.Delivered, time.Second, 1500*time.Millisecond),
		outcome(store.Delivered, 48*time.Hour, 0), outcome(store.Retry, 0, 0), outcome(store.Exhausted, 0,
			0), outcome(store.Cancelled, 0, 0)} {
		c.Add(o)
	}
	want := store.Counts{Delivered: 3, Retried: 1, Exhausted: 1, Cancelled: 1}
	want.Latency[0], want.Latency[11], want.Latency[store.LatencyBins-1] = 1, 1, 1
	if c != want || c.Attempts() != 5 {
		t.Errorf("counts = %+v (%d attempts), want %+v (5)", c, c.Attempts(), want)
	}
}

func TestPercentile(t *testing.T) {
	counts := func(bins map[int]int64) (c store.Counts) {
		for i, n := range bins {
			c.Latency[i] = n
		}
		return c
	}
	for name, test := range map[string]struct {
		counts store.Counts
		part   float64
		want   time.Duration
		ok     bool
	}{
		"none":           {counts(nil), 0.5, 0, false},
		"half of a bin":  {counts(map[int]int64{1: 10}), 0.5, 1500 * time.Microsecond, true},
		"first bin":      {counts(map[int]int64{0: 4}), 0.5, 500 * time.Microsecond, true},
		"over a gap":     {counts(map[int]int64{0: 1, 6: 1}), 0.75, 75 * time.Millisecond, true},
		"end of the bin": {counts(map[int]int64{0: 1, 6: 1}), 1, 100 * time.Millisecond, true},
		"last bin":       {counts(map[int]int64{store.LatencyBins - 1: 3}), 0.95, 24 * time.Hour, true},
		"tail":           {counts(map[int]int64{2: 95, 18: 5}), 0.95, 5 * time.Millisecond, true},
	} {
		c := test.counts
		if got, ok := c.Percentile(test.part); got != test.want || ok != test.ok {
			t.Errorf("%s: Percentile(%v) = %v, %t, want %v, %t", name, test.part, got, ok, test.want, test.ok)
		}
	}
}
