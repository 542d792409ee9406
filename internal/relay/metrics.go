package relay

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// measureEvery is how often rows are counted, at most.
const measureEvery = time.Second

// metrics is what an operator watches.
type metrics struct {
	since             atomic.Pointer[time.Time] // when the oldest row that is not moved was written, by our clock; nil: there is none
	backlog, setAside prometheus.Gauge
	moved             prometheus.Counter
	errors            *prometheus.CounterVec
	trouble           *prometheus.GaugeVec

	measured time.Time // Run's goroutine uses these
	due      bool      // measure at the next look
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{Name: "qhook_relay_backlog_rows",
			Help: "Rows that wait in the outbox: an estimate, never too low."}),
		setAside: prometheus.NewGauge(prometheus.GaugeOpts{Name: "qhook_relay_set_aside_rows",
			Help: "Rows whose event the server refused."}),
		moved: prometheus.NewCounter(prometheus.CounterOpts{Name: "qhook_relay_moved_total",
			Help: "Rows moved to the server."}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "qhook_relay_errors_total", Help: "Failures, by the side that failed."}, []string{"side"}),
	}
	m.trouble = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "qhook_relay_waiting", Help: "1 while rows wait for this side to work again.",
	}, []string{"side"})
	m.errors.WithLabelValues("source")
	m.errors.WithLabelValues("api")
	m.worked()
	if reg != nil {
		lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "qhook_relay_lag_seconds", Help: "Age of the oldest row that is not moved; 0 when there is none."}, m.lag)
		reg.MustRegister(lag, m.backlog, m.setAside, m.moved, m.errors, m.trouble)
	}
	return m
}

// failed counts a failure of a side, for which rows wait now.
func (m *metrics) failed(side string) {
	m.worked()
	m.errors.WithLabelValues(side).Inc()
	m.trouble.WithLabelValues(side).Set(1)
}

// worked says that rows wait for no side.
func (m *metrics) worked() {
	m.trouble.WithLabelValues("source").Set(0)
	m.trouble.WithLabelValues("api").Set(0)
}

// lag grows by itself, so that it is true also while nothing can be read or published.
func (m *metrics) lag() float64 {
	if t := m.since.Load(); t != nil {
		return max(0, time.Since(*t).Seconds())
	}
	return 0
}

// oldest takes what a look at the outbox found: how many rows, and the age of the first.
func (m *metrics) oldest(rows int, age time.Duration) {
	if rows == 0 {
		m.since.Store(nil)
		m.backlog.Set(0)
		return
	}
	t := time.Now().Add(-age)
	m.since.Store(&t)
}

// standby forgets what this relay saw: another one has the rows now.
func (m *metrics) standby() {
	m.oldest(0, 0)
	m.setAside.Set(0)
	m.due = true
}

// measure counts the rows that wait, by two look-ups in the index, and those set aside, by theirs.
func (m *metrics) measure(ctx context.Context, conn *pgx.Conn) error {
	if !m.due && time.Since(m.measured) < measureEvery {
		return nil
	}
	var backlog, setAside int64
	if err := conn.QueryRow(ctx, `SELECT
		(SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM qhook_outbox WHERE failed_at IS NULL),
		(SELECT count(*) FROM qhook_outbox WHERE failed_at IS NOT NULL)`).Scan(&backlog, &setAside); err != nil {
		return fmt.Errorf("count rows: %w", err)
	}
	m.backlog.Set(float64(backlog))
	m.setAside.Set(float64(setAside))
	m.measured, m.due = time.Now(), false
	return nil
}
