package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

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

// EventView is an event in answers. It is exported since the OpenAPI document takes embedded fields of exported types only;
// so are the others like it.
type EventView struct {
	ID            string          `json:"id" format:"uuid"`
	Type          string          `json:"type"`
	ObjectID      string          `json:"object_id"`
	ObjectOwnerID string          `json:"object_owner_id"`
	OwnerID       string          `json:"owner_id"`
	Time          string          `json:"time" format:"date-time"`
	Data          json.RawMessage `json:"data" doc:"A JSON object, as published."`
}

// StoredEvent is an event on record.
type StoredEvent struct {
	EventView
	AcceptedAt    string `json:"accepted_at" format:"date-time"`
	DeliveryCount int    `json:"delivery_count" doc:"How many webhooks it goes to."`
}

type eventWithDeliveries struct {
	StoredEvent
	Deliveries []DeliveryView `json:"deliveries" nullable:"false"`
}

type eventPage struct {
	Items []StoredEvent `json:"items" nullable:"false"`
	Next  string        `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
}

type eventTypeView struct {
	Type          string          `json:"type"`
	Description   string          `json:"description"`
	ObjectID      string          `json:"object_id" doc:"What the ID means in events of this type."`
	ObjectOwnerID string          `json:"object_owner_id" doc:"What the ID means in events of this type."`
	OwnerID       string          `json:"owner_id" doc:"What the ID means in events of this type."`
	Example       EventView       `json:"example"`
	DataSchema    json.RawMessage `json:"data_schema" doc:"The JSON Schema of data."`
}

type eventTypePage struct {
	Items []eventTypeView `json:"items" nullable:"false"`
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

func (a *api) listEvents(ctx context.Context, in *listEventsInput) (*output[eventPage], error) {
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
	out := eventPage{Items: make([]StoredEvent, 0, len(found))}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Next = encodeCursor(hash, cursor{first: int64(found[in.Limit-1].Seq)})
	}
	for i := range found {
		out.Items = append(out.Items, viewStored(&found[i]))
	}
	return &output[eventPage]{out}, nil
}

type byID struct {
	Scope
	ID string `path:"id" maxLength:"64"`
}

// maxEventDeliveries bounds the deliveries shown with one event; the list of deliveries has them all.
const maxEventDeliveries = 1000

func (a *api) getEvent(ctx context.Context, in *byID) (*output[eventWithDeliveries], error) {
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
	out := eventWithDeliveries{viewStored(&rec), make([]DeliveryView, 0, len(ds))}
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
	return &output[eventWithDeliveries]{out}, nil
}

func (a *api) listEventTypes(context.Context, *Scope) (*output[eventTypePage], error) {
	var out eventTypePage
	for _, t := range event.Catalogue() {
		ex := t.Example(a.now())
		out.Items = append(out.Items, eventTypeView{
			Type: t.Name, Description: t.Description, ObjectID: t.ObjectID, ObjectOwnerID: t.ObjectOwnerID, OwnerID: t.OwnerID,
			Example: viewEvent(&ex), DataSchema: t.DataSchema,
		})
	}
	return &output[eventTypePage]{out}, nil
}

func viewEvent(e *event.Event) EventView {
	v := EventView{
		ID: e.ID.String(), Type: e.Type, ObjectID: e.ObjectID, ObjectOwnerID: e.ObjectOwnerID, OwnerID: e.OwnerID,
		Time: event.FormatTime(e.Time), Data: e.Data,
	}
	if len(v.Data) == 0 {
		v.Data = json.RawMessage("{}")
	}
	return v
}

func viewStored(r *store.EventRecord) StoredEvent {
	return StoredEvent{viewEvent(&r.Event), event.FormatTime(r.Seq.Time()), len(r.Webhooks)}
}

// formatTime is the form of all times in answers; "" for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return event.FormatTime(t)
}

// formatDuration is time.Duration.String without the zeros at its end: 2m, not 2m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
