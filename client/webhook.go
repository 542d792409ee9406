package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The kinds of static authentication.
const (
	AuthNone   = "none"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
	AuthAPIKey = "api_key"
)

// Auth is the static authentication of a webhook's requests. Password, Token and Value can be written and are never
// read back: "[secret]" stands for them, and sent back it means: as before.
type Auth struct {
	Type     string `json:"type" enum:"none,basic,bearer,api_key" doc:"Which of the kinds."`
	Username string `json:"username,omitempty" doc:"Of basic."`
	Password string `json:"password,omitempty" doc:"Of basic. Read back as [secret]; left out in a change: as before."`
	Token    string `json:"token,omitempty" doc:"Of bearer. Read back as [secret]; left out in a change: as before."`
	Header   string `json:"header,omitempty" doc:"Of api_key: the header's name." example:"X-Api-Key"`
	Value    string `json:"value,omitempty" doc:"Of api_key. Read back as [secret]; left out in a change: as before."`
}

// Header is a custom header, whose value can be written and is never read back, or one of a request or a response.
type Header struct {
	Name  string `json:"name" example:"X-Team" doc:"Its name."`
	Value string `json:"value,omitempty" doc:"A webhook's is read back as [secret]; left out in a change: as before."`
}

// SigningKey is what is shown of a signing key; never the key.
type SigningKey struct {
	ID        string `json:"id" doc:"The key's public name, which is on each attempt; never the key."`
	SwitchAt  Time   `json:"switch_at,omitzero" doc:"From here X-Quantfolio-Signature-256 is made with it."`
	ExpiresAt Time   `json:"expires_at,omitzero" doc:"From here webhook-signature lacks it; absent: never."`
	UsedAt    Time   `json:"last_used_at,omitzero" doc:"When X-Quantfolio-Signature-256 was last made with it, of the webhook's last 1,000 attempts; where one webhook is read."`
}

// NewWebhook is what a webhook is created with. URL and EventTypes are needed.
type NewWebhook struct {
	URL string `json:"url" example:"https://example.com/hooks" doc:"Where requests go."`

	Method string `json:"method,omitempty" enum:"POST,GET" doc:"POST, with JSON, when left out."`

	EventTypes         []string   `json:"event_types" doc:"Patterns, like qap.investor.* or **."`
	OwnerID            string     `json:"owner_id,omitempty" doc:"Only events of this owner, or object owner."`
	Auth               *Auth      `json:"auth,omitempty" doc:"The static authentication of its requests."`
	Headers            []Header   `json:"headers,omitempty" doc:"Values are secrets."`
	SigningKey         string     `json:"signing_key,omitempty" doc:"Left out: unsigned, unless one is generated."`
	GenerateSigningKey bool       `json:"generate_signing_key,omitempty" doc:"The answer shows the key, once."`
	Description        string     `json:"description,omitempty" doc:"For people: what it is."`
	Enabled            *bool      `json:"enabled,omitempty" doc:"false: paused."`
	Timeout            Duration   `json:"timeout,omitzero" doc:"Of one attempt; left out: 15s."`
	RetrySchedule      []Duration `json:"retry_schedule,omitempty" doc:"One delay per retry, like 5s, 2m or 12h."`
}

