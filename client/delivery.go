package client

import (
	"context"
	"net/http"
	"net/url"
)

// The states of a delivery: exactly one at any time.
const (
	StatusWaiting   = "waiting"
	StatusDelivered = "delivered"
	StatusExhausted = "exhausted"
	StatusCancelled = "cancelled"
)

// Delivery is one event owed to one webhook.
type Delivery struct {
	ID            string `json:"id" example:"d_0190a5d27c1e0000_1" doc:"Its ID."`
	EventID       string `json:"event_id" format:"uuid" doc:"The event."`
	EventType     string `json:"event_type" doc:"The event's type."`
	WebhookID     string `json:"webhook_id" format:"uuid" doc:"The webhook."`
	Status        string `json:"status" enum:"waiting,delivered,exhausted,cancelled" doc:"Its state."`
	Attempts      int    `json:"attempt_count" doc:"How often it was tried."`
	NextAttemptAt Time   `json:"next_at,omitzero" doc:"When it is tried next; absent: now, or under way."`
	LastAttemptAt Time   `json:"last_at,omitzero" doc:"When it was tried last."`
	LastStatus    int    `json:"last_status,omitempty" doc:"The last response's HTTP status."`
	LastClass     string `json:"last_class,omitempty" doc:"The last attempt's class of error."`
	LastReason    string `json:"last_reason,omitempty" doc:"Of class tls: why."`
}

// DeliveryDetail is a delivery with its event and every attempt.
type DeliveryDetail struct {
	Delivery
	Event      Event     `json:"event" doc:"The event."`
	Request    *Request  `json:"request,omitempty" doc:"What is sent, built from the webhook as it is now."`
	AttemptLog []Attempt `json:"attempts" doc:"Oldest first."`
}

// Attempt is one HTTP request made for a delivery.
type Attempt struct {
	Number         int      `json:"number" doc:"1 for the first; 0 for a test."`
	At             Time     `json:"at" doc:"When it began."`
	DurationMS     int64    `json:"duration_ms" doc:"Milliseconds from its beginning to its end."`
	Sent           bool     `json:"sent" doc:"Whether a request left for the receiver."`
	Outcome        string   `json:"outcome" enum:"delivered,retry,exhausted,cancelled" doc:"What came of it."`
	Status         int      `json:"status,omitempty" doc:"The response's HTTP status; absent when there was none."`
	Class          string   `json:"class,omitempty" doc:"The class of error; absent when delivered."`
	Reason         string   `json:"reason,omitempty" doc:"Of class tls: why; absent of old attempts."`
	Explanation    string   `json:"explanation,omitempty" doc:"For people: what that is, its usual cause, what to do."`
	Response       string   `json:"response,omitempty" doc:"The start of the response's body, when it is UTF-8."`
	ResponseBase64 string   `json:"response_base64,omitempty" doc:"The same, when it is not UTF-8."`
	Timings        *Timings `json:"timings,omitempty" doc:"Absent where the address is not told, and of old attempts."`
	SigningKeyID   string   `json:"signing_key_id,omitempty" doc:"Which signing key signed it."`
	NextAt         Time     `json:"next_at,omitzero" doc:"When the next attempt is due."`
	Headers        []Header `json:"headers,omitempty" doc:"Of the request, built from the webhook as it is now."`
	Changed        bool     `json:"changed,omitempty" doc:"The webhook was changed since: it may be other."`
}

// Timings are the phases of an attempt in milliseconds; 0 for those that did not happen, as on a connection used again.
type Timings struct {
	DNS       float64 `json:"dns_ms" doc:"Milliseconds; 0 when the phase did not happen."`
	Connect   float64 `json:"connect_ms" doc:"The connection."`
	TLS       float64 `json:"tls_ms" doc:"The handshake."`
	FirstByte float64 `json:"first_byte_ms" doc:"From the request to the first byte of the answer."`
}

// Request is a request as it is sent; the values of secret headers are [secret].
type Request struct {
	Method  string   `json:"method" doc:"With a JSON body, or a query."`
	URL     string   `json:"url" doc:"Where to."`
	Headers []Header `json:"headers" doc:"Secrets are shown as [secret]."`
	Body    string   `json:"body,omitempty" doc:"The request's body; absent for GET."`
}

