package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Memory is a store.Journal in memory. It has no goroutines and does no I/O, so it can be used in a testing/synctest
// bubble.
type Memory struct {
	mu       sync.Mutex
	events   map[store.Seq]memoryEvent
	ids      map[memoryID]store.Seq
	outcomes map[store.DeliveryKey][]store.Outcome
	waiting  map[store.DeliveryKey]store.Waiting
	mark     store.Seq
	fail     error

	Clock store.Clock // what Now tells
}

type memoryID struct {
	tenant string
	id     uuid.UUID
}

type memoryEvent struct {
	tenant   string
	event    event.Event
	webhooks []int64
}

var _ store.Journal = (*Memory)(nil)

// NewMemory makes an empty journal.
func NewMemory() *Memory {
	return &Memory{
		events: map[store.Seq]memoryEvent{}, ids: map[memoryID]store.Seq{},
		outcomes: map[store.DeliveryKey][]store.Outcome{}, waiting: map[store.DeliveryKey]store.Waiting{},
	}
}

// Fail makes every Commit fail with err, until it is called with nil.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Outcomes lists the outcomes on record for the delivery, in the order of their attempts.
func (m *Memory) Outcomes(key store.DeliveryKey) []store.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(slices.Values(m.outcomes[key]),
		func(a, b store.Outcome) int { return cmp.Compare(a.Attempt, b.Attempt) })
}

// Waiting lists all waiting rows by webhook and event.
func (m *Memory) Waiting() []store.Waiting {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.waiting), func(a, b store.Waiting) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
}

// Commit writes the batch; see store.Journal.
func (m *Memory) Commit(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if err := m.check(b); err != nil {
		return err
	}
	for _, s := range b.Submissions {
		m.submit(b, s)
	}
	for _, w := range b.Wait {
		w.DueAt, w.Held = floor(w.DueAt), false
		m.waiting[w.DeliveryKey] = w
	}
	written := map[store.DeliveryKey]bool{} // by this batch
	for _, s := range b.Submissions {
		for _, e := range s.Events {
			for _, num := range e.Spilled {
				written[store.DeliveryKey{Webhook: num, Event: e.Seq}] = true
			}
		}
	}
	for _, w := range b.Wait {
		written[w.DeliveryKey] = true
	}
	for _, o := range b.Outcomes {
		o.At, o.NextAt, o.Response = floor(o.At), floor(o.NextAt), bytes.Clone(o.Response)
		stored := o.Stored || written[o.DeliveryKey]
		o.Stored = false
		m.outcomes[o.DeliveryKey] = append(m.outcomes[o.DeliveryKey], o)
		if o.Kind == store.Retry {
			m.waiting[o.DeliveryKey] = store.Waiting{Tenant: o.Tenant, DeliveryKey: o.DeliveryKey, Attempts: o.Attempt,
				DueAt: o.NextAt}
			written[o.DeliveryKey] = true
		} else if stored {
			delete(m.waiting, o.DeliveryKey)
		}
	}
	if b.RecoverFrom != 0 {
		m.mark = b.RecoverFrom
	}
	if b.Trim != nil {
		m.trim(b.Trim)
	}
	return nil
}

// check refuses an attempt that is on record already, before anything is written.
func (m *Memory) check(b *store.Batch) error {
	type attempt struct {
		store.DeliveryKey
		n int
	}
	seen := map[attempt]bool{}
	for _, s := range b.Submissions {
		if s.Change != nil {
			return errors.New("there are no objects in memory to change")
		}
	}
	for _, o := range b.Outcomes {
		a := attempt{o.DeliveryKey, o.Attempt}
		if seen[a] || slices.ContainsFunc(m.outcomes[o.DeliveryKey], func(x store.Outcome) bool { return x.Attempt == o.Attempt }) {
			return fmt.Errorf("attempt %d of event %d to webhook %d is on record already", o.Attempt,
				o.Event, o.Webhook)
		}
		seen[a] = true
	}
	return nil
}

