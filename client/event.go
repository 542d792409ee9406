package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Event is something that happened, as it is published and as it is read back.
type Event struct {
	ID            string          `json:"id,omitempty" required:"true" format:"uuid" doc:"Yours, or made."`
	Type          string          `json:"type" example:"qap.investor.created" doc:"One of the catalogue."`
	ObjectID      string          `json:"object_id" doc:"The affected advice session or investor."`
	ObjectOwnerID string          `json:"object_owner_id" doc:"An advice session's investor; an investor's advisor."`
	OwnerID       string          `json:"owner_id" doc:"The advisor or client that the event belongs to."`
	Time          Time            `json:"time,omitzero" required:"true" doc:"When it happened; left out: now."`
	Data          json.RawMessage `json:"data,omitempty" required:"true" doc:"A JSON object, passed through as given."`
}

// Published is the answer to one published event.
type Published struct {
	ID         string `json:"id" format:"uuid" doc:"The event's ID."`
	Type       string `json:"type" doc:"An event type of the catalogue."`
	Time       Time   `json:"time" doc:"When it happened."`
	Deliveries int    `json:"deliveries" doc:"How many webhooks it goes to."`
}

// PublishedBatch is the answer to a batch, in its order.
type PublishedBatch struct {
	Events []PublishedItem `json:"events" doc:"In their order."`
}

// PublishedItem is the answer to one event of a batch.
type PublishedItem struct {
	ID         string `json:"id" format:"uuid" doc:"The event's ID."`
	Deliveries int    `json:"deliveries" doc:"How many webhooks it goes to."`
}

// StoredEvent is an event on record.
type StoredEvent struct {
	Event
	AcceptedAt    Time `json:"accepted_at" doc:"When it was accepted."`
	DeliveryCount int  `json:"delivery_count" doc:"How many webhooks it goes to."`
}

// EventDetail is an event on record with its deliveries.
type EventDetail struct {
	StoredEvent
	Deliveries []Delivery `json:"deliveries" doc:"The first 1,000."`
}

// EventType is one type of the catalogue.
type EventType struct {
	Type          string          `json:"type" doc:"Its name."`
	Description   string          `json:"description" doc:"What such an event says."`
	ObjectID      string          `json:"object_id" doc:"What the ID means in events of this type."`
	ObjectOwnerID string          `json:"object_owner_id" doc:"What the ID means in events of this type."`
	OwnerID       string          `json:"owner_id" doc:"What the ID means in events of this type."`
	Example       Event           `json:"example" doc:"An event of this type."`
	DataSchema    json.RawMessage `json:"data_schema" doc:"The JSON Schema of data."`
}

// EventQuery selects events; zero fields select all.
type EventQuery struct {
	EventType     string `query:"event_type" maxLength:"256" doc:"A pattern, like qap.investor.* or **."`
	ObjectID      string `query:"object_id" maxLength:"256" doc:"Of the affected advice session or investor."`
	ObjectOwnerID string `query:"object_owner_id" maxLength:"256" doc:"Of whom the object belongs to."`
	OwnerID       string `query:"owner_id" maxLength:"256" doc:"Of the advisor or client."`
	Since         string `query:"since" maxLength:"64" doc:"Accepted from this RFC 3339 time on, or so long ago: 24h."`
	Until         string `query:"until" maxLength:"64" doc:"Accepted before this RFC 3339 time, or so long ago: 1h."`
	Cursor        string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit         int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// EventPage is one page of events, newest first; Next is empty on the last.
type EventPage struct {
	Events []StoredEvent `json:"items" doc:"Those of this page."`
	Next   string        `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
	Since  Time          `json:"since,omitzero" doc:"What a since that was so long ago came to, for all pages."`
	Until  Time          `json:"until,omitzero" doc:"Likewise."`
}

// Publish publishes one event; when it returns nil the event is committed and flushed. Whatever is no receipt for this
// event, such as a login page or the answer of another program, is an error.
func (c *Client) Publish(ctx context.Context, e Event) (Published, error) {
	var out receipt
	q := request{method: http.MethodPost, path: "/v1/events", in: e, out: &out, want: http.StatusAccepted}
	if _, err := c.do(ctx, q); err != nil {
		return Published{}, err
	}
	return out.of(&e)
}

// PublishBatch publishes up to 1,000 events, all or none. Its error is as Publish's.
func (c *Client) PublishBatch(ctx context.Context, events []Event) ([]PublishedItem, error) {
	in := map[string][]Event{"events": events}
	var out struct {
		Events []receipt `json:"events"`
	}
	q := request{method: http.MethodPost, path: "/v1/events/batch", in: in, out: &out, want: http.StatusAccepted}
	if _, err := c.do(ctx, q); err != nil {
		return nil, err
	}
	if len(out.Events) != len(events) {
		return nil, errStranger
	}
	published := make([]PublishedItem, len(events))
	for i := range events {
		p, err := out.Events[i].of(&events[i])
		if err != nil {
			return nil, err
		}
		published[i] = PublishedItem{p.ID, p.Deliveries}
	}
	return published, nil
}

// receipt is what the server answers to an event. It tells how many webhooks get it, which no echo of the event does.
type receipt struct {
	Published
	Deliveries *int `json:"deliveries"`
}

// of gives the receipt if it is one of this event.
func (r *receipt) of(e *Event) (Published, error) {
	if r.Deliveries == nil || r.ID == "" || e.ID != "" && !strings.EqualFold(r.ID, e.ID) {
		return Published{}, errStranger
	}
	r.Published.Deliveries = *r.Deliveries
	return r.Published, nil
}

// Events lists events, newest first.
func (c *Client) Events(ctx context.Context, q EventQuery) (EventPage, error) {
	var out EventPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events", query: Values(q), out: &out})
	return out, err
}

// Event reads one event with its deliveries.
func (c *Client) Event(ctx context.Context, id string) (EventDetail, error) {
	var out EventDetail
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events/" + url.PathEscape(id), out: &out})
	return out, err
}

// EventTypes reads the catalogue.
func (c *Client) EventTypes(ctx context.Context) ([]EventType, error) {
	var out Page[EventType]
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/event-types", out: &out})
	return out.Items, err
}