// Response is a receiver's answer.
type Response struct {
	Status     int      `json:"status" doc:"The HTTP status."`
	Headers    []Header `json:"headers,omitempty" doc:"As received, up to 100."`
	Body       string   `json:"body,omitempty" doc:"The start of the body, when it is UTF-8."`
	BodyBase64 string   `json:"body_base64,omitempty" doc:"The start of the body, when it is not UTF-8."`
}

// DeliveryQuery selects deliveries; zero fields select all.
type DeliveryQuery struct {
	WebhookID string `query:"webhook_id" maxLength:"64" doc:"The webhook."`
	EventID   string `query:"event_id" maxLength:"64" doc:"The event."`
	EventType string `query:"event_type" maxLength:"256" doc:"A pattern, like qap.investor.* or **."`
	Status    string `query:"status" enum:"waiting,delivered,exhausted,cancelled" doc:"The state of the delivery."`

	LastStatus string `query:"last_status" pattern:"^[1-5](\\d\\d|xx)$" patternDescription:"like 503 or 5xx" doc:"503, 5xx"`

	LastClass string `query:"last_class" maxLength:"32" doc:"The last attempt's class of error."`
	Since     string `query:"since" maxLength:"64" doc:"Accepted from this RFC 3339 time on, or so long ago: 24h."`
	Until     string `query:"until" maxLength:"64" doc:"Accepted before this RFC 3339 time, or so long ago: 1h."`
	Cursor    string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// DeliveryPage is one page of deliveries, newest first; Next is empty on the last.
type DeliveryPage struct {
	Deliveries []Delivery `json:"items" doc:"Those of this page."`
	Next       string     `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
	Since      Time       `json:"since,omitzero" doc:"What a since that was so long ago came to, for all pages."`
	Until      Time       `json:"until,omitzero" doc:"Likewise."`
	SearchedTo Time       `json:"searched_to,omitzero" doc:"How far was looked, if not all. Next goes on."`
}

// DeliveryCount is how many deliveries there are; More: at least so many.
type DeliveryCount struct {
	Count int  `json:"count" doc:"How many there are."`
	More  bool `json:"more,omitempty" doc:"There are at least so many."`
}

// RetryMany says which deliveries are tried again: those with the IDs (at most 200), or those that the query selects.
// Those that are delivered are only if they are asked for: by their IDs, or by the query's Status.
type RetryMany struct {
	IDs   []string      // nil: the query; empty: none
	Query DeliveryQuery // Limit: at most 200
	All   bool          // needed where the query selects all
}

// RetryDeliveries is the body of a call that retries many.
type RetryDeliveries struct {
	IDs []string `json:"ids,omitzero" maxItems:"200" doc:"The deliveries, in place of the query's filter."`
	All bool     `json:"all,omitempty" doc:"In place of IDs and a filter: all that are not delivered."`
}

// RetriedMany is what a step of retrying many came to.
type RetriedMany struct {
	Retried int    `json:"retried" doc:"How many are tried again."`
	Skipped int    `json:"skipped" doc:"Of webhooks that were deleted, or gone."`
	Next    string `json:"next,omitempty" doc:"The cursor to go on with; absent when that was all."`
}

// Deliveries lists deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error) {
	var out DeliveryPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/deliveries", query: Values(q), out: &out})
	return out, err
}

// Delivery reads one delivery with every attempt.
func (c *Client) Delivery(ctx context.Context, id string) (DeliveryDetail, error) {
	var out DeliveryDetail
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
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/deliveries/count", query: Values(q), out: &out})
	return out, err
}

// RetryDeliveries makes many deliveries due now, one page of a query at a time: go on with its Next as the query's
// Cursor until that is empty, or stop.
func (c *Client) RetryDeliveries(ctx context.Context, m RetryMany) (out RetriedMany, err error) {
	in := RetryDeliveries{m.IDs, m.All}
	var v url.Values
	if m.IDs == nil {
		v = Values(m.Query)
	}
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/deliveries/retry", query: v, in: in, out: &out})
	return out, err
}

func deliveryPath(id string) string { return "/v1/deliveries/" + url.PathEscape(id) }
