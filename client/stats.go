package client

import (
	"context"
	"net/http"
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
	Delivered int64    `json:"delivered" doc:"Attempts that were answered 2xx."`
	Retried   int64    `json:"retried" doc:"Failed attempts that are followed by another."`
	Exhausted int64    `json:"exhausted" doc:"Attempts after which no other follows."`
	Cancelled int64    `json:"cancelled" doc:"Deliveries that were given up with their webhook."`
	P50       *float64 `json:"p50_ms,omitempty" doc:"From acceptance to the 2xx, half took at most so long."`
	P95       *float64 `json:"p95_ms,omitempty" doc:"The same for 95 of 100. Absent: nothing was delivered."`
}

// StatsPoint is one step of a period.
type StatsPoint struct {
	At Time `json:"at" doc:"Its beginning."`
	Counts
}

// Backlog is what waits to be tried again, or to be tried at all.
type Backlog struct {
	Waiting     int  `json:"waiting" doc:"Deliveries that wait to be tried, or tried again."`
	WaitingMore bool `json:"waiting_more,omitempty" doc:"There are more."`
	Oldest      Time `json:"oldest_waiting,omitzero" doc:"Acceptance of the oldest event that waits."`
}

// Stats are the numbers of a tenant, or of one of its webhooks, over a period.
type Stats struct {
	Period string   `json:"period" enum:"1h,24h,7d,30d" doc:"That the numbers are of."`
	Since  Time     `json:"since" doc:"Its beginning."`
	Until  Time     `json:"until" doc:"Its end."`
	Step   Duration `json:"step" doc:"Between points, like 15m."`
	Counts
	Backlog
	Points []StatsPoint `json:"points" doc:"Oldest first, without gaps."`
}

// The states of a webhook, worst first.
const (
	StateDisabledByUs = "switched_off" // by the server, since the receiver answered 410
	StateFailing      = "failing"      // since the last delivery attempts only failed, to the minute
	StateUnsteady     = "unsteady"     // some attempts failed in the hour up to the last one
	StateOK           = "ok"           // all attempts of the hour up to the last one were delivered
	StateIdle         = "idle"         // no attempt in the last 30 days
	StatePaused       = "paused"       // by a person
)

// WebhookStats are a webhook's state and its numbers over a period.
type WebhookStats struct {
	ID          string   `json:"id" format:"uuid" doc:"Its ID."`
	URL         string   `json:"url" doc:"Where requests go."`
	Method      string   `json:"method" enum:"POST,GET" doc:"With a JSON body, or a query."`
	Description string   `json:"description,omitempty" doc:"For people: what it is."`
	EventTypes  []string `json:"event_types" doc:"Patterns."`

	State string `json:"state" enum:"switched_off,failing,unsteady,ok,idle,paused" doc:"Of all, the worst first."`

	Since Time `json:"since,omitzero" doc:"Failing: since when, to the minute or hour."`
	Counts
	Backlog
	LastAt     Time         `json:"last_at,omitzero" doc:"The last attempt of the newest event that was tried."`
	LastStatus int          `json:"last_status,omitempty" doc:"The HTTP status that it was answered with."`
	LastClass  string       `json:"last_class,omitempty" doc:"Its class of error."`
	LastReason string       `json:"last_reason,omitempty" doc:"Of class tls: why."`
	Day        []SparkPoint `json:"day" doc:"The last 24 hours, oldest first."`
}

// WebhookStatsPage has the webhooks in trouble first.
type WebhookStatsPage struct {
	Items []WebhookStats `json:"items" doc:"Those of this page."`
	More  bool           `json:"more,omitempty" doc:"There are more webhooks; the newest are left out."`
	// ProxyDown tells that what is wrong is on the sender's side.
	ProxyDown bool `json:"egress_proxy_down,omitempty" doc:"The sender's own proxy gives no connections: all waits."`
}

// SparkPoint is an hour of a webhook.
type SparkPoint struct {
	Delivered int64 `json:"delivered" doc:"Attempts that were answered 2xx."`
	Failed    int64 `json:"failed" doc:"Retried and exhausted."`
}

// StatsQuery selects numbers.
type StatsQuery struct {
	Period    string `query:"period" enum:"1h,24h,7d,30d" default:"24h" doc:"Up to now."`
	WebhookID string `query:"webhook_id" maxLength:"64" doc:"Left out: of all."`
}

// Stats reads the numbers of a period; webhookID "": the whole tenant's.
func (c *Client) Stats(ctx context.Context, period, webhookID string) (out Stats, err error) {
	v := Values(StatsQuery{Period: period, WebhookID: webhookID})
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/stats", query: v, out: &out})
	return out, err
}

// WebhookStats reads the webhooks' numbers of a period; webhookID, unless empty, selects one.
func (c *Client) WebhookStats(ctx context.Context, period, webhookID string) (out WebhookStatsPage, err error) {
	v := Values(StatsQuery{Period: period, WebhookID: webhookID})
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/stats/webhooks", query: v, out: &out})
	return out, err
}
