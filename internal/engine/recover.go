package engine

import (
	"context"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// recoverChunk is how many events are looked at in one read.
const recoverChunk = 1000

// recover dispatches again what was accepted but has neither an outcome nor a waiting row. What does not fit the queue
// gets a waiting row.
func (e *Engine) recover(ctx context.Context) error {
	from, err := e.cfg.Journal.RecoverFrom(ctx)
	if err != nil {
		return err
	}
	e.writer.marked = from
	n := 0
	for {
		found, next, err := e.cfg.Journal.Unsettled(ctx, from, recoverChunk)
		if err != nil {
			return err
		}
		for i := range found {
			u := &found[i]
			n += len(u.Webhooks)
			for _, num := range u.Webhooks {
				if err := e.resume(ctx, u, num); err != nil {
					return err
				}
			}
		}
		if next == 0 {
			break
		}
		from = next
	}
	if n > 0 {
		e.log.Info("deliveries left unsettled by a former run are made again", "count", n)
	}
	e.metrics.recovered.Add(float64(n))
	return nil
}

func (e *Engine) resume(ctx context.Context, u *store.Unsettled, num int64) error {
	h := e.table.Load().byNum[num]
	if h == nil {
		e.log.Error("an event names a webhook that is not on record", "event", u.Event.ID, "webhook_num", num)
		return nil
	}
	key := store.DeliveryKey{Webhook: num, Event: u.Seq}
	h.mu.Lock()
	fits := h.conf.Load().open() && len(h.active) < e.cfg.QueueLength && e.room.Load() > 0
	if fits {
		ev := new(event.Event)
		*ev = u.Event
		e.room.Add(-weight(ev))
		h.enqueue(&delivery{key: key, tenant: u.Tenant, event: ev})
	}
	h.mu.Unlock()
	if fits {
		return nil
	}
	return e.writer.wait(ctx, h, store.Waiting{Tenant: u.Tenant, DeliveryKey: key, DueAt: u.Seq.Time()})
}

// settledBelow is the recovery mark: every event below it is settled or has its waiting rows. Deliveries that are late
// are handed to the writer for a waiting row, so that one slow webhook does not hold the mark back for long.
func (e *Engine) settledBelow(next store.Seq) store.Seq {
	late := store.SeqAt(e.now().Add(-e.cfg.LateAfter))
	mark := next
	for _, h := range e.table.Load().byNum {
		if seq, ok := h.oldest(late); ok && seq < mark {
			mark = seq
		}
	}
	return mark
}

// upkeep moves the recovery mark and removes what is older than the retention.
func (e *Engine) upkeep() {
	t := time.NewTicker(tick)
	defer t.Stop()
	var trimmed store.Seq
	for n := 0; ; n++ {
		select {
		case <-e.running.Done():
			return
		case <-t.C:
		}
		e.writer.mu.Lock()
		e.writer.mark = true
		e.writer.mu.Unlock()
		e.writer.poke()
		e.adopt()
		if e.cfg.Retention > 0 && n%60 == 0 {
			trimmed = e.trim(trimmed)
		}
	}
}

const (
	trimStep  = 200
	trimPause = 20 * time.Millisecond // lets the hot path have nine tenths of the disk meanwhile
)

// trim removes old events in small steps, each in one of the writer's transactions, and returns where it ended.
func (e *Engine) trim(after store.Seq) store.Seq {
	before := store.SeqAt(e.now().Add(-e.cfg.Retention))
	for e.running.Err() == nil {
		t := &store.Trim{After: after, Before: before, Limit: trimStep, Minutes: e.now().Add(-store.MinutesKept)}
		done := make(chan error, 1)
		e.writer.write(writing{trim: t, done: done})
		if err := <-done; err != nil {
			e.log.Warn("old events could not be removed", "error", err)
			return after
		}
		e.metrics.trimmed.Add(float64(t.Removed))
		if t.Done {
			return 0
		}
		after = t.Next
		select {
		case <-e.running.Done():
		case <-time.After(trimPause):
		}
	}
	return after
}
