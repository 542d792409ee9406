package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// output is an answer with a body.
type output[T any] struct{ Body T }

func (a *api) registerEvents() {
	register(a, operation{
		id: "list-events", method: http.MethodGet, path: "/v1/events", tag: "Events",
		summary: "List events, newest first",
		text:    "A key of one webhook sees those that it gets; a page may have few of them, or none, although there is a next.",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusBadRequest},
	}, a.listEvents)
	register(a, operation{
		id: "get-event", method: http.MethodGet, path: "/v1/events/{id}", tag: "Events",
		summary: "Read an event with its deliveries",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getEvent)
	register(a, operation{
		id: "list-event-types", method: http.MethodGet, path: "/v1/event-types", tag: "Events",
		summary: "The catalogue of event types",
		status:  http.StatusOK, roles: readers, toBound: true,
	}, a.listEventTypes)
}

type listEventsInput struct {
	Scope
	client.EventQuery
}

// eventFilter resolves a query.
func (a *api) eventFilter(q *client.EventQuery, from *cursor) (store.EventFilter, error) {
	var v event.Violations
	f := store.EventFilter{ObjectID: q.ObjectID, ObjectOwnerID: q.ObjectOwnerID, OwnerID: q.OwnerID}
	f.Since, f.Until = a.period(q.Since, q.Until, from, &v)
	f.Types = typesOf(q.EventType, &v)
	return f, v.Err()
}

// typesOf are the event types of a filter by pattern; nil: all; empty: none.
func typesOf(pattern string, v *event.Violations) []string {
	if pattern == "" {
		return nil
	}
	p, err := event.ParsePattern(pattern)
	if err != nil {
		v.Add("query.event_type", err.Error())
		return nil
	}
	types := event.Resolve([]event.Pattern{p})
	if len(types) == len(event.Catalogue()) {
		return nil
	}
	return append([]string{}, types...)
}

func (a *api) listEvents(ctx context.Context, in *listEventsInput) (*output[client.EventPage], error) {
	tenant := callerOf(ctx).tenant
	hash := listHash("events", tenant, in.EventQuery)
	from, err := decodeCursor(hash, in.Cursor)
	if err != nil {
		return nil, err
	}
	f, err := a.eventFilter(&in.EventQuery, &from)
	if err != nil {
		return nil, err
	}
	found, next, err := a.eventsPage(ctx, f, store.Seq(from.first), in.Limit)
	if err != nil {
		return nil, err
	}
	out := client.EventPage{Events: make([]client.StoredEvent, 0, len(found)),
		Since: resolved(from.since), Until: resolved(from.until)}
	if from.first = int64(next); next != 0 {
		out.Next = encodeCursor(hash, from)
	}
	for i := range found {
		e := viewStored(&found[i])
		if callerOf(ctx).key.Webhook != "" {
			e.DeliveryCount = 1
		}
		out.Events = append(out.Events, e)
	}
	return &output[client.EventPage]{out}, nil
}

// lookedEvents is how many events are looked at, about, for one page of those that one webhook gets.
const lookedEvents = 1000

// eventsPage lists events below before. For a caller who sees one webhook it is those that the webhook gets, and may
// have few or none although there is a next page, which begins below next; 0: there is none.
func (a *api) eventsPage(ctx context.Context, f store.EventFilter, before store.Seq, limit int) (
	page []store.EventRecord, next store.Seq, err error) {
	c, bound := callerOf(ctx), int64(0)
	if c.key.Webhook != "" {
		w, err := a.store.WebhookByID(ctx, c.tenant, c.key.Webhook)
		if errors.Is(err, store.ErrNotFound) {
			return nil, 0, nil
		} else if err != nil {
			return nil, 0, fmt.Errorf("find webhook %s: %w", c.key.Webhook, err)
		}
		bound = w.Num
	}
	for looked := 0; looked < lookedEvents; {
		found, err := a.store.ListEvents(ctx, c.tenant, f, before, limit+1)
		if err != nil {
			return nil, 0, fmt.Errorf("list events: %w", err)
		}
		for i := range found {
			if bound != 0 && !slices.Contains(found[i].Webhooks, bound) {
				continue
			}
			if len(page) == limit {
				return page, page[limit-1].Seq, nil
			}
			page = append(page, found[i])
		}
		if len(found) <= limit {
			return page, 0, nil
		}
		looked, before = looked+len(found), found[limit].Seq
	}
	return page, before, nil
}

type byID struct {
	Scope
	ID string `path:"id" maxLength:"64" doc:"Of what the path names."`
}

// maxEventDeliveries bounds the deliveries shown with one event; the list of deliveries has them all.
const maxEventDeliveries = 1000

func (a *api) getEvent(ctx context.Context, in *byID) (*output[client.EventDetail], error) {
	tenant := callerOf(ctx).tenant
	id, err := uuid.Parse(in.ID)
	if err != nil || len(in.ID) != 36 {
		return nil, errNotFound("event")
	}
	rec, err := a.store.EventByID(ctx, tenant, id)
	if err != nil {
		return nil, missing("event", err)
	}
	ds, _, err := a.store.ListDeliveries(ctx, tenant, store.DeliveryFilter{Event: rec.Seq}, store.DeliveryKey{},
		maxEventDeliveries)
	if err != nil {
		return nil, fmt.Errorf("list the deliveries of event %s: %w", id, err)
	}
	c := callerOf(ctx)
	out := client.EventDetail{StoredEvent: viewStored(&rec), Deliveries: make([]client.Delivery, 0, len(ds))}
	for i := range ds {
		if c.sees(ds[i].WebhookID) {
			out.Deliveries = append(out.Deliveries, viewDelivery(&ds[i]))
		}
	}
	if c.key.Webhook != "" {
		if len(out.Deliveries) == 0 {
			return nil, errNotFound("event")
		}
		out.DeliveryCount = len(out.Deliveries)
	}
	return &output[client.EventDetail]{out}, nil
}

func (a *api) listEventTypes(context.Context, *Scope) (*output[client.Page[client.EventType]], error) {
	var out client.Page[client.EventType]
	for _, t := range event.Catalogue() {
		ex := t.Example(a.now())
		out.Items = append(out.Items, client.EventType{
			Type: t.Name, Description: t.Description, ObjectID: t.ObjectID, ObjectOwnerID: t.ObjectOwnerID, OwnerID: t.OwnerID,
			Example: viewEvent(&ex), DataSchema: t.DataSchema,
		})
	}
	return &output[client.Page[client.EventType]]{out}, nil
}

func viewEvent(e *event.Event) client.Event {
	v := client.Event{
		ID: e.ID.String(), Type: e.Type, ObjectID: e.ObjectID, ObjectOwnerID: e.ObjectOwnerID, OwnerID: e.OwnerID,
		Time: client.At(e.Time), Data: e.Data,
	}
	if len(v.Data) == 0 {
		v.Data = json.RawMessage("{}")
	}
	return v
}

func viewStored(r *store.EventRecord) client.StoredEvent {
	return client.StoredEvent{Event: viewEvent(&r.Event), AcceptedAt: client.At(r.Seq.Time()),
		DeliveryCount: len(r.Webhooks)}
}
