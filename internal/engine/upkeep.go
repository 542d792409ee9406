package engine

import (
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	tick      = time.Second // how often the recovery mark moves, memory is looked after and other nodes' leavings are
	trimEvery = time.Minute
	trimStep  = 200
	trimPause = 20 * time.Millisecond // lets the hot path have nine tenths of the disk meanwhile
	trimTime  = 30 * time.Second      // of one round; the next goes on where it ended
)

// every does something periodic until the engine stops. Each such thing has a goroutine of its own, so that none waits
// for another, and a metric that tells when it was done last.
func (e *Engine) every(d time.Duration, what string, do func()) {
	done := e.metrics.upkeep.WithLabelValues(what)
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		done.SetToCurrentTime()
		select {
		case <-e.running.Done():
			return
		case <-t.C:
		}
		do()
	}
}

// shed has webhooks that hold more memory than their part by now give back what they can.
func (e *Engine) shed() {
	for h, bytes := range e.memory.over() {
		h.shed(bytes)
	}
}

// adopt looks at the waiting deliveries that other nodes wrote or left behind.
func (e *Engine) adopt() {
	nums, err := e.cfg.Journal.Unclaimed(e.running)
	if err != nil {
		if e.running.Err() == nil {
			e.log.Warn("the deliveries of other nodes could not be read", "error", err)
		}
		return
	}
	for _, num := range nums {
		if h := e.table.Load().byNum(num); h != nil {
			h.again()
		}
	}
}

// trim removes old events in small steps, each in one of the writer's transactions.
func (e *Engine) trim() {
	if e.cfg.Retention <= 0 {
		return
	}
	end := time.Now().Add(trimTime)
	for time.Now().Before(end) && e.running.Err() == nil {
		now := e.now()
		t := &store.Trim{After: e.trimmed, Before: store.SeqAt(now.Add(-e.cfg.Retention)), Limit: trimStep,
			Minutes: now.Add(-store.MinutesKept)}
		if err := e.writer.writeAndWait(e.running, writing{trim: t}); err != nil {
			if e.running.Err() == nil {
				e.log.Warn("old events could not be removed", "error", err)
			}
			return
		}
		e.metrics.trimmed.Add(float64(t.Removed))
		if t.Done {
			e.trimmed = 0
			return
		}
		e.trimmed = t.Next
		select {
		case <-e.running.Done():
		case <-time.After(trimPause):
		}
	}
}
