package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/budget"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// ErrStopping is what every method answers while the engine does not run: the caller should try another node or later.
var ErrStopping = errors.New("the server is stopping")

// ErrBusy says that the tenant asks for more at once than its part of what there is; it may try again in a moment.
var ErrBusy = errors.New("too much at once")

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
	// Hold persists that nothing is sent to a webhook before a time, as its receiver asked, if that is still its URL.
	Hold func(ctx context.Context, num int64, url string, until time.Time) error
	// Settled, unless nil, is called with each outcome that was committed; it must not wait.
	Settled func(o *store.Outcome, ev *event.Event)
	// Broken is called once, when the journal can no longer be written: with store.ErrBroken the process must end, with
	// store.ErrFenced this engine must be stopped, and another may take its place. It must not wait.
	Broken func(error)

	Logger      *slog.Logger
	Registerer  prometheus.Registerer // nil: metrics are kept but not exported
	Attempts    int                   // attempts under way, all webhooks; default 1024
	Concurrency int                   // attempts under way per webhook; default 32
	// TargetConcurrency is attempts under way per scheme, host and port, of all webhooks; default four times
	// Concurrency.
	TargetConcurrency int
	QueueLength       int           // deliveries in memory per webhook; default 8192
	QueueBytes        int64         // deliveries in memory, all webhooks; default 32 MiB
	Retention         time.Duration // how long events and outcomes are kept; 0: for ever
	NoRollups         bool          // no numbers are kept; for measuring what they cost
	LateAfter         time.Duration // a delivery not settled by then gets a waiting row; default 10 s
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Disable == nil {
		c.Disable = func(context.Context, int64, string) error { return nil }
	}
	if c.Hold == nil {
		c.Hold = func(context.Context, int64, string, time.Time) error { return nil }
	}
	if c.Broken == nil {
		c.Broken = func(error) {}
	}
	if c.Attempts <= 0 {
		c.Attempts = 1024
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 32
	}
	if c.TargetConcurrency <= 0 {
		c.TargetConcurrency = 4 * c.Concurrency // of which one webhook alone gets a quarter
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
	acceptBytes     = 64 << 20        // of events that wait for their commit
	acceptMost      = acceptBytes / 4 // that one request counts: whatever it is, it has a chance
	acceptTime      = 5 * time.Second // that a publisher waits for the commit
	lastCommit      = 5 * time.Second // that the journal has after Stop's time is over
	stalledAfter    = 3 * time.Second // a commit that takes longer has publishers turned away at once
	retryWriteAfter = 250 * time.Millisecond
)

// state is where an engine stands. It only ever goes forward.
type state int32

const (
	idle     state = iota // made, not started
	starting              // what a former run left is looked for; no event is accepted yet
	running
	stopping
	stopped
)

// Engine takes events and delivers them. Make one with New, then Start, then Stop. Its methods may be called at any
// time, by any number of goroutines; while it does not run they answer ErrStopping.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	state   atomic.Int32

	table  atomic.Pointer[table] // which webhooks want what
	tableM sync.Mutex            // held while it changes
	memory *share                // bytes of the deliveries in memory
	places *places               // attempts under way
	paced  atomic.Int64          // webhooks whose attempts all come to nothing
	gate   *budget.Budget        // bytes of events that wait for their commit
	byHand *share                // retries by hand under way

	writer  *writer
	ready   readyList // hooks whose waiting deliveries should be looked at
	trimmed store.Seq // where the round of removal that is under way goes on; only trim uses it

	commits  context.Context // of every commit; ends a little after Stop's time is over
	giveUp   context.CancelFunc
	attempts context.Context // of every attempt; ends when Stop's time is over
	abort    context.CancelFunc
	running  context.Context // of the background loops and of Start; ends when Stop begins
	halt     context.CancelFunc
	loops    sync.WaitGroup // due and the upkeep's
	written  sync.WaitGroup // the writer
	workers  sync.WaitGroup
	startM   sync.Mutex // held by Start, so that Stop waits for it
	stopOnce sync.Once
	stopErr  error
}

