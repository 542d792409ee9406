package engine

import (
	"math/rand/v2"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/store"
)

// MaxRetryAfter is the longest wait that a receiver may ask for.
const MaxRetryAfter = 24 * time.Hour

// refusedDelay is the least wait after an attempt that the address guard refused: only an operator's or DNS change helps.
const refusedDelay = time.Hour

// jitter is how far a delay may be off the schedule, as a part of it.
const jitter = 0.10

// decide is the policy: what an attempt came to, and when the next one is due. attempt counts from 1; u is random in
// [0,1). A receiver's Retry-After is never undercut, and neither is the schedule, so that one that always asks for a
// second does not use the schedule up in a minute.
func decide(r attempt.Result, number int, schedule []time.Duration, now time.Time, u float64) (store.OutcomeKind, time.Time) {
	switch r.Verdict {
	case attempt.Success:
		return store.Delivered, time.Time{}
	case attempt.Gone:
		return store.Retry, now // held: the webhook is disabled
	}
	if r.Class == attempt.ClassCancelled {
		return store.Retry, now // broken off by a shutdown
	}
	if number > len(schedule) {
		return store.Exhausted, time.Time{}
	}
	delay := schedule[number-1]
	delay += time.Duration((u*2 - 1) * jitter * float64(delay))
	if r.Verdict == attempt.Refused {
		delay = max(delay, refusedDelay)
	}
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
		e.writer.hold(h, d)
		return
	}
	e.metrics.inFlight.Inc()
	r := e.cfg.Sender.Send(e.attempts, c.target, d.event)
	e.metrics.inFlight.Dec()
	number := d.attempts + 1
	now := e.now()
	kind, next := decide(r, number, c.webhook.RetrySchedule, now, rand.Float64())
	e.metrics.settled(kind, r, now, d)
	if r.Err != nil {
		e.log.Debug("attempt failed", "webhook", c.webhook.ID, "event", d.event.ID, "attempt", number, "class", r.Class, "error", r.Err)
	}
	if r.Verdict == attempt.Gone {
		e.disable(h, "the receiver answered 410 Gone")
	}
	e.settle(h, d, &store.Outcome{
		Tenant: d.tenant, DeliveryKey: d.key, Attempt: number, Kind: kind, At: r.At.UTC().Truncate(time.Millisecond), Duration: r.Duration,
		Sent: r.Sent, Status: r.Status, Class: r.Class, Response: r.Response, KeyID: r.KeyID, Timings: store.Timings(r.Timings),
		NextAt: next.UTC().Truncate(time.Millisecond),
	})
}

func (e *Engine) settle(h *hook, d *delivery, o *store.Outcome) {
	if o.Kind != store.Retry {
		o.NextAt = time.Time{}
	}
	h.mu.Lock()
	o.Stored = d.stored
	d.stored = true // from here on the outcome is what is written; no late waiting row
	h.mu.Unlock()
	e.writer.write(writing{outcome: o, hook: h, settled: d})
}

// cancel records that the delivery will not be made, since its webhook was deleted.
func (e *Engine) cancel(h *hook, d *delivery) {
	e.settle(h, d, &store.Outcome{
		Tenant: d.tenant, DeliveryKey: d.key, Attempt: d.attempts + 1, Kind: store.Cancelled, At: time.Now().UTC().Truncate(time.Millisecond),
		Class: attempt.ClassCancelled,
	})
}

func (e *Engine) disable(h *hook, reason string) {
	if err := e.cfg.Disable(e.attempts, h.num, reason); err != nil {
		e.log.Error("a webhook could not be disabled", "webhook", h.conf.Load().webhook.ID, "reason", reason, "error", err)
	}
}
