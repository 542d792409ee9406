package engine

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/store"
)

// metrics is what an operator watches of the engine. No label has an unbounded number of values.
type metrics struct {
	accepted, spilled, recovered, trimmed prometheus.Counter
	local                                 prometheus.Counter
	upkeep                                *prometheus.GaugeVec
	outcomes                              *prometheus.CounterVec
	byKind                                map[store.OutcomeKind]prometheus.Counter
	classes                               *prometheus.CounterVec
	duration, latency                     prometheus.Histogram
	commits, rows                         prometheus.Histogram
	commitErrors                          *prometheus.CounterVec
	inFlight                              prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "qhook_" + name, Help: help}))
	}
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		return register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "qhook_" + name, Help: help}, []string{label}))
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "qhook_" + name, Help: help}, []string{label}))
	}
	histogram := func(name, help string, start, factor float64, n int) prometheus.Histogram {
		return register(r, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "qhook_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(start, factor, n)}))
	}
	m := &metrics{
		accepted: counter("events_accepted_total", "Events accepted, duplicates included."),
		spilled: counter("deliveries_spilled_total",
			"Deliveries written down at once because they did not fit their queue."),
		recovered: counter("deliveries_recovered_total",
			"Deliveries made again after a start because they were unsettled."),
		trimmed: counter("events_removed_total", "Events removed because they were older than the retention."),
		local: counter("attempts_local_total",
			"Attempts that were not made since this machine had no descriptors or memory."),
		upkeep:       gauges("upkeep_timestamp_seconds", "When a periodic job was done last.", "job"),
		outcomes:     vector("outcomes_total", "What attempts came to.", "outcome"),
		classes:      vector("attempt_failures_total", "Failed attempts by error class.", "class"),
		duration:     histogram("attempt_duration_seconds", "Duration of an attempt.", 0.0005, 2, 18),
		latency:      histogram("delivery_latency_seconds", "From acceptance to a delivered outcome.", 0.0005, 2.5, 20),
		commits:      histogram("commit_duration_seconds", "Duration of a commit to the journal.", 0.0001, 2, 18),
		rows:         histogram("commit_rows", "Publishers' requests and other rows in one commit.", 1, 2, 14),
		commitErrors: vector("commit_errors_total", "Commits that failed.", "reason"),
		inFlight:     register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: "qhook_attempts_in_flight", Help: "Attempts under way."})),
	}
	m.byKind = map[store.OutcomeKind]prometheus.Counter{}
	for _, k := range []store.OutcomeKind{store.Delivered, store.Retry, store.Exhausted, store.Cancelled} {
		m.byKind[k] = m.outcomes.WithLabelValues(string(k))
	}
	return m
}

// register returns the collector that has c's place: c itself, or that of an engine that was here before.
func register[T prometheus.Collector](r prometheus.Registerer, c T) T {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return there.ExistingCollector.(T)
	}
	if err != nil {
		panic(err) // a name that is taken: a mistake in this file
	}
	return c
}

func (m *metrics) settled(kind store.OutcomeKind, r attempt.Result, now time.Time, d *delivery) {
	m.byKind[kind].Inc()
	m.duration.Observe(r.Duration.Seconds())
	if kind == store.Delivered {
		m.latency.Observe(now.Sub(d.key.Event.Time()).Seconds())
		return
	}
	m.classes.WithLabelValues(r.Class).Inc()
}

func (m *metrics) committed(began time.Time, accepts, writes int, err error) {
	m.commits.Observe(time.Since(began).Seconds())
	m.rows.Observe(float64(accepts + writes))
	switch {
	case err == nil:
	case errors.Is(err, store.ErrFull):
		m.commitErrors.WithLabelValues("full").Inc()
	case errors.Is(err, store.ErrBroken):
		m.commitErrors.WithLabelValues("broken").Inc()
	default:
		m.commitErrors.WithLabelValues("other").Inc()
	}
}
