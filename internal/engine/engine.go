package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// ErrStopping is what Accept answers once the engine is stopping: the publisher should try another node or later.
var ErrStopping = errors.New("the server is stopping")

// Sender makes one attempt: one HTTP request on the wire. *attempt.Sender is one.
type Sender interface {
	// Send never fails: what went wrong is in the result. It returns soon after ctx ends.
	Send(ctx context.Context, t *attempt.Target, e *event.Event) attempt.Result
}

// Config is what an engine is made of. Journal and Sender are required; the rest works as zero.
type Config struct {
	Journal store.Journal
	Sender  Sender
	// Disable persists that a webhook is disabled, and why, and calls Engine.SetWebhook with the result.
	Disable func(ctx context.Context, num int64, reason string) error
	// Settled, unless nil, is called with each outcome that was committed; it must not wait.
	Settled func(o *store.Outcome, ev *event.Event)
	// Broken is called once, when the journal can no longer be written: with store.ErrBroken the process must end, with
	// store.ErrFenced this engine must be stopped, and another may take its place.
	Broken func(error)

	Logger      *slog.Logger
	Registerer  prometheus.Registerer // nil: metrics are kept but not exported
	Concurrency int                   // attempts under way per webhook; default 32
	QueueLength int                   // deliveries in memory per webhook; default 8192
	QueueBytes  int64                 // deliveries in memory, all webhooks; default 32 MiB
	Retention   time.Duration         // how long events and outcomes are kept; 0: for ever
	NoRollups   bool                  // no numbers are kept; for measuring what they cost
	LateAfter   time.Duration         // a delivery not settled by then gets a waiting row; default 10 s
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Disable == nil {
		c.Disable = func(context.Context, int64, string) error { return nil }
	}
	if c.Broken == nil {
		c.Broken = func(error) {}
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 32
	}
	if c.QueueLength <= 0 {
		c.QueueLength = 8192
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 32 << 20
	}
	if c.LateAfter <= 0 {
		c.LateAfter = 10 * time.Second
	}
}

const (
	tick            = time.Second      // how often the recovery mark is moved
	acceptBytes     = 64 << 20         // of events that wait for their commit
	acceptTime      = 10 * time.Second // that a publisher waits for the commit
	lastCommit      = 5 * time.Second  // that the journal has after Stop's time is over
	stalledAfter    = 3 * time.Second  // a commit that takes longer has publishers turned away at once
	retryWriteAfter = 250 * time.Millisecond
)

var farFuture = time.UnixMilli(math.MaxInt64 >> store.SeqShift).UTC()

// Engine takes events and delivers them. Make one with New, then Start, then Stop.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	table  atomic.Pointer[table] // which webhooks want what; replaced whole
	tableM sync.Mutex            // held while a new table is made
	room   atomic.Int64          // bytes left in all queues
	gate   *semaphore.Weighted   // bytes of events that wait for their commit

	writer *writer
	ready  readyList // hooks whose waiting deliveries should be looked at

	commits   context.Context // of every commit; ends a little after Stop's time is over
	giveUp    context.CancelFunc
	attempts  context.Context // of every attempt; ends when Stop's time is over
	abort     context.CancelFunc
	running   context.Context // of the background loops; ends when Stop begins
	halt      context.CancelFunc
	accepting atomic.Bool
	loops     sync.WaitGroup // due and upkeep
	written   sync.WaitGroup // the writer
	workers   sync.WaitGroup
	stopOnce  sync.Once
	stopErr   error
	started   bool
}

// New makes an engine; nothing runs yet.
func New(cfg Config) *Engine {
	cfg.setDefaults()
	e := &Engine{cfg: cfg, log: cfg.Logger, gate: semaphore.NewWeighted(acceptBytes)}
	e.metrics = newMetrics(cfg.Registerer)
	e.room.Store(cfg.QueueBytes)
	e.table.Store(newTable(nil))
	e.commits, e.giveUp = context.WithCancel(context.Background())
	e.attempts, e.abort = context.WithCancel(context.Background())
	e.running, e.halt = context.WithCancel(context.Background())
	e.ready.wake = make(chan struct{}, 1)
	e.writer = newWriter(e)
	return e
}

