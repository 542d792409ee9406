package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The states of a delivery: exactly one at any time.
const (
	StatusWaiting   = "waiting"
	StatusDelivered = "delivered"
	StatusExhausted = "exhausted"
	StatusCancelled = "cancelled"
)

// Delivery is one event owed to one webhook. AttemptLog and Event are there when one delivery was asked for.
type Delivery struct {
	ID            string    `json:"id"`
	EventID       string    `json:"event_id"`
	EventType     string    `json:"event_type,omitempty"`
	WebhookID     string    `json:"webhook_id"`
	Status        string    `json:"status"`
	Attempts      int       `json:"attempt_count"`
	NextAttemptAt time.Time `json:"next_at,omitzero"`
	LastAttemptAt time.Time `json:"last_at,omitzero"`
	LastStatus    int       `json:"last_status,omitempty"`
	LastClass     string    `json:"last_class,omitempty"`
	AttemptLog    []Attempt `json:"attempts,omitempty"`
	Event         *Event    `json:"event,omitempty"`
}

// Attempt is one HTTP request made for a delivery.
type Attempt struct {
	Number       int       `json:"number"`
	At           time.Time `json:"at,omitzero"`
	DurationMS   int64     `json:"duration_ms"`
	Sent         bool      `json:"sent"`
	Outcome      string    `json:"outcome"`
	Status       int       `json:"status,omitempty"`
	Class        string    `json:"class,omitempty"`
	Response     string    `json:"response,omitempty"`
	SigningKeyID string    `json:"signing_key_id,omitempty"`
}

// DeliveryQuery selects deliveries; zero fields select all.
type DeliveryQuery struct {
	WebhookID    string
	EventID      string
	Status       string
	Since, Until time.Time
	Cursor       string // the Next of the page before
	Limit        int
}

// DeliveryPage is one page of deliveries, newest first; Next is empty on the last.
type DeliveryPage struct {
	Deliveries []Delivery `json:"items"`
	Next       string     `json:"next,omitempty"`
}

// Deliveries lists deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error) {
	v := page(q.Cursor, q.Limit, q.Since, q.Until)
	set(v, "webhook_id", q.WebhookID)
	set(v, "event_id", q.EventID)
	set(v, "status", q.Status)
	var out DeliveryPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/deliveries", query: v, out: &out})
	return out, err
}

// Delivery reads one delivery with every attempt.
func (c *Client) Delivery(ctx context.Context, id string) (Delivery, error) {
	var out Delivery
	_, err := c.do(ctx, request{method: http.MethodGet, path: deliveryPath(id), out: &out})
	return out, err
}

// RetryDelivery makes a delivery that is waiting or exhausted due now.
func (c *Client) RetryDelivery(ctx context.Context, id string) error {
	_, err := c.do(ctx, request{method: http.MethodPost, path: deliveryPath(id) + "/retry"})
	return err
}

func deliveryPath(id string) string { return "/v1/deliveries/" + url.PathEscape(id) }
