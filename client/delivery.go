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
	// Request is what is sent: the same body at every attempt. It is built from the webhook as it is now.
	Request *Request `json:"request,omitempty"`
}

// Attempt is one HTTP request made for a delivery.
type Attempt struct {
	Number         int       `json:"number"`
	At             time.Time `json:"at,omitzero"`
	DurationMS     int64     `json:"duration_ms"`
	Timings        *Timings  `json:"timings,omitempty"`
	Sent           bool      `json:"sent"`
	Outcome        string    `json:"outcome"`
	Status         int       `json:"status,omitempty"`
	Class          string    `json:"class,omitempty"`
	Response       string    `json:"response,omitempty"`        // the start of the body, when it is UTF-8
	ResponseBase64 string    `json:"response_base64,omitempty"` // the start of the body, when it is not
	SigningKeyID   string    `json:"signing_key_id,omitempty"`
	NextAt         time.Time `json:"next_at,omitzero"`
	// Headers are those of this attempt's request, its signature among them; with one delivery, for attempts that were
	// sent. They are built from the webhook as it is now.
	Headers []Header `json:"headers,omitempty"`
	// Changed tells that the webhook was changed since, so that the request may have been another.
	Changed bool `json:"changed,omitempty"`
}

// Timings are the phases of an attempt in milliseconds; 0 for those that did not happen, as on a connection used again.
type Timings struct {
	DNS       float64 `json:"dns_ms"`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms"`
}

// Request is a request as it is sent; the values of secret headers are [secret].
type Request struct {
	Method  string   `json:"method"`
	URL     string   `json:"url"`
	Headers []Header `json:"headers"`
	Body    string   `json:"body,omitempty"`
}

// Response is a receiver's answer.
type Response struct {
	Status     int      `json:"status"`
	Headers    []Header `json:"headers,omitempty"`
	Body       string   `json:"body,omitempty"`        // its start, when it is UTF-8
	BodyBase64 string   `json:"body_base64,omitempty"` // its start, when it is not
}

// DeliveryQuery selects deliveries; zero fields select all.
type DeliveryQuery struct {
	WebhookID    string
	EventID      string
	EventType    string // a pattern
	Status       string
	LastStatus   string // of the last attempt: an HTTP status, such as 503, or a class of them, such as 5xx
	LastClass    string // the last attempt's class of error
	Since, Until time.Time
	Cursor       string // the Next of the page before
	Limit        int
}

func (q *DeliveryQuery) values() url.Values {
	v := page(q.Cursor, q.Limit, q.Since, q.Until)
	for name, s := range map[string]string{"webhook_id": q.WebhookID, "event_id": q.EventID, "event_type": q.EventType,
		"status": q.Status, "last_status": q.LastStatus, "last_class": q.LastClass} {
		set(v, name, s)
	}
	return v
}

// DeliveryPage is one page of deliveries, newest first; Next is empty on the last.
type DeliveryPage struct {
	Deliveries []Delivery `json:"items"`
	Next       string     `json:"next,omitempty"`
	// SearchedTo is set when the page is not full since much was looked at: up to events accepted then. Next goes on.
	SearchedTo time.Time `json:"searched_to,omitzero"`
}

// DeliveryCount is how many deliveries there are; More: at least so many.
type DeliveryCount struct {
	Count int  `json:"count"`
	More  bool `json:"more,omitempty"`
}

// RetryMany says which deliveries are tried again: those with the IDs (at most 200), or those that the query selects.
type RetryMany struct {
	IDs   []string      // nil: the query; empty: none
	Query DeliveryQuery // Limit: at most 200
}

// RetriedMany is what a step of retrying many came to.
type RetriedMany struct {
	Retried int    `json:"retried"`
	Skipped int    `json:"skipped"` // of webhooks that were deleted, or gone meanwhile
	Next    string `json:"next,omitempty"`
}

// Deliveries lists deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error) {
	var out DeliveryPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/deliveries", query: q.values(), out: &out})
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

// CountDeliveries counts the deliveries that the query selects; its Cursor and Limit are passed over.
func (c *Client) CountDeliveries(ctx context.Context, q DeliveryQuery) (out DeliveryCount, err error) {
	q.Cursor, q.Limit = "", 0
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/deliveries/count", query: q.values(), out: &out})
	return out, err
}

// RetryDeliveries makes many deliveries due now, one page of a query at a time: go on with its Next as the query's Cursor
// until that is empty, or stop.
func (c *Client) RetryDeliveries(ctx context.Context, m RetryMany) (out RetriedMany, err error) {
	in := struct {
		IDs []string `json:"ids,omitzero"`
	}{m.IDs}
	var v url.Values
	if m.IDs == nil {
		v = m.Query.values()
	}
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/deliveries/retry", query: v, in: in, out: &out})
	return out, err
}

func deliveryPath(id string) string { return "/v1/deliveries/" + url.PathEscape(id) }
