package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// MaxRetryAfter is the longest wait that a receiver may ask for.
const MaxRetryAfter = 24 * time.Hour

// goneDelay is the least wait after a 410 when the webhook could not be disabled.
const goneDelay = time.Minute

// localDelay is the wait after this machine had no resources for an attempt, proxyDelay after its way out was closed.
const (
	localDelay = time.Second
	proxyDelay = 10 * time.Second
)

// jitter is how far a delay may be off the schedule, as a part of it.
const jitter = 0.10

// decide is the policy: what an attempt came to, and when the next one is due. attempt counts from 1; u is random in
// [0,1). A receiver's Retry-After is never undercut, and neither is the schedule, so that one that always asks for a
// second does not use the schedule up in a minute. A state that this side has to change first (disabled, for one) never
// makes a delivery due again at once: what fails for good would go round and round.
func decide(r attempt.Result, number int, schedule []time.Duration, now time.Time, u float64) (
	store.OutcomeKind, time.Time) {
	switch r.Verdict {
	case attempt.Success:
		return store.Delivered, time.Time{}
	case attempt.Gone:
		return store.Retry, now.Add(goneDelay) // held: the webhook is disabled
	}
	if r.Class == attempt.ClassCancelled {
		return store.Retry, now // broken off by a shutdown
	}
	if number > len(schedule) {
		return store.Exhausted, time.Time{}
	}
	delay := schedule[number-1]
	delay += time.Duration((u*2 - 1) * jitter * float64(delay))
	return store.Retry, now.Add(max(delay, min(r.RetryAfter, MaxRetryAfter)))
}

// attempt makes one attempt for the delivery and hands its outcome to the writer.
func (e *Engine) attempt(h *hook, d *delivery) {
	c := h.conf.Load()
	if c.webhook.Deleted() {
		e.cancel(h, d)
		return
	}
	if !c.open() {
		h.putBack(d, h.rowDue(d))
		return
	}
	failpoint.Hit(failpoint.Attempt)
	r := e.send(c, d)
	failpoint.Hit(failpoint.Attempted)
	now := e.now()
	if r.Verdict == attempt.Local {
		// No attempt of the receiver's schedule: nothing left for it. The webhook comes back soon.
		wait := localDelay
		if r.Class == attempt.ClassProxy {
			wait = proxyDelay/2 + rand.N(proxyDelay)
			h.mu.Lock()
			h.pace.note(false, true, &e.paced) // its backlog need not be put back all at once
			h.mu.Unlock()
			e.log.Debug("the egress proxy gave no connection", "webhook", c.webhook.ID, "error", r.Err)
		} else {
			e.metrics.local.Inc()
			e.log.Warn("this machine had no resources for an attempt", "webhook", c.webhook.ID, "error", r.Err)
		}
		h.putBack(d, now.Add(wait).UTC().Truncate(time.Millisecond))
		return
	}
	if r.Class != attempt.ClassCancelled {
		ok := r.Verdict == attempt.Success
		down := c.origin.note(ok || r.Sent)
		h.mu.Lock()
		h.pace.note(ok, down, &e.paced)
		var longer time.Duration
		if h.conf.Load().webhook.URL == c.webhook.URL { // else it was another who asked for it
			longer = h.pace.hold(r.RetryAfter)
		}
		h.mu.Unlock()
		if longer >= keptWait {
			e.hold(c.webhook, now.Add(min(r.RetryAfter, MaxRetryAfter)))
		}
	}
	number := d.attempts + 1
	kind, next := decide(r, number, c.webhook.RetrySchedule, now, rand.Float64())
	e.metrics.settled(kind, r, now, d)
	if r.Err != nil {
		e.log.Debug("attempt failed", "webhook", c.webhook.ID, "event", d.event.ID, "attempt", number, "class", r.Class,
			"error", r.Err)
	}
	switch {
	case r.Verdict == attempt.Refused:
		h.warn("a target is refused", c, r.Err, now)
	case r.Class == attempt.ClassProxy:
		h.warn("the egress proxy gave no connection to a target", c, r.Err, now)
	}
	if r.Verdict == attempt.Gone && e.disable(h, "the receiver answered 410 Gone") {
		next = now
	}
	e.settle(h, d, &store.Outcome{
		Tenant: d.tenant, DeliveryKey: d.key, Attempt: number, Kind: kind, At: r.At.UTC().Truncate(time.Millisecond), Duration: r.Duration,
		Sent: r.Sent, Status: r.Status, Class: r.Recorded(), Response: r.Response, KeyID: r.KeyID,
		Timings: store.Timings(r.Timings), NextAt: next.UTC().Truncate(time.Millisecond),
	})
}