// New makes an engine; nothing runs yet.
func New(cfg Config) *Engine {
	cfg.setDefaults()
	e := &Engine{cfg: cfg, log: cfg.Logger, gate: budget.New(acceptBytes)}
	e.metrics = newMetrics(cfg.Registerer)
	e.memory, e.byHand = newShare(cfg.QueueBytes), newShare(retriesByHand)
	e.places = newPlaces(int64(cfg.Attempts), int64(cfg.TargetConcurrency), e.startWorker)
	e.table.Store(newTable(nil))
	e.commits, e.giveUp = context.WithCancel(context.Background())
	e.attempts, e.abort = context.WithCancel(context.Background())
	e.running, e.halt = context.WithCancel(context.Background())
	e.ready.wake = make(chan struct{}, 1)
	e.writer = newWriter(e)
	return e
}

// is tells whether the engine stands there now.
func (e *Engine) is(s state) bool { return state(e.state.Load()) == s }

// Start loads the webhooks, finds what a former run left unsettled, and begins to deliver. After it Accept may be
// called. A second call does nothing. Errors: the store's, and ErrStopping once Stop was called; Stop must be called
// after an error, too.
func (e *Engine) Start(ctx context.Context, webhooks []*webhook.Webhook) error {
	e.startM.Lock()
	defer e.startM.Unlock()
	if !e.state.CompareAndSwap(int32(idle), int32(starting)) {
		if e.running.Err() != nil {
			return ErrStopping
		}
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.running, cancel)()
	if err := e.begin(ctx, webhooks); err != nil {
		if e.running.Err() != nil {
			return ErrStopping
		}
		return err
	}
	e.loops.Go(e.due)
	e.loops.Go(func() { e.every(tick, "mark", e.writer.askMark) })
	e.loops.Go(func() { e.every(tick, "memory", e.shed) })
	e.loops.Go(func() { e.every(tick, "adopt", e.adopt) })
	e.loops.Go(func() { e.every(trimEvery, "retention", e.trim) })
	if !e.state.CompareAndSwap(int32(starting), int32(running)) {
		return ErrStopping
	}
	return nil
}

// begin brings the engine to where a former run was.
func (e *Engine) begin(ctx context.Context, webhooks []*webhook.Webhook) error {
	hooks, m := make([]*hook, 0, len(webhooks)), matcher{}
	for _, w := range webhooks {
		h, err := e.newHook(w, m)
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
	if err := e.recall(ctx); err != nil {
		return err
	}
	e.writer.last, e.writer.marked = max(last, from-1), from
	if !e.writer.start() {
		return ErrStopping
	}
	if err := e.recover(ctx, from); err != nil {
		return fmt.Errorf("recover unsettled deliveries: %w", err)
	}
	return e.backlogs(ctx)
}

// now is the journal's time: what is stored is compared with it.
func (e *Engine) now() time.Time { return e.cfg.Journal.Now() }

// Stop ends the engine: no new events, no new attempts; attempts under way may finish until ctx ends and are then
// broken off, on record as such. What is queued stays in the journal. It returns at most a few seconds after ctx ends,
// whatever is broken, slow or away; what did not end by then is left behind, and the error says so. Safe to call at any
// time and any number of times.
func (e *Engine) Stop(ctx context.Context) error {
	e.stopOnce.Do(func() { e.stopErr = e.stop(ctx) })
	return e.stopErr
}

func (e *Engine) stop(ctx context.Context) error {
	e.state.Store(int32(stopping))
	e.halt()
	e.places.close()
	bound, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastCommit, cancel) })()
	var left []error
	finish := func(ctx context.Context, what string, wait func()) {
		if !ends(ctx, wait) {
			left = append(left, fmt.Errorf("%s did not end in time", what))
		}
	}
	finish(bound, "the start", func() { e.startM.Lock(); defer e.startM.Unlock() })
	hooks := e.table.Load().list()
	for _, h := range hooks {
		h.stop()
	}
	if !ends(ctx, e.workers.Wait) {
		e.abort()
		finish(bound, "attempts", e.workers.Wait)
	}
	e.abort()
	end := context.AfterFunc(bound, e.giveUp)
	e.writer.close()
	finish(bound, "the journal's last commit", e.written.Wait)
	end()
	e.giveUp()
	e.writer.end()
	finish(bound, "the upkeep", e.loops.Wait)
	for _, h := range hooks {
		h.release()
	}
	e.state.Store(int32(stopped))
	return errors.Join(append(left, e.writer.failure())...)
}

