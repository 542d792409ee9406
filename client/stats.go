package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The periods of statistics, up to now.
const (
	Hour  = "1h"
	Day   = "24h"
	Week  = "7d"
	Month = "30d"
)

// Counts are what attempts came to, and how long deliveries took from the event's acceptance to the receiver's 2xx.
type Counts struct {
	Delivered int64    `json:"delivered"`
	Retried   int64    `json:"retried"` // failed attempts that are followed by another
	Exhausted int64    `json:"exhausted"`
	Cancelled int64    `json:"cancelled"`
	P50       *float64 `json:"p50_ms,omitempty"` // milliseconds; nil: nothing was delivered
	P95       *float64 `json:"p95_ms,omitempty"` // milliseconds; nil: nothing was delivered
}

// StatsPoint is one step of a period.
type StatsPoint struct {
	At time.Time `json:"at,omitzero"` // its beginning
	Counts
}

// Backlog is what waits to be tried again, or to be tried at all.
type Backlog struct {
	Waiting     int       `json:"waiting"`
	WaitingMore bool      `json:"waiting_more,omitempty"`  // there are more than Waiting
	Oldest      time.Time `json:"oldest_waiting,omitzero"` // acceptance of the oldest event that waits; zero: none
}

// Stats are the numbers of a tenant, or of one of its webhooks, over a period.
type Stats struct {
	Period string    `json:"period"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Step   Duration  `json:"step"` // between points
	Counts
	Backlog
	Points []StatsPoint `json:"points"` // oldest first, without gaps
}

// The states of a webhook, worst first.
const (
	StateDisabledByUs = "switched_off" // by the server, since the receiver answered 410
	StateFailing      = "failing"      // nothing was delivered in the last hour with attempts, and something failed
	StateUnsteady     = "unsteady"     // some attempts failed in the last hour with attempts
	StateOK           = "ok"           // all attempts of the last hour with attempts were delivered
	StateIdle         = "idle"         // no attempt in the last 30 days
	StatePaused       = "paused"       // by a person
)

// WebhookStats are a webhook's state and its numbers over a period.
type WebhookStats struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"`
	Method      string    `json:"method"`
	Description string    `json:"description,omitempty"`
	EventTypes  []string  `json:"event_types"`
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"` // failing: since when, to the minute in the last day and to the hour before
	Counts
	Backlog
	LastAt     time.Time    `json:"last_at,omitzero"` // the last attempt of the newest event that was tried
	LastStatus int          `json:"last_status,omitempty"`
	LastClass  string       `json:"last_class,omitempty"`
	Day        []SparkPoint `json:"day"` // the last 24 hours, oldest first
}

// SparkPoint is an hour of a webhook.
type SparkPoint struct {
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"` // retried and exhausted
}

// Stats reads the numbers of a period; webhookID "": the whole tenant's.
func (c *Client) Stats(ctx context.Context, period, webhookID string) (out Stats, err error) {
	v := url.Values{"period": {period}}
	set(v, "webhook_id", webhookID)
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/stats", query: v, out: &out})
	return out, err
}

// WebhookStats reads the webhooks' numbers of a period, those in trouble first; webhookID, unless empty, selects one. More
// tells that there are more webhooks than are shown.
func (c *Client) WebhookStats(ctx context.Context, period, webhookID string) (list []WebhookStats, more bool, err error) {
	v := url.Values{"period": {period}}
	set(v, "webhook_id", webhookID)
	var out struct {
		Items []WebhookStats `json:"items"`
		More  bool           `json:"more,omitempty"`
	}
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/stats/webhooks", query: v, out: &out})
	return out.Items, out.More, err
}
