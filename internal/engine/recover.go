package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// recoverChunk is how many events are looked at in one read.
const recoverChunk = 1000

// recover dispatches again what was accepted from the mark on but has neither an outcome nor a waiting row. What does
// not fit the queue gets a waiting row. Only when all of it is found and those rows are on record is there a mark
// again: until then it stays where it was.
func (e *Engine) recover(ctx context.Context, from store.Seq) error {
	failpoint.Hit(failpoint.Recover)
	n := 0
	for {
		found, next, err := e.cfg.Journal.Unsettled(ctx, from, recoverChunk)
		if err != nil {
			return err
		}
		var list []*owed
		var rows []writing
		for i := range found {
			o, more := e.resume(&found[i])
			n += len(found[i].Webhooks)
			rows = append(rows, more...)
			if o != nil {
				list = append(list, o)
			}
		}
		e.writer.recovered(list)
		for _, o := range list {
			for _, d := range o.deliveries {
				d.hook.push(d)
			}
		}
		if len(rows) > 0 {
			if err := e.writer.writeAndWait(ctx, rows...); err != nil {
				return err
			}
		}
		if next == 0 {
			break
		}
		from = next
	}
	e.writer.foundAll()
	if n > 0 {
		e.log.Info("deliveries left unsettled by a former run are made again", "count", n)
	}
	e.metrics.recovered.Add(float64(n))
	failpoint.Hit(failpoint.Recovered)
	return nil
}

// resume finds places for an event's unsettled deliveries; those that get none are to be written down.
func (e *Engine) resume(u *store.Unsettled) (o *owed, rows []writing) {
	var fit []*hook
	size := weight(&u.Event)
	for _, num := range u.Webhooks {
		h := e.table.Load().byNum(num)
		switch {
		case h == nil:
			e.log.Error("an event names a webhook that is not on record", "event", u.Event.ID, "webhook_num", num)
		case h.reserve(size):
			fit = append(fit, h)
		default:
			key := store.DeliveryKey{Webhook: num, Event: u.Seq}
			row := store.Waiting{Tenant: u.Tenant, DeliveryKey: key, DueAt: e.firstDue(u.Seq)}
			rows = append(rows, writing{wait: row, hook: h})
		}
	}
	if len(fit) > 0 {
		ev := new(event.Event)
		*ev = u.Event
		o = newOwed(u.Seq, u.Tenant, ev, fit)
	}
	return o, rows
}

// backlogs sees to it that what waits is looked at when it is due.
func (e *Engine) backlogs(ctx context.Context) error {
	list, err := e.cfg.Journal.Backlogs(ctx)
	if err != nil {
		return fmt.Errorf("find what waits: %w", err)
	}
	t := e.table.Load()
	for _, b := range list {
		h := t.byNum(b.Webhook)
		switch {
		case h == nil:
		case h.conf.Load().webhook.Deleted():
			h.again()
		case h.conf.Load().open():
			h.dueAt(b.DueAt)
		}
	}
	return nil
}

// recall brings back what a clock that was ahead has written, and says so.
func (e *Engine) recall(ctx context.Context) error {
	n, ahead, err := e.cfg.Journal.Recall(ctx, e.now())
	if err != nil {
		return fmt.Errorf("look for what a wrong clock has written: %w", err)
	}
	if ahead > 0 {
		e.log.Warn("the clock was ahead when events were accepted; what waited for its time was brought back",
			"ahead", ahead.Round(time.Second), "deliveries", n)
	}
	return nil
}
