package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Page is how a part of a list is asked for.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
	Cursor string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
}

// Period selects by the time at which an event was accepted: since <= t < until.
type Period struct {
	Since string `query:"since" doc:"From this RFC 3339 time on."`
	Until string `query:"until" doc:"Before this RFC 3339 time."`
}

func (p Period) times(v *event.Violations) (since, until time.Time) {
	read := func(name, s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil || t.Year() < 1970 {
			v.Add("query."+name, "must be an RFC 3339 time such as 2023-03-15T12:46:00.000Z")
		}
		return t.UTC()
	}
	return read("since", p.Since), read("until", p.Until)
}

// output is an answer with a body.
type output[T any] struct{ Body T }

func (a *api) registerEvents() {
	register(a, operation{
		id: "list-events", method: http.MethodGet, path: "/v1/events", tag: "Events", summary: "List events, newest first",
		status: http.StatusOK, roles: readers, errors: []int{http.StatusBadRequest},
	}, a.listEvents)
	register(a, operation{
		id: "get-event", method: http.MethodGet, path: "/v1/events/{id}", tag: "Events", summary: "Read an event with its deliveries",
		status: http.StatusOK, roles: readers, bound: true, errors: []int{http.StatusNotFound},
	}, a.getEvent)
	register(a, operation{
		id: "list-event-types", method: http.MethodGet, path: "/v1/event-types", tag: "Events", summary: "The catalogue of event types",
		status: http.StatusOK, roles: readers, bound: true,
	}, a.listEventTypes)
}

type listEventsInput struct {
	Scope
	Page
	Period
	Type          string `query:"type" maxLength:"256" doc:"A pattern, like qap.investor.* or **."`
	ObjectID      string `query:"object_id" maxLength:"256"`
	ObjectOwnerID string `query:"object_owner_id" maxLength:"256"`
	OwnerID       string `query:"owner_id" maxLength:"256"`
}

func (in *listEventsInput) filter() (store.EventFilter, error) {
	var v event.Violations
	f := store.EventFilter{ObjectID: in.ObjectID, ObjectOwnerID: in.ObjectOwnerID, OwnerID: in.OwnerID}
	f.Since, f.Until = in.times(&v)
	if in.Type != "" {
		p, err := event.ParsePattern(in.Type)
		if err != nil {
			v.Add("query.type", err.Error())
		} else if f.Types = event.Resolve([]event.Pattern{p}); len(f.Types) == len(event.Catalogue()) {
			f.Types = nil // all
		}
	}
	return f, v.Err()
}

func (a *api) listEvents(ctx context.Context, in *listEventsInput) (*output[client.EventPage], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	tenant := callerOf(ctx).tenant
	hash := filterHash("events", tenant, in.Type, in.ObjectID, in.ObjectOwnerID, in.OwnerID, in.Since, in.Until)
	from, err := decodeCursor(hash, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.store.ListEvents(ctx, tenant, f, store.Seq(from.first), in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	out := client.EventPage{Events: make([]client.StoredEvent, 0, len(found))}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Next = encodeCursor(hash, cursor{first: int64(found[in.Limit-1].Seq)})
	}
	for i := range found {
		out.Events = append(out.Events, viewStored(&found[i]))
	}
	return &output[client.EventPage]{out}, nil
}

type byID struct {
	Scope
	ID string `path:"id" maxLength:"64"`
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
