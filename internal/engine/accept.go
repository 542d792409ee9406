package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// Receipt is the answer to an accepted event.
type Receipt struct {
	ID         uuid.UUID
	Type       string
	Time       time.Time
	Deliveries int  // webhooks that it matched
	Duplicate  bool // the tenant had published it before; nothing new is delivered
}

// accepted is a submission on its way through the writer.
type accepted struct {
	sub   store.Submission
	hooks [][]*hook // of each event, those whose queue has a place reserved for it
	later [][]*hook // of each event, those without, whose waiting rows come with later commits; nil: there are none
	size  int64     // what it takes of the gate until it is answered
	// waited: it has let others go first; only the writer's goroutine uses it.
	waited bool
	done   chan struct{}
	err    error // set before done is closed
}

// Accept takes valid events of a tenant, all or none, and returns after they are committed and flushed.
// Errors: *store.ConflictError, an ID was published before with other content; store.ErrFull; ErrBusy; ErrStopping;
// store.ErrAway, the store has not answered for long; others are the store's. After an error nothing was accepted,
// except that after store.ErrAway it is not known.
func (e *Engine) Accept(ctx context.Context, tenant string, evs []event.Event) ([]Receipt, error) {
	return e.accept(ctx, tenant, evs, nil)
}

// Change commits a change of the platform's objects and the events that it triggers (there may be none), both or
// neither, and returns after they are flushed. The events get IDs of their own. Errors: store.ErrVersion, the change
// does not hold; otherwise those of Accept.
func (e *Engine) Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error {
	_, err := e.accept(ctx, tenant, evs, c)
	return err
}

func (e *Engine) accept(ctx context.Context, tenant string, evs []event.Event, c *store.Change) ([]Receipt, error) {
	if !e.is(running) {
		return nil, ErrStopping
	}
	a, size, err := e.submission(tenant, evs)
	if err != nil {
		return nil, err
	}
	a.size = size
	if c != nil {
		a.sub.Change = c
		a.size = min(size+c.Size(), acceptMost)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	if !e.gate.Take(tenant, a.size) {
		return nil, ErrBusy
	}
	if err := e.writer.submit(a); err != nil {
		e.gate.Give(tenant, a.size)
		return nil, err
	}
	failpoint.Hit(failpoint.Submitted)
	// Not ended by ctx: once the writer has it, it will be committed, and gate counts it until then.
	t := time.NewTimer(acceptTime)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
		return nil, fmt.Errorf("no answer from the journal for %v: %w", acceptTime, store.ErrAway)
	}
	if a.err != nil {
		return nil, a.err
	}
	e.metrics.accepted.Add(float64(len(evs)))
	return receipts(a.sub.Events), nil
}

func (e *Engine) submission(tenant string, evs []event.Event) (*accepted, int64, error) {
	a := &accepted{done: make(chan struct{}), hooks: make([][]*hook, len(evs))}
	a.sub = store.Submission{Tenant: tenant, Events: make([]store.Submitted, len(evs))}
	now := e.now().UTC().Truncate(time.Millisecond)
	var size int64
	for i := range evs {
		s := &a.sub.Events[i]
		s.Event = evs[i]
		s.IDGiven, s.TimeGiven = s.Event.ID != uuid.Nil, !s.Event.Time.IsZero()
		if !s.IDGiven {
			id, err := uuid.NewV7()
			if err != nil {
				return nil, 0, fmt.Errorf("make an event ID: %w", err)
			}
			s.Event.ID = id
		}
		if !s.TimeGiven {
			s.Event.Time = now
		}
		size += weight(&s.Event)
	}
	return a, min(size, acceptMost), nil
}

// place finds the webhooks of each event and reserves their places; the writer calls it right before the commit, so
// that the table is the newest and events are matched in the order that they are accepted in. Of those that find no
// place, so many as there are rows have a waiting row with the commit. It returns how many deliveries there are, and
// takes off the rows.
func (e *Engine) place(a *accepted, rows *int) (deliveries int) {
	t := e.table.Load()
	var buf [16]*hook
	for i := range a.sub.Events {
		s := &a.sub.Events[i]
		matched := t.match(buf[:0], a.sub.Tenant, &s.Event)
		if len(matched) == 0 {
			continue
		}
		deliveries += len(matched)
		s.Webhooks = make([]int64, len(matched))
		size := weight(&s.Event)
		for j, h := range matched {
			s.Webhooks[j] = h.num
			switch {
			case h.reserve(size):
				a.hooks[i] = append(a.hooks[i], h)
			case *rows > 0:
				*rows--
				s.Spilled = append(s.Spilled, h.num)
			default:
				if a.later == nil {
					a.later = make([][]*hook, len(a.hooks))
				}
				a.later[i] = append(a.later[i], h)
			}
		}
	}
	return deliveries
}

// unplace gives the places back when nothing was committed.
func (e *Engine) unplace(a *accepted) {
	for i := range a.sub.Events {
		e.unplaceOne(a, i)
	}
}

func (e *Engine) unplaceOne(a *accepted, i int) {
	s := &a.sub.Events[i]
	size := weight(&s.Event)
	for _, h := range a.hooks[i] {
		h.unreserve(size)
	}
	a.hooks[i], s.Webhooks, s.Spilled = nil, nil, nil
	if a.later != nil {
		a.later[i] = nil
	}
}

// dispatch hands the committed events to the queues.
func (e *Engine) dispatch(a *accepted) {
	var spilled map[int64]time.Time // when the first that did not fit is due; nil: all fit
	for i := range a.sub.Events {
		s := &a.sub.Events[i]
		if s.Duplicate {
			e.unplaceOne(a, i)
			continue
		}
		var later []*hook
		if a.later != nil {
			later = a.later[i]
		}
		if hooks := a.hooks[i]; len(hooks)+len(later) > 0 {
			ev := new(event.Event) // a copy, so that one late delivery does not keep the whole batch in memory
			*ev = s.Event
			o := newOwed(s.Seq, a.sub.Tenant, ev, hooks)
			o.spilled = later
			e.writer.ledger.enter(o)
			e.writer.spill(a.sub.Tenant, o)
			for _, d := range o.deliveries {
				d.hook.push(d)
			}
		}
		for _, num := range s.Spilled {
			if spilled == nil {
				spilled = map[int64]time.Time{}
			}
			if _, ok := spilled[num]; !ok {
				spilled[num] = e.firstDue(s.Seq)
			}
		}
		if n := len(s.Spilled) + len(later); n > 0 {
			e.metrics.spilled.Add(float64(n))
		}
	}
	for num, due := range spilled {
		e.table.Load().byNum(num).dueAt(due)
	}
}

func receipts(evs []store.Submitted) []Receipt {
	out := make([]Receipt, len(evs))
	for i := range evs {
		s := &evs[i]
		out[i] = Receipt{ID: s.Event.ID, Type: s.Event.Type, Time: s.Event.Time, Deliveries: len(s.Webhooks),
			Duplicate: s.Duplicate}
		if s.Duplicate {
			out[i].Time, out[i].Deliveries = s.StoredTime, s.StoredWebhooks
		}
	}
	return out
}
