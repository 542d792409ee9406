package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/webhook"
)

// engines is the engine of now. One whose work another node has taken over is replaced, like a process that ended and
// was started again.
type engines struct {
	atomic.Pointer[engine.Engine]
	rejoinM sync.Mutex // held while one is replaced
}

// Accept is the engine's.
func (e *engines) Accept(ctx context.Context, tenant string, evs []event.Event) ([]engine.Receipt, error) {
	return e.Load().Accept(ctx, tenant, evs)
}

// Change is the engine's.
func (e *engines) Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error {
	return e.Load().Change(ctx, tenant, c, evs)
}

// SetWebhook is the engine's.
func (e *engines) SetWebhook(w *webhook.Webhook) error { return e.Load().SetWebhook(w) }

// Webhooks is the engine's.
func (e *engines) Webhooks(tenant string) int { return e.Load().Webhooks(tenant) }

// SameTarget is the engine's.
func (e *engines) SameTarget(w *webhook.Webhook) []string { return e.Load().SameTarget(w) }

// RetryNow is the engine's.
func (e *engines) RetryNow(ctx context.Context, key store.DeliveryKey) error {
	return e.Load().RetryNow(ctx, key)
}

// Test is the engine's.
func (e *engines) Test(ctx context.Context, w *webhook.Webhook, ev event.Event) (
	attempt.Result, attempt.Preview, error) {
	return e.Load().Test(ctx, w, ev)
}

// Consent is the engine's.
func (e *engines) Consent(ctx context.Context, w *webhook.Webhook, sender string) (attempt.Result, error) {
	return e.Load().Consent(ctx, w, sender)
}

func (a *App) newEngine() (e *engine.Engine) {
	e = engine.New(engine.Config{
		Settled: a.live.Tell, NoRollups: a.cfg.NoRollups,
		Journal: a.store, Sender: a.sender, Disable: a.disable, Hold: a.store.HoldWebhook,
		Logger: a.log, Registerer: a.registry,
		Broken:   func(err error) { a.broken(e, err) },
		Attempts: a.shares.attempts, Concurrency: a.cfg.Concurrency,
		TargetConcurrency: a.cfg.TargetConcurrency, Retention: a.cfg.Retention,
	})
	return e
}

// broken replaces an engine whose work another node has taken over; anything else ends the process.
func (a *App) broken(e *engine.Engine, err error) {
	if a.shared != nil && errors.Is(err, store.ErrFenced) {
		a.goBackground(func() { a.rejoin(e) })
		return
	}
	a.fail(err)
}

func (a *App) startEngine(ctx context.Context, e *engine.Engine) error {
	hooks, err := a.store.AllWebhooks(ctx)
	if err != nil {
		return fmt.Errorf("read the webhooks: %w", err)
	}
	return e.Start(ctx, hooks)
}

// openShared opens the database that nodes share and makes this process one of them.
func (a *App) openShared(ctx context.Context) error {
	ring, err := a.keyring()
	if err != nil {
		return err
	}
	name := a.cfg.NodeName
	if name == "" {
		name, _ = os.Hostname()
	}
	db, err := postgres.Open(ctx, postgres.Config{
		URL: a.cfg.Database, ReadURL: a.cfg.DatabaseRead, Keyring: ring, Logger: a.log, Pool: a.cfg.DatabasePool,
		Name: name, Version: Version,
	})
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := db.Join(ctx); err != nil {
		return errors.Join(err, db.Close())
	}
	a.store, a.shared = db, db
	return nil
}

// exportStats shows how the node stands with the database that it shares.
func (a *App) exportStats() {
	if a.shared == nil {
		return
	}
	gauge := func(name, help string, value func(postgres.Stats) float64) {
		a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "qhook_" + name, Help: help},
			func() float64 { return value(a.shared.Stats()) }))
	}
	gauge("database_connections", "Open connections of the pool.",
		func(s postgres.Stats) float64 { return float64(s.Connections) })
	gauge("database_connections_idle", "Those of them that nobody uses.",
		func(s postgres.Stats) float64 { return float64(s.Idle) })
	gauge("database_connections_most", "How many there can be.",
		func(s postgres.Stats) float64 { return float64(s.Most) })
	a.registry.MustRegister(oldest{a.shared})
	gauge("lease_seconds", "What is left of the node's lease; at 0 it makes no attempts.",
		func(s postgres.Stats) float64 { return max(0, s.Lease.Seconds()) })
	gauge("takeovers", "Dead nodes whose work this one took over, since its start.",
		func(s postgres.Stats) float64 { return float64(s.TakenOver) })
	gauge("fenced", "Times that another node took over this one's work, since its start.",
		func(s postgres.Stats) float64 { return float64(s.Fenced) })
}

