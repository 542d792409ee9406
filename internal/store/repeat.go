package store

import (
	"bytes"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
)

// Repeats tells new events from repetitions within one batch: a store adds what the given IDs stand for already, and
// then judges the submissions in the order in which they came. The zero value is not usable; Reset makes it so.
type Repeats struct {
	first map[EventID]first
	any   bool // some event has a given ID: without, none can repeat
}

// EventID names an event within the store.
type EventID struct {
	Tenant string
	ID     uuid.UUID
}

// first is the first event with an ID.
type first struct {
	event    *event.Event
	webhooks int
}

// Reset forgets everything and lists the given IDs of the submissions, appended to ids.
func (r *Repeats) Reset(list []*Submission, ids []EventID) []EventID {
	if r.first == nil {
		r.first = map[EventID]first{}
	}
	clear(r.first)
	for _, s := range list {
		for i := range s.Events {
			if s.Events[i].IDGiven {
				ids = append(ids, EventID{s.Tenant, s.Events[i].Event.ID})
			}
		}
	}
	r.any = len(ids) > 0
	return ids
}

// Add says that the tenant has this event, which matched so many webhooks.
func (r *Repeats) Add(tenant string, e *event.Event, webhooks int) {
	r.first[EventID{tenant, e.ID}] = first{e, webhooks}
}

// Judge marks the repetitions in s, and tells whether s may be written: one conflict and nothing of it is.
func (r *Repeats) Judge(s *Submission) bool {
	s.Err = nil
	for i := range s.Events {
		e := &s.Events[i]
		e.Duplicate, e.StoredTime, e.StoredWebhooks = false, time.Time{}, 0
		if !r.any {
			continue
		}
		key := EventID{s.Tenant, e.Event.ID}
		f, ok := r.first[key]
		switch {
		case !ok:
			r.first[key] = first{&e.Event, len(e.Webhooks)}
		case sameContent(f.event, e):
			e.Duplicate, e.StoredTime, e.StoredWebhooks = true, f.event.Time, f.webhooks
		default:
			s.Err = &ConflictError{ID: e.Event.ID}
			r.forget(s, i)
			return false
		}
	}
	return true
}

// Refuse takes back what s, which Judge allowed, introduced, and leaves err in it.
func (r *Repeats) Refuse(s *Submission, err error) {
	s.Err = err
	r.forget(s, len(s.Events))
}

// forget takes back what the first n events of a refused submission introduced.
func (r *Repeats) forget(s *Submission, n int) {
	for i := range n {
		e := &s.Events[i]
		if !e.Duplicate {
			delete(r.first, EventID{s.Tenant, e.Event.ID})
		}
		e.Duplicate, e.StoredTime, e.StoredWebhooks = false, time.Time{}, 0
	}
}

// sameContent tells whether e repeats f.
func sameContent(f *event.Event, e *Submitted) bool {
	x := &e.Event
	return f.Type == x.Type && f.ObjectID == x.ObjectID && f.ObjectOwnerID == x.ObjectOwnerID &&
		f.OwnerID == x.OwnerID && bytes.Equal(f.Data, x.Data) &&
		(!e.TimeGiven || f.Time.UnixMilli() == x.Time.UnixMilli())
}