// warn tells the operator, who alone is told, which target is refused, why, and which setting would allow it; once a
// minute for each webhook.
func (h *hook) warn(what string, c *conf, why error, now time.Time) {
	if was := h.warned.Load(); now.Unix()-was < 60 || !h.warned.CompareAndSwap(was, now.Unix()) {
		return
	}
	h.e.log.Warn(what, "webhook", c.webhook.ID, "tenant", h.tenant, "url", c.webhook.URL, "error", why)
}

// send asks the receiver. A panic on the way, by whatever it answered, is an attempt that failed.
func (e *Engine) send(c *conf, d *delivery) (r attempt.Result) {
	e.metrics.inFlight.Inc()
	began := time.Now()
	defer func() {
		e.metrics.inFlight.Dec()
		if p := recover(); p != nil {
			e.log.Error("panic in an attempt", "webhook", c.webhook.ID, "event", d.event.ID, "panic", p, "stack",
				string(debug.Stack()))
			r = attempt.Result{At: began, Duration: time.Since(began), Sent: true, Class: attempt.ClassBadResponse,
				Err: fmt.Errorf("panic: %v", p)}
		}
	}()
	return e.cfg.Sender.Send(e.attempts, c.target, d.event)
}

func (e *Engine) settle(h *hook, d *delivery, o *store.Outcome) {
	if o.Kind != store.Retry {
		o.NextAt = time.Time{}
	}
	failpoint.Hit(failpoint.Settle)
	h.mu.Lock()
	o.Stored = d.row
	if d.place == inMemory {
		d.place = handedOver // no late waiting row: the outcome is what is written
	}
	h.mu.Unlock()
	e.writer.write(writing{outcome: o, hook: h, delivery: d, leaves: true})
	failpoint.Hit(failpoint.Settled)
}

// cancel records that the delivery will not be made, since its webhook was deleted.
func (e *Engine) cancel(h *hook, d *delivery) {
	e.settle(h, d, &store.Outcome{
		Tenant: d.tenant, DeliveryKey: d.key, Attempt: d.attempts + 1, Kind: store.Cancelled,
		At: e.now().UTC().Truncate(time.Millisecond), Class: attempt.ClassCancelled,
	})
}

// keptWait is the least wait that a receiver asks for, beyond what it asked for before, which is kept for other nodes
// and the next start.
const keptWait = 3 * time.Second

// hold persists the receiver's wait. When that fails, this node still keeps it.
func (e *Engine) hold(w *webhook.Webhook, until time.Time) {
	ctx, cancel := context.WithTimeout(e.attempts, disableTime)
	defer cancel()
	if err := e.cfg.Hold(ctx, w.Num, w.URL, until.UTC().Truncate(time.Millisecond)); err != nil {
		e.log.Warn("the wait that a receiver asked for is known to this node only",
			"webhook", w.ID, "until", until, "error", err)
	}
}

// disableTime bounds how long an attempt's settling waits for the webhook to be disabled, or held.
const disableTime = 5 * time.Second

// disable tells whether the webhook is disabled now.
func (e *Engine) disable(h *hook, reason string) bool {
	ctx, cancel := context.WithTimeout(e.attempts, disableTime)
	defer cancel()
	if err := e.cfg.Disable(ctx, h.num, reason); err != nil {
		e.log.Error("a webhook could not be disabled", "webhook", h.conf.Load().webhook.ID, "reason", reason,
			"error", err)
		return false
	}
	return true
}
