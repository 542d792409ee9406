package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// output is an answer with a body.
type output[T any] struct{ Body T }

func (a *api) registerEvents() {
	register(a, operation{
		id: "list-events", method: http.MethodGet, path: "/v1/events", tag: "Events", summary: "List events, newest first",
		status: http.StatusOK, roles: readers, errors: []int{http.StatusBadRequest},
	}, a.listEvents)
	register(a, operation{
		id: "get-event", method: http.MethodGet, path: "/v1/events/{id}", tag: "Events", summary: "Read an event with its deliveries",
		status: http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getEvent)
	register(a, operation{
		id: "list-event-types", method: http.MethodGet, path: "/v1/event-types", tag: "Events", summary: "The catalogue of event types",
		status: http.StatusOK, roles: readers, toBound: true,
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
	found, err := a.store.ListEvents(ctx, tenant, f, store.Seq(from.first), in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	out := client.EventPage{Events: make([]client.StoredEvent, 0, len(found)), Since: resolved(from.since), Until: resolved(from.until)}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		from.first = int64(found[in.Limit-1].Seq)
		out.Next = encodeCursor(hash, from)
	}
	for i := range found {
		out.Events = append(out.Events, viewStored(&found[i]))
	}
	return &output[client.EventPage]{out}, nil
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
	return client.StoredEvent{Event: viewEvent(&r.Event), AcceptedAt: client.At(r.Seq.Time()), DeliveryCount: len(r.Webhooks)}
}