func floor(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func (m *Memory) submit(b *store.Batch, s *store.Submission) {
	s.Err = nil
	fresh := map[uuid.UUID]*store.Submitted{}
	for i := range s.Events {
		e := &s.Events[i]
		e.Duplicate, e.StoredTime, e.StoredWebhooks = false, time.Time{}, 0
		var first *event.Event
		n := 0
		if seq, ok := m.ids[memoryID{s.Tenant, e.Event.ID}]; ok {
			x := m.events[seq]
			first, n = &x.event, len(x.webhooks)
		} else if x, ok := fresh[e.Event.ID]; ok {
			first, n = &x.Event, len(x.Webhooks)
		}
		switch {
		case first == nil:
			fresh[e.Event.ID] = e
		case repeats(first, e):
			e.Duplicate, e.StoredTime, e.StoredWebhooks = true, floor(first.Time), n
		default:
			s.Err = &store.ConflictError{ID: e.Event.ID}
			for j := range i {
				e := &s.Events[j]
				e.Duplicate, e.StoredTime, e.StoredWebhooks = false, time.Time{}, 0
			}
			return
		}
	}
	for i := range s.Events {
		e := &s.Events[i]
		if e.Duplicate {
			continue
		}
		x := memoryEvent{s.Tenant, e.Event, slices.Clone(e.Webhooks)}
		x.event.Time, x.event.Data = floor(x.event.Time), bytes.Clone(x.event.Data)
		m.events[e.Seq] = x
		m.ids[memoryID{s.Tenant, e.Event.ID}] = e.Seq
		for _, num := range e.Spilled {
			key := store.DeliveryKey{Webhook: num, Event: e.Seq}
			due := e.Seq.Time()
			if !b.Now.IsZero() && due.After(b.Now) {
				due = floor(b.Now)
			}
			m.waiting[key] = store.Waiting{DeliveryKey: key, DueAt: due}
		}
	}
}

func repeats(first *event.Event, e *store.Submitted) bool {
	x := &e.Event
	return first.Type == x.Type && first.ObjectID == x.ObjectID && first.ObjectOwnerID == x.ObjectOwnerID &&
		first.OwnerID == x.OwnerID && bytes.Equal(first.Data, x.Data) &&
		(!e.TimeGiven || floor(first.Time).Equal(floor(x.Time)))
}

// open tells whether the delivery waits: in a row, or without any record of it.
func (m *Memory) open(key store.DeliveryKey) bool {
	_, waits := m.waiting[key]
	return waits || len(m.outcomes[key]) == 0
}

func (m *Memory) trim(t *store.Trim) {
	t.Next, t.Done, t.Removed = t.After, true, 0
	looked := 0
	for _, seq := range m.seqs(t.After + 1) {
		if seq >= t.Before {
			break
		}
		if looked == t.Limit {
			t.Done = false
			break
		}
		looked++
		t.Next = seq
		x := m.events[seq]
		if slices.ContainsFunc(x.webhooks,
			func(num int64) bool { return m.open(store.DeliveryKey{Webhook: num, Event: seq}) }) {
			continue
		}
		for _, num := range x.webhooks {
			delete(m.outcomes, store.DeliveryKey{Webhook: num, Event: seq})
		}
		delete(m.events, seq)
		delete(m.ids, memoryID{x.tenant, x.event.ID})
		t.Removed++
	}
}

// seqs are those of the events from from on, in order.
func (m *Memory) seqs(from store.Seq) (list []store.Seq) {
	for seq := range m.events {
		if seq >= from {
			list = append(list, seq)
		}
	}
	slices.Sort(list)
	return list
}

// Due lists the webhook's due deliveries; see store.Journal.
func (m *Memory) Due(ctx context.Context, tenant string, webhook int64, from, to time.Time, limit int, skip map[store.Seq]struct{}) (list []store.Due, _ error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, w := range m.waiting {
		if _, ok := skip[key.Event]; ok || key.Webhook != webhook || w.DueAt.Before(floor(from)) || w.DueAt.After(to) {
			continue
		}
		x, ok := m.events[key.Event]
		if !ok {
			continue
		}
		w.Tenant = x.tenant
		list = append(list, store.Due{Waiting: w, Event: x.event})
	}
	slices.SortFunc(list, func(a, b store.Due) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.DeliveryKey.Event, b.DeliveryKey.Event))
	})
	return list[:min(len(list), limit)], nil
}

