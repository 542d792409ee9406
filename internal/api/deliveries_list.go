package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	lookedAt  = 200 // deliveries that are looked at for one page of a list that is filtered by what no index knows
	lookChunk = 50
)

type listDeliveriesInput struct {
	Scope
	client.DeliveryQuery
}

// selection is a filter with its names resolved.
type selection struct {
	store.DeliveryFilter
	none     bool           // nothing can match
	types    []string       // nil: all
	from, to int            // of the last attempt's HTTP status; 0: any
	classes  []string       // of the last attempt; nil: any
	statuses []store.Status // that can match; more than one: their lists are merged
}

// narrow tells whether the store's lists have more than what matches.
func (s *selection) narrow() bool { return s.types != nil || s.from != 0 || s.classes != nil }

func (s *selection) match(r *store.DeliveryRecord) bool {
	class, _ := attempt.SplitClass(r.LastClass)
	return (s.types == nil || slices.Contains(s.types, r.EventType)) &&
		(s.from == 0 || r.LastCode >= s.from && r.LastCode <= s.to) &&
		(s.classes == nil || slices.Contains(s.classes, class))
}

// selection resolves a query, of a page that begins at from.
func (a *api) selection(ctx context.Context, f *client.DeliveryQuery, from *cursor) (*selection, error) {
	c := callerOf(ctx)
	var v event.Violations
	s := &selection{}
	s.Since, s.Until = a.period(f.Since, f.Until, from, &v)
	s.types = typesOf(f.EventType, &v)
	s.none = s.types != nil && len(s.types) == 0
	if len(v) > 0 {
		return nil, v
	}
	s.outcome(f)
	hook := cmp.Or(f.WebhookID, c.key.Webhook)
	if hook != "" {
		w, err := a.store.WebhookByID(ctx, c.tenant, hook)
		if errors.Is(err, store.ErrNotFound) || err == nil && !c.sees(hook) {
			s.none = true
		} else if err != nil {
			return nil, fmt.Errorf("find webhook %s: %w", hook, err)
		} else {
			s.Webhook = w.Num
		}
	}
	if f.EventID == "" {
		return s, nil
	}
	id, err := uuid.Parse(f.EventID)
	if err != nil {
		s.none = true
		return s, nil
	}
	rec, err := a.store.EventByID(ctx, c.tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		s.none = true
	} else if err != nil {
		return nil, fmt.Errorf("find event %s: %w", id, err)
	}
	s.Event = rec.Seq
	return s, nil
}

// outcome reads what the last attempt came to. What is delivered has no error, so that a search for errors looks at the
// others only, which the stores' indexes know.
func (s *selection) outcome(f *client.DeliveryQuery) {
	s.statuses = []store.Status{store.Status(f.Status)}
	if len(f.LastStatus) == 3 {
		digit := int(f.LastStatus[0] - '0')
		if s.from, s.to = digit*100, digit*100+99; f.LastStatus[1] != 'x' {
			s.from = digit*100 + int(f.LastStatus[1]-'0')*10 + int(f.LastStatus[2]-'0')
			s.to = s.from
		}
	}
	if f.LastClass != "" {
		switch s.classes = []string{f.LastClass}; f.LastClass {
		case classAddress:
			s.classes = addressClasses
		case attempt.ClassRefused, attempt.ClassDNS, attempt.ClassSilent:
			s.none = true // a filter must not tell apart what answers do not
		}
	}
	if f.Status == "" {
		if good := s.from >= 200 && s.to <= 299; s.classes != nil || s.from != 0 && !good {
			s.statuses = []store.Status{store.StatusWaiting, store.StatusExhausted, store.StatusCancelled}
		} else if good {
			s.statuses = []store.Status{store.StatusDelivered}
		}
	}
}

// lister reads the list of one status, some at a time.
type lister struct {
	status store.Status
	buffer []store.DeliveryRecord
	before store.DeliveryKey
	end    bool
	// The store looked at as much as it does for one list; nothing is known of what is below before. It is not asked
	// again for this page.
	stopped bool
}

// more reads on when the buffer is empty.
func (a *api) more(ctx context.Context, s *selection, l *lister, size int) error {
	if len(l.buffer) > 0 || l.end || l.stopped {
		return nil
	}
	list, next, err := a.store.ListDeliveries(ctx, callerOf(ctx).tenant, s.with(l.status), l.before, size)
	if err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	l.stopped = next != store.DeliveryKey{}
	if l.buffer, l.end = list, len(list) < size && !l.stopped; l.stopped {
		l.before = next
	} else if len(list) > 0 {
		l.before = list[len(list)-1].DeliveryKey
	}
	return nil
}

// next is the newest delivery of all lists; nil: there is none left, or none that is known to be the next one.
func (a *api) next(ctx context.Context, s *selection, lists []*lister, size int) (*store.DeliveryRecord, error) {
	var newest *lister
	for _, l := range lists {
		if err := a.more(ctx, s, l, size); err != nil {
			return nil, err
		}
		if len(l.buffer) > 0 && (newest == nil || older(newest.buffer[0].DeliveryKey, l.buffer[0].DeliveryKey)) {
			newest = l
		}
	}
	if newest == nil {
		return nil, nil
	}
	if to := reached(lists); older(newest.buffer[0].DeliveryKey, to) {
		return nil, nil
	}
	r := &newest.buffer[0]
	newest.buffer = newest.buffer[1:]
	return r, nil
}