// Webhook is a registration as it is read back.
type Webhook struct {
	ID             string       `json:"id" format:"uuid" doc:"Its ID."`
	URL            string       `json:"url" doc:"Where requests go."`
	Method         string       `json:"method" enum:"POST,GET" doc:"With a JSON body, or a query."`
	EventTypes     []string     `json:"event_types" doc:"Patterns."`
	OwnerID        string       `json:"owner_id,omitempty" doc:"Only events of this owner, or object owner."`
	Auth           Auth         `json:"auth" doc:"The static authentication of its requests."`
	Headers        []Header     `json:"headers" doc:"Its custom headers."`
	SigningKeys    []SigningKey `json:"signing_keys" doc:"Newest first; none: unsigned; two during a rotation."`
	SigningKey     string       `json:"signing_key,omitempty" doc:"In the answer to the call that generated it only."`
	Description    string       `json:"description,omitempty" doc:"For people: what it is."`
	Enabled        bool         `json:"enabled" doc:"false: paused."`
	DisabledReason string       `json:"disabled_reason,omitempty" doc:"Why the product disabled it itself."`
	HeldUntil      Time         `json:"held_until,omitzero" doc:"Nothing is sent before: the receiver asked for it (Retry-After)."`
	Timeout        Duration     `json:"timeout" doc:"Of one attempt, like 15s."`
	RetrySchedule  []Duration   `json:"retry_schedule" doc:"One delay per retry, before jitter."`
	Warnings       []string     `json:"warnings" doc:"What is allowed but unwise."`
	CreatedAt      Time         `json:"created_at" doc:"When it was made."`
	UpdatedAt      Time         `json:"updated_at" doc:"When it was changed last."`
	ETag           string       `json:"-"` // names this version, for UpdateWebhook and DeleteWebhook
}

// WebhookPatch is a change, a JSON merge patch (RFC 7396): fields that are nil stay as they are. On the wire null is
// the default.
type WebhookPatch struct {
	URL                *string     `json:"url,omitempty" doc:"Where requests go."`
	Method             *string     `json:"method,omitempty" enum:"POST,GET" doc:"With a JSON body, or a query."`
	EventTypes         *[]string   `json:"event_types,omitempty" doc:"Patterns, like qap.investor.* or **."`
	OwnerID            *string     `json:"owner_id,omitempty" doc:"Only events of this owner, or object owner."`
	Auth               *Auth       `json:"auth,omitempty" doc:"Replaced as a whole; secrets may be left out."`
	Headers            *[]Header   `json:"headers,omitempty" doc:"Replaced as a whole; values may be left out."`
	SigningKey         *string     `json:"signing_key,omitempty" doc:"Rotates to this; empty: unsigned from now on."`
	GenerateSigningKey *bool       `json:"generate_signing_key,omitempty" doc:"The answer shows the key, once."`
	SigningKeySwitchAt *time.Time  `json:"signing_key_switch_at,omitempty" doc:"When the new key takes over; now."`
	SigningKeyOverlap  *Duration   `json:"signing_key_overlap,omitempty" doc:"Both keys sign so long after; 24h."`
	Force              *bool       `json:"force,omitempty" doc:"Rotate although an older key is still promised."`
	Description        *string     `json:"description,omitempty" doc:"For people: what it is."`
	Enabled            *bool       `json:"enabled,omitempty" doc:"false: paused."`
	Timeout            *Duration   `json:"timeout,omitempty" doc:"Of one attempt."`
	RetrySchedule      *[]Duration `json:"retry_schedule,omitempty" doc:"One delay per retry, like 5s, 2m or 12h."`
}