// oldest asks the database, whenever metrics are read, what keeps it from removing dead rows. Without an answer within
// a second there is no figure.
type oldest struct{ db *postgres.DB }

var (
	oldestTransaction = prometheus.NewDesc("qhook_database_oldest_transaction_seconds",
		"How long the database's oldest transaction is open; while it is, no dead row is removed.", nil, nil)
	oldestSnapshot = prometheus.NewDesc("qhook_database_oldest_snapshot_transactions",
		"Transactions since the oldest snapshot that a session, a standby or a slot holds.", nil, nil)
)

// Describe is a Collector's.
func (oldest) Describe(to chan<- *prometheus.Desc) { to <- oldestTransaction; to <- oldestSnapshot }

// Collect is a Collector's.
func (o oldest) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	found, err := o.db.Oldest(ctx)
	if err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(oldestTransaction, prometheus.GaugeValue, found.Transaction.Seconds())
	to <- prometheus.MustNewConstMetric(oldestSnapshot, prometheus.GaugeValue, float64(found.Snapshot))
}

// watch tells the engine what other nodes change, until Stop.
func (a *App) watch() {
	a.goBackground(func() { a.shared.Watch(a.stopped, a.engine.SetWebhook) })
}

// refresh tells the engine what changed while it took the former one's place.
func (a *App) refresh(ctx context.Context) error {
	hooks, err := a.store.AllWebhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range hooks {
		if err := a.engine.SetWebhook(w); err != nil {
			a.log.Error("a webhook could not be put to work", "webhook", w.ID, "error", err)
		}
	}
	return nil
}

// rejoinPause is between two tries to join again, and rejoinTime bounds each: a connection that was lost without a word
// does not say so.
const (
	rejoinPause = 500 * time.Millisecond
	rejoinTime  = 30 * time.Second
)

// rejoin replaces the engine whose work another node has taken over: what it had is the others' now. There is never
// more than one engine: one that is fenced before it has taken its place is replaced by whoever made it, or after that.
func (a *App) rejoin(e *engine.Engine) {
	a.engine.rejoinM.Lock()
	defer a.engine.rejoinM.Unlock()
	if a.engine.Load() != e {
		return
	}
	ctx := a.stopped
	ended, end := context.WithCancel(ctx)
	end() // what is under way is broken off at once
	if err := e.Stop(ended); err != nil {
		a.log.Info("the former engine is stopped", "error", err)
	}
	a.insist(ctx, "this node could not join again", func(ctx context.Context) error { return a.rejoinOnce(ctx, ended) })
	// What changed meanwhile was told to the former engine, and nobody tells it again.
	a.insist(ctx, "the webhooks could not be read again", a.refresh)
}

// insist tries f until it succeeds, or ctx ends.
func (a *App) insist(ctx context.Context, failed string, f func(context.Context) error) {
	try := func() error {
		ctx, cancel := context.WithTimeout(ctx, rejoinTime)
		defer cancel()
		return f(ctx)
	}
	for ctx.Err() == nil {
		err := try()
		if err == nil {
			return
		}
		a.log.Warn(failed+"; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(rejoinPause):
		}
	}
}

// rejoinOnce makes one try to join again with a new engine; ended is a context that has ended.
func (a *App) rejoinOnce(ctx, ended context.Context) error {
	if err := a.shared.Join(ctx); err != nil {
		return err
	}
	e := a.newEngine()
	if err := a.startEngine(ctx, e); err != nil {
		_ = e.Stop(ended)
		return err
	}
	a.engine.Store(e)
	return nil
}
