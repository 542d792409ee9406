package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Event is something that happened, as it is published and as it is read back.
type Event struct {
	// ID is a UUID and the publisher's idempotency key; empty: the server makes one.
	ID            string `json:"id,omitempty"`
	Type          string `json:"type"`
	ObjectID      string `json:"object_id"`
	ObjectOwnerID string `json:"object_owner_id"`
	OwnerID       string `json:"owner_id"`
	// Time is when it happened; zero: now.
	Time time.Time `json:"time,omitzero"`
	// Data is a JSON object; empty: {}.
	Data json.RawMessage `json:"data,omitempty"`
}

// Published is the answer to one published event.
type Published struct {
	ID         string    `json:"id"`
	Type       string    `json:"type,omitempty"`
	Time       time.Time `json:"time,omitzero"`
	Deliveries int       `json:"deliveries"` // how many webhooks it goes to
}

// StoredEvent is an event on record; Deliveries is there when one event was asked for.
type StoredEvent struct {
	Event
	AcceptedAt    time.Time  `json:"accepted_at,omitzero"`
	DeliveryCount int        `json:"delivery_count"` // how many webhooks it goes to
	Deliveries    []Delivery `json:"deliveries,omitempty"`
}

// EventType is one type of the catalogue.
type EventType struct {
	Type          string          `json:"type"`
	Description   string          `json:"description"`
	ObjectID      string          `json:"object_id"`       // what the ID means
	ObjectOwnerID string          `json:"object_owner_id"` // what the ID means
	OwnerID       string          `json:"owner_id"`        // what the ID means
	Example       Event           `json:"example"`
	DataSchema    json.RawMessage `json:"data_schema"`
}

// EventQuery selects events; zero fields select all.
type EventQuery struct {
	Type          string // a pattern
	ObjectID      string
	ObjectOwnerID string
	OwnerID       string
	Since, Until  time.Time
	Cursor        string // the Next of the page before
	Limit         int
}

// EventPage is one page of events, newest first; Next is empty on the last.
type EventPage struct {
	Events []StoredEvent `json:"items"`
	Next   string        `json:"next,omitempty"`
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
func (c *Client) PublishBatch(ctx context.Context, events []Event) ([]Published, error) {
	in := struct {
		Events []Event `json:"events"`
	}{events}
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
	published := make([]Published, len(events))
	for i := range events {
		var err error
		if published[i], err = out.Events[i].of(&events[i]); err != nil {
			return nil, err
		}
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
	v := page(q.Cursor, q.Limit, q.Since, q.Until)
	set(v, "type", q.Type)
	set(v, "object_id", q.ObjectID)
	set(v, "object_owner_id", q.ObjectOwnerID)
	set(v, "owner_id", q.OwnerID)
	var out EventPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events", query: v, out: &out})
	return out, err
}

// Event reads one event with its deliveries.
func (c *Client) Event(ctx context.Context, id string) (StoredEvent, error) {
	var out StoredEvent
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events/" + url.PathEscape(id), out: &out})
	return out, err
}

// EventTypes reads the catalogue.
func (c *Client) EventTypes(ctx context.Context) ([]EventType, error) {
	var out struct {
		EventTypes []EventType `json:"items"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/event-types", out: &out})
	return out.EventTypes, err
}

// page makes the query parameters that all lists share.
func page(cursor string, limit int, since, until time.Time) url.Values {
	v := url.Values{}
	set(v, "cursor", cursor)
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if !since.IsZero() {
		v.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if !until.IsZero() {
		v.Set("until", until.UTC().Format(time.RFC3339Nano))
	}
	return v
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}