// WebhookQuery selects webhooks; zero fields select all.
type WebhookQuery struct {
	Text      string `query:"text" maxLength:"256" doc:"In the ID, URL, description or owner ID, whatever its case."`
	State     string `query:"state" enum:"switched_off,failing,unsteady,ok,idle,paused" doc:"Worst first."`
	EventType string `query:"event_type" maxLength:"256" doc:"An event type that the webhook asks for."`
	Cursor    string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// WebhookPage is one page of webhooks; Next is empty on the last.
type WebhookPage struct {
	Webhooks []Webhook `json:"items" doc:"Those of this page."`
	Next     string    `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
}

// TestWebhook is what a test is asked for with.
type TestWebhook struct {
	Type string `json:"type,omitempty" doc:"Of the event; left out: the first that the webhook asks for."`
}

// TestResult is what a test send came to: the attempt, the request and the response in full.
type TestResult struct {
	Attempt  Attempt   `json:"attempt" doc:"What came of it."`
	Request  Request   `json:"request" doc:"What was sent."`
	Response *Response `json:"response" doc:"null when there was none."`
}

// PreviewWebhook is a webhook that may be half filled in, and the type of the event to show it with.
type PreviewWebhook struct {
	NewWebhook
	ID   string `json:"id,omitempty" format:"uuid" doc:"Of a webhook: what is left out is as it has it."`
	Type string `json:"type,omitempty" doc:"Of the event; left out: the first that the webhook asks for."`
}

// Preview is the request that a webhook would send, and what is wrong with the webhook.
type Preview struct {
	Type     string       `json:"type" doc:"Of the event that it is shown with."`
	Request  *Request     `json:"request,omitempty" doc:"Absent when it cannot be built."`
	Matches  []string     `json:"matches" doc:"The event types that its patterns match."`
	Errors   []FieldError `json:"errors" doc:"What is wrong with the webhook. The target's address is not looked at."`
	Warnings []string     `json:"warnings" doc:"What is allowed but unwise."`
}

// ReceiverCode is a program that receives and verifies a webhook's requests.
type ReceiverCode struct {
	Language string `json:"language" doc:"Of the program."`
	File     string `json:"file" doc:"The name that the program's file has to have."`
	Code     string `json:"code" doc:"Secrets are read from the environment; none is in it."`
}

// CreateWebhook registers a webhook. With GenerateSigningKey the answer's SigningKey is the only time it is shown.
func (c *Client) CreateWebhook(ctx context.Context, w NewWebhook) (Webhook, error) {
	return c.webhook(ctx, request{method: http.MethodPost, path: "/v1/webhooks", in: w})
}

// Webhooks lists webhooks, oldest first. A page may have few, or none, although there is a next: much was looked at.
func (c *Client) Webhooks(ctx context.Context, q WebhookQuery) (WebhookPage, error) {
	var out WebhookPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/webhooks", query: Values(q), out: &out})
	return out, err
}

// Webhook reads one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	return c.webhook(ctx, request{method: http.MethodGet, path: webhookPath(id)})
}

// UpdateWebhook changes a webhook if it is still the version that etag names; else the *Problem has status 412.
func (c *Client) UpdateWebhook(ctx context.Context, id, etag string, p WebhookPatch) (Webhook, error) {
	return c.webhook(ctx, request{method: http.MethodPatch, path: webhookPath(id), ifMatch: etag, in: p})
}

// DeleteWebhook deletes a webhook; with an etag only if it is still that version. What was delivered stays on record.
func (c *Client) DeleteWebhook(ctx context.Context, id, etag string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: webhookPath(id), ifMatch: etag})
	return err
}

// TestWebhook sends the example of an event type to the webhook now.
func (c *Client) TestWebhook(ctx context.Context, id, eventType string) (TestResult, error) {
	var out TestResult
	in := TestWebhook{eventType}
	_, err := c.do(ctx, request{method: http.MethodPost, path: webhookPath(id) + "/test", in: in, out: &out})
	return out, err
}

// PreviewWebhook shows what a webhook would send. Nothing is written or sent.
func (c *Client) PreviewWebhook(ctx context.Context, w PreviewWebhook) (out Preview, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/webhooks/preview", in: w, out: &out})
	return out, err
}

// ReceiverCode reads a program in a language (go, node, python, java, csharp, php) that receives the webhook's
// requests and verifies them. It never has a key in it.
func (c *Client) ReceiverCode(ctx context.Context, id, language string) (out ReceiverCode, err error) {
	q := url.Values{"language": {language}}
	_, err = c.do(ctx, request{method: http.MethodGet, path: webhookPath(id) + "/receiver", query: q, out: &out})
	return out, err
}

func (c *Client) webhook(ctx context.Context, q request) (Webhook, error) {
	var out Webhook
	q.out = &out
	h, err := c.do(ctx, q)
	if err != nil {
		return Webhook{}, err
	}
	out.ETag = h.Get("ETag")
	return out, nil
}

func webhookPath(id string) string { return "/v1/webhooks/" + url.PathEscape(id) }