// NextDue tells when the webhook's earliest waiting delivery is due; see store.Journal.
func (m *Memory) NextDue(ctx context.Context, tenant string, webhook int64, from time.Time, skip map[store.Seq]struct{}) (time.Time, bool, error) {
	list, err := m.Due(ctx, tenant, webhook, from, time.UnixMilli(math.MaxInt64), 1, skip)
	if err != nil || len(list) == 0 {
		return time.Time{}, false, err
	}
	return list[0].DueAt, true, nil
}

// Now is the time.
func (m *Memory) Now() time.Time { return m.Clock.Now() }

// Next is the next Seq; see store.Journal.
func (m *Memory) Next(last store.Seq) store.Seq { return store.NextSeq(last, m.Now()) }

// Backlogs lists the webhooks with waiting deliveries; see store.Journal.
func (m *Memory) Backlogs(ctx context.Context) (list []store.Backlog, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := map[int64]time.Time{}
	for key, w := range m.waiting {
		if at, ok := first[key.Webhook]; !ok || w.DueAt.Before(at) {
			first[key.Webhook] = w.DueAt
		}
	}
	for num, at := range first {
		list = append(list, store.Backlog{Webhook: num, DueAt: at})
	}
	slices.SortFunc(list, func(a, b store.Backlog) int { return cmp.Compare(a.Webhook, b.Webhook) })
	return list, ctx.Err()
}

// Recall brings back what a clock that was ahead has written; see store.Journal.
func (m *Memory) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = floor(now)
	for seq := range m.events {
		ahead = max(ahead, seq.Time().Sub(now))
	}
	for key, w := range m.waiting {
		if w.DueAt.After(now.Add(store.LongestWait)) {
			ahead = max(ahead, w.DueAt.Sub(now.Add(store.LongestWait)))
		}
		due := w.DueAt
		if list := m.outcomes[key]; w.Attempts == 0 {
			due = now
		} else if last := list[len(list)-1]; last.At.After(now) && last.Kind == store.Retry {
			due = now.Add(last.NextAt.Sub(last.At))
		}
		if due.Before(w.DueAt) {
			w.DueAt = due
			m.waiting[key] = w
			n++
		}
	}
	if ahead <= time.Second {
		ahead = 0
	}
	return n, ahead, ctx.Err()
}

// Lease returns at once: there is no other node.
func (m *Memory) Lease(context.Context) error { return nil }

// Unclaimed is empty: there is no other node.
func (m *Memory) Unclaimed(context.Context) ([]int64, error) { return nil, nil }

// Attempts is the largest attempt number on record; see store.Journal.
func (m *Memory) Attempts(ctx context.Context, _ string, key store.DeliveryKey) (n int, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.outcomes[key] {
		n = max(n, o.Attempt)
	}
	return n, ctx.Err()
}

// LastSeq is the largest Seq stored; see store.Journal.
func (m *Memory) LastSeq(ctx context.Context) (last store.Seq, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq := range m.events {
		last = max(last, seq)
	}
	return last, ctx.Err()
}

// RecoverFrom is the stored mark; see store.Journal.
func (m *Memory) RecoverFrom(ctx context.Context) (store.Seq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark, ctx.Err()
}

// Unsettled lists events with unsettled deliveries; see store.Journal.
func (m *Memory) Unsettled(ctx context.Context, from store.Seq, limit int) (
	found []store.Unsettled, next store.Seq, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seqs := m.seqs(from)
	for i, seq := range seqs {
		if i == limit {
			return found, seqs[i-1] + 1, ctx.Err()
		}
		x := m.events[seq]
		u := store.Unsettled{Seq: seq, Tenant: x.tenant, Event: x.event}
		for _, num := range x.webhooks {
			key := store.DeliveryKey{Webhook: num, Event: seq}
			if _, waits := m.waiting[key]; !waits && len(m.outcomes[key]) == 0 {
				u.Webhooks = append(u.Webhooks, num)
			}
		}
		if len(u.Webhooks) > 0 {
			found = append(found, u)
		}
	}
	return found, 0, ctx.Err()
}

// Events is how many events are on record.
func (m *Memory) Events() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events)
}