// ends tells whether wait returned before ctx ended.
func ends(ctx context.Context, wait func()) bool {
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// Ready fails unless an event would be accepted now. Errors: ErrStopping, also before the start; what broke the
// journal; store.ErrAway, a commit takes long.
func (e *Engine) Ready() error {
	if !e.is(running) {
		return ErrStopping
	}
	return e.writer.ready()
}

// SetWebhook tells the engine that a webhook was created, changed or deleted, or, with the version that it has, that
// it is held. Before Start it does nothing: Start is told of all webhooks.
func (e *Engine) SetWebhook(w *webhook.Webhook) error {
	e.tableM.Lock()
	defer e.tableM.Unlock()
	t := e.table.Load()
	h := t.byNum(w.Num)
	if h == nil {
		h, err := e.newHook(w, matcher{})
		if err != nil {
			return err
		}
		t.set(h)
		return nil
	}
	known := h.conf.Load().webhook.Version
	if known > w.Version {
		return nil // a later change overtook this one
	}
	if err := h.configure(w, matcher{}); err != nil {
		return err
	}
	t.set(h)
	if known != w.Version { // else it is held, and as slow as before
		h.reconfigured()
	}
	return nil
}

// Test sends the event to the webhook at once, whether it is enabled or not, outside the journal: it is no delivery.
func (e *Engine) Test(ctx context.Context, w *webhook.Webhook, ev event.Event) (
	attempt.Result, attempt.Preview, error) {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return attempt.Result{}, attempt.Preview{}, fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	r, err := e.aside(ctx, t.ForTest(), &ev)
	return r, t.Preview(&ev, time.Now()), err
}

// Consent asks the webhook's target whether requests of the sender are welcome; see attempt.Target.ForConsent.
func (e *Engine) Consent(ctx context.Context, w *webhook.Webhook, sender string) (attempt.Result, error) {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return attempt.Result{}, fmt.Errorf("prepare webhook %s: %w", w.ID, err)
	}
	return e.aside(ctx, t.ForConsent(sender), new(event.Event))
}

// aside sends a request outside the journal.
func (e *Engine) aside(ctx context.Context, t *attempt.Target, ev *event.Event) (attempt.Result, error) {
	if e.attempts.Err() != nil {
		return attempt.Result{}, ErrStopping
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.attempts, cancel)()
	return e.cfg.Sender.Send(ctx, t, ev), nil
}

// retriesByHand is how many RetryNow may be under way; others are told to come later.
const retriesByHand = 256

// RetryNow makes the delivery due at once, whatever its state; one that is under way already is left alone. Errors:
// store.ErrNotFound, ErrBusy, ErrStopping, the store's.
func (e *Engine) RetryNow(ctx context.Context, key store.DeliveryKey) error {
	if !e.is(running) {
		return ErrStopping
	}
	h := e.table.Load().byNum(key.Webhook)
	if h == nil {
		return store.ErrNotFound
	}
	if !e.byHand.take(h, 1) {
		return ErrBusy
	}
	defer e.byHand.give(h, 1)
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
	now := e.now().UTC().Truncate(time.Millisecond)
	row := store.Waiting{Tenant: h.tenant, DeliveryKey: key, Attempts: n, DueAt: now}
	return e.writer.writeAndWait(ctx, writing{wait: row, hook: h})
}