// reached is down to where all lists are known: the least far that one of them stopped; zero: down to the end.
func reached(lists []*lister) (to store.DeliveryKey) {
	for _, l := range lists {
		if l.stopped && older(to, l.before) {
			to = l.before
		}
	}
	return to
}

// older tells whether x comes after y in lists, which have the newest first.
func older(x, y store.DeliveryKey) bool {
	return cmp.Or(cmp.Compare(x.Event, y.Event), cmp.Compare(x.Webhook, y.Webhook)) < 0
}

// findDeliveries lists up to limit deliveries that match, and looks at no more than look. last is how far it
// looked, and more tells whether there may be others after it.
func (a *api) findDeliveries(ctx context.Context, s *selection, before store.DeliveryKey, limit, look int) (
	found []store.DeliveryRecord, last store.DeliveryKey, more bool, err error) {
	if s.none {
		return nil, last, false, nil
	}
	size := limit + 1
	if s.narrow() {
		size = lookChunk
	}
	var lists []*lister
	for _, status := range s.statuses {
		lists = append(lists, &lister{status: status, before: before})
	}
	for looked := 0; ; looked++ {
		r, err := a.next(ctx, s, lists, size)
		if err != nil {
			return nil, last, false, err
		}
		if r == nil {
			if to := reached(lists); (to != store.DeliveryKey{}) {
				return found, to, true, nil
			}
			return found, last, false, nil
		}
		if r.DeliveryKey == last {
			continue // in two lists: its status changed after the first was read
		}
		if len(found) == limit || s.narrow() && looked == look {
			return found, last, true, nil
		}
		if last = r.DeliveryKey; s.match(r) {
			found = append(found, *r)
		}
	}
}

// deliveriesPage is one page of deliveries, and the cursor of the next; narrow, unless nil, makes the selection
// smaller.
func (a *api) deliveriesPage(ctx context.Context, q *client.DeliveryQuery,
	narrow func(*selection, *client.DeliveryQuery)) (
	found []store.DeliveryRecord, out client.DeliveryPage, err error) {
	hash := listHash("deliveries", callerOf(ctx).tenant, *q)
	from, err := decodeCursor(hash, q.Cursor)
	if err != nil {
		return nil, out, err
	}
	s, err := a.selection(ctx, q, &from)
	if err != nil {
		return nil, out, err
	}
	if narrow != nil {
		narrow(s, q)
	}
	before := store.DeliveryKey{Event: store.Seq(from.first), Webhook: from.second}
	found, last, more, err := a.findDeliveries(ctx, s, before, q.Limit, lookedAt)
	if err != nil {
		return nil, out, err
	}
	out.Since, out.Until = resolved(from.since), resolved(from.until)
	if more {
		from.first, from.second = int64(last.Event), last.Webhook
		if out.Next = encodeCursor(hash, from); len(found) < q.Limit {
			out.SearchedTo = client.At(last.Event.Time())
		}
	}
	return found, out, nil
}

func (a *api) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*output[client.DeliveryPage], error) {
	found, out, err := a.deliveriesPage(ctx, &in.DeliveryQuery, nil)
	if err != nil {
		return nil, err
	}
	out.Deliveries = make([]client.Delivery, 0, len(found))
	for i := range found {
		out.Deliveries = append(out.Deliveries, viewDelivery(&found[i]))
	}
	return &output[client.DeliveryPage]{out}, nil
}

const (
	maxCount  = 100_000                // deliveries that are counted
	countTime = 300 * time.Millisecond // that counting takes, where each has to be looked at
)

func (a *api) registerCount() {
	register(a, operation{
		id: "count-deliveries", method: http.MethodGet, path: "/v1/deliveries/count", tag: "Deliveries",
		summary: "Count deliveries",
		text:    "Up to a bound of number and time. Its cursor and limit are passed over.",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusBadRequest},
	}, a.countDeliveries)
}

func (a *api) countDeliveries(ctx context.Context, in *listDeliveriesInput) (*output[client.DeliveryCount], error) {
	s, err := a.selection(ctx, &in.DeliveryQuery, new(cursor))
	if err != nil || s.none {
		return &output[client.DeliveryCount]{}, err
	}
	var out client.DeliveryCount
	if !s.narrow() {
		n, more, err := a.store.CountDeliveries(ctx, callerOf(ctx).tenant, s.with(s.statuses[0]), maxCount+1)
		if err != nil {
			return nil, fmt.Errorf("count deliveries: %w", err)
		}
		return &output[client.DeliveryCount]{client.DeliveryCount{Count: min(n, maxCount), More: more}}, nil
	}
	var before store.DeliveryKey
	for begun := time.Now(); ; {
		found, last, more, err := a.findDeliveries(ctx, s, before, lookChunk, lookedAt)
		if err != nil {
			return nil, err
		}
		if out.Count += len(found); !more {
			return &output[client.DeliveryCount]{out}, nil
		}
		if out.Count >= maxCount || time.Since(begun) > countTime {
			out.More = true
			return &output[client.DeliveryCount]{out}, nil
		}
		before = last
	}
}

func (s *selection) with(status store.Status) store.DeliveryFilter {
	f := s.DeliveryFilter
	f.Status = status
	return f
}
