package store

import (
	"context"
	"time"
)

// LatencyBounds are the upper ends of the bins that times to delivery are counted in; what is longer is in one more
// bin.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
}

// LatencyBins is how many bins there are.
const LatencyBins = len(LatencyBounds) + 1

// Counts are what attempts came to.
type Counts struct {
	Delivered, Retried, Exhausted, Cancelled int64
	Latency                                  [LatencyBins]int64 // times from acceptance to the receiver's 2xx, by bin
}

// Add counts an outcome.
func (c *Counts) Add(o *Outcome) {
	switch o.Kind {
	case Delivered:
		c.Delivered++
		c.Latency[bin(o.At.Add(o.Duration).Sub(o.Event.Time()))]++
	case Retry:
		c.Retried++
	case Exhausted:
		c.Exhausted++
	case Cancelled:
		c.Cancelled++
	}
}

func bin(d time.Duration) int {
	for i, end := range LatencyBounds {
		if d <= end {
			return i
		}
	}
	return LatencyBins - 1
}

// Sum adds other counts.
func (c *Counts) Sum(o *Counts) {
	c.Delivered += o.Delivered
	c.Retried += o.Retried
	c.Exhausted += o.Exhausted
	c.Cancelled += o.Cancelled
	for i := range c.Latency {
		c.Latency[i] += o.Latency[i]
	}
}

// Attempts are the requests that were made, or tried to be.
func (c *Counts) Attempts() int64 { return c.Delivered + c.Retried + c.Exhausted }

// Percentile is the time that a part of the deliveries (0.95: 95 of 100) took at most, taken as spread evenly in its
// bin; in the last bin, its beginning. False: nothing was delivered.
func (c *Counts) Percentile(part float64) (time.Duration, bool) {
	var all int64
	for _, n := range c.Latency {
		all += n
	}
	if all == 0 {
		return 0, false
	}
	rank := part * float64(all)
	var low time.Duration
	for i, n := range c.Latency {
		if i == len(LatencyBounds) {
			break
		}
		if float64(n) >= rank && n > 0 {
			return low + time.Duration(rank/float64(n)*float64(LatencyBounds[i]-low)), true
		}
		rank -= float64(n)
		low = LatencyBounds[i]
	}
	return low, true
}

// Rollup is what a webhook's attempts came to that ended in one minute, or in one step of a list.
type Rollup struct {
	Tenant  string
	Webhook int64     // 0: all of the tenant's together
	At      time.Time // the beginning of the minute or step, UTC
	Counts
}

// RollupSpan is what rows of rollups are kept for.
type RollupSpan int

// The spans. Minutes are kept for MinutesKept, hours as long as events.
const (
	PerMinute RollupSpan = iota
	PerHour
)

// MinutesKept is how long the rollups of minutes are kept.
const MinutesKept = 48 * time.Hour

// RollupQuery selects rollups.
type RollupQuery struct {
	Tenant   string
	Webhooks []int64 // 0 is the tenant's total
	Span     RollupSpan
	Since    time.Time     // from this time on; times are compared with the beginnings of minutes and hours
	Until    time.Time     // before this time
	Step     time.Duration // rows are added up over steps from Since on
}

// Stats reads the numbers that the journal's writer keeps, and what waits.
type Stats interface {
	// Rollups lists what is not empty, by webhook and time.
	Rollups(ctx context.Context, q RollupQuery) ([]Rollup, error)
	// WaitingCounts counts the waiting rows of each of the webhooks, up to limit; one with none is left out. The order
	// is open.
	WaitingCounts(ctx context.Context, tenant string, webhooks []int64, limit int) ([]WaitingCount, error)
	// LastOutcomes gives for each of the webhooks the last outcome of the newest event that was tried, without Response
	// and Timings; one with none is left out. The order is open.
	LastOutcomes(ctx context.Context, tenant string, webhooks []int64) ([]Outcome, error)
}

// WaitingCount is what waits for a webhook.
type WaitingCount struct {
	Webhook int64
	Waiting int
	Oldest  Seq // of the events that wait
}