// Start loads the webhooks, finds what a former run left unsettled, and begins to deliver. After it Accept may be called.
func (e *Engine) Start(ctx context.Context, webhooks []*webhook.Webhook) error {
	if e.started {
		return nil
	}
	e.started = true
	hooks := make([]*hook, 0, len(webhooks))
	for _, w := range webhooks {
		h, err := e.newHook(w)
		if err != nil {
			return err
		}
		hooks = append(hooks, h)
	}
	e.table.Store(newTable(hooks))
	last, err := e.cfg.Journal.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("read the last event's number: %w", err)
	}
	from, err := e.cfg.Journal.RecoverFrom(ctx)
	if err != nil {
		return fmt.Errorf("read the recovery mark: %w", err)
	}
	e.writer.last = max(last, from-1)
	e.written.Go(e.writer.run)
	if err := e.recover(ctx); err != nil {
		return fmt.Errorf("recover unsettled deliveries: %w", err)
	}
	for _, h := range hooks {
		e.ready.add(h)
	}
	e.loops.Go(e.due)
	e.loops.Go(e.upkeep)
	e.accepting.Store(true)
	return nil
}

// now is the journal's time: what is stored is compared with it.
func (e *Engine) now() time.Time { return e.cfg.Journal.Now() }

// Stop ends the engine: no new events, no new attempts; attempts under way may finish until ctx ends and are then
// broken off, on record as such. What is queued stays in the journal. Safe to call twice and unstarted.
func (e *Engine) Stop(ctx context.Context) error {
	e.stopOnce.Do(func() {
		e.accepting.Store(false)
		e.halt()
		for _, h := range e.table.Load().byNum {
			h.stop()
		}
		done := make(chan struct{})
		go func() { e.workers.Wait(); close(done) }()
		select {
		case <-done:
		case <-ctx.Done():
			e.abort()
			<-done
		}
		e.abort()
		e.loops.Wait()
		end := context.AfterFunc(ctx, func() { time.AfterFunc(lastCommit, e.giveUp) })
		e.writer.close()
		e.written.Wait()
		end()
		e.giveUp()
		for _, h := range e.table.Load().byNum {
			h.release()
		}
		e.stopErr = e.writer.failure()
	})
	return e.stopErr
}

// SetWebhook tells the engine that a webhook was created, changed or deleted.
func (e *Engine) SetWebhook(w *webhook.Webhook) error {
	e.tableM.Lock()
	defer e.tableM.Unlock()
	t := e.table.Load()
	if h, ok := t.byNum[w.Num]; ok {
		if h.conf.Load().webhook.Version > w.Version {
			return nil // a later change overtook this one
		}
		if err := h.configure(w); err != nil {
			return err
		}
		e.table.Store(t.rebuilt(h.tenant))
		return nil
	}
	h, err := e.newHook(w)
	if err != nil {
		return err
	}
	e.table.Store(t.with(h))
	return nil
}

// Test sends the event to the webhook at once, whether it is enabled or not, outside the journal: it is no delivery.
func (e *Engine) Test(ctx context.Context, w *webhook.Webhook, ev event.Event) (attempt.Result, attempt.Preview, error) {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return attempt.Result{}, attempt.Preview{}, fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	return e.cfg.Sender.Send(ctx, t.ForTest(), &ev), t.Preview(&ev, time.Now()), nil
}

// RetryNow makes the delivery due at once, whatever its state; one that is under way already is left alone.
func (e *Engine) RetryNow(ctx context.Context, key store.DeliveryKey) error {
	h := e.table.Load().byNum[key.Webhook]
	if h == nil {
		return store.ErrNotFound
	}
	if !h.hold(key.Event) {
		return nil
	}
	defer h.unhold(key.Event)
	n, err := e.cfg.Journal.Attempts(ctx, h.tenant, key)
	if err != nil {
		return fmt.Errorf("count the attempts of a delivery: %w", err)
	}
	if n == 0 {
		return nil // never tried: it is due already, or in another node's memory
	}
	now := e.now().Truncate(time.Millisecond)
	return e.writer.wait(ctx, h, store.Waiting{Tenant: h.tenant, DeliveryKey: key, Attempts: n, DueAt: now})
}
