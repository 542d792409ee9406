package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Duration is a time.Duration that JSON shows as text, such as "15s" or "12h".
type Duration time.Duration

// MarshalText is the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText takes what time.ParseDuration takes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// The kinds of static authentication.
const (
	AuthNone   = "none"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
	AuthAPIKey = "api_key"
)

// Auth is the static authentication of a webhook's requests. Password, Token and Value can be written and are never read back.
type Auth struct {
	Type     string `json:"type"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
	Header   string `json:"header,omitempty"`
	Value    string `json:"value,omitempty"`
}

// Header is a custom header; its value can be written and is never read back.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// SigningKey is what is shown of a signing key; never the key.
type SigningKey struct {
	ID        string    `json:"id"`
	SwitchAt  time.Time `json:"switch_at,omitzero"`  // from here X-Quantfolio-Signature-256 is made with it
	ExpiresAt time.Time `json:"expires_at,omitzero"` // from here webhook-signature no longer carries it; zero: never
}

// NewWebhook is what a webhook is created with. URL and EventTypes are needed.
type NewWebhook struct {
	URL                string     `json:"url"`
	Method             string     `json:"method,omitempty"` // POST when left out
	EventTypes         []string   `json:"event_types"`
	OwnerID            string     `json:"owner_id,omitempty"`
	Auth               *Auth      `json:"auth,omitempty"`
	Headers            []Header   `json:"headers,omitempty"`
	SigningKey         string     `json:"signing_key,omitempty"`
	GenerateSigningKey bool       `json:"generate_signing_key,omitempty"`
	Description        string     `json:"description,omitempty"`
	Enabled            *bool      `json:"enabled,omitempty"` // nil: true
	Timeout            Duration   `json:"timeout,omitzero"`
	RetrySchedule      []Duration `json:"retry_schedule,omitempty"` // one delay per retry
}

// Webhook is a registration as it is read back.
type Webhook struct {
	ID             string       `json:"id"`
	URL            string       `json:"url"`
	Method         string       `json:"method"`
	EventTypes     []string     `json:"event_types"`
	OwnerID        string       `json:"owner_id,omitempty"`
	Auth           Auth         `json:"auth"`
	Headers        []Header     `json:"headers"`
	SigningKeys    []SigningKey `json:"signing_keys"` // newest first; none: unsigned; two during a rotation
	Description    string       `json:"description,omitempty"`
	Enabled        bool         `json:"enabled"`
	DisabledReason string       `json:"disabled_reason,omitempty"`
	Warnings       []string     `json:"warnings,omitempty"` // what is allowed but unwise
	Timeout        Duration     `json:"timeout"`
	RetrySchedule  []Duration   `json:"retry_schedule"`
	CreatedAt      time.Time    `json:"created_at,omitzero"`
	UpdatedAt      time.Time    `json:"updated_at,omitzero"`
	// SigningKey is there once: in the answer to a create or update that generated it.
	SigningKey string `json:"signing_key,omitempty"`
	// ETag names this version for UpdateWebhook and DeleteWebhook.
	ETag string `json:"-"`
}

// WebhookPatch is a change: fields that are nil stay as they are.
type WebhookPatch struct {
	URL                *string     `json:"url,omitempty"`
	Method             *string     `json:"method,omitempty"`
	EventTypes         *[]string   `json:"event_types,omitempty"`
	OwnerID            *string     `json:"owner_id,omitempty"`
	Auth               *Auth       `json:"auth,omitempty"`
	Headers            *[]Header   `json:"headers,omitempty"`
	SigningKey         *string     `json:"signing_key,omitempty"` // "": unsigned from now on
	GenerateSigningKey *bool       `json:"generate_signing_key,omitempty"`
	SigningKeySwitchAt *time.Time  `json:"signing_key_switch_at,omitempty"` // nil: now
	SigningKeyOverlap  *Duration   `json:"signing_key_overlap,omitempty"`   // nil: 24h
	Description        *string     `json:"description,omitempty"`
	Enabled            *bool       `json:"enabled,omitempty"`
	Timeout            *Duration   `json:"timeout,omitempty"`
	RetrySchedule      *[]Duration `json:"retry_schedule,omitempty"`
}

// WebhookPage is one page of webhooks; Next is empty on the last.
type WebhookPage struct {
	Webhooks []Webhook `json:"items"`
	Next     string    `json:"next,omitempty"`
}

// TestResult is what a test send came to: the attempt, the request and the response in full.
type TestResult struct {
	Attempt  Attempt   `json:"attempt"`
	Request  Request   `json:"request"`
	Response *Response `json:"response,omitempty"` // nil: there was none
}

// PreviewWebhook is a webhook that may be half filled in, and the type of the event to show it with.
type PreviewWebhook struct {
	NewWebhook
	ID   string `json:"id,omitempty"`   // of the webhook that is changed: secrets left out are those that it has
	Type string `json:"type,omitempty"` // default: the first that the webhook asks for
}

// Preview is the request that a webhook would send, and what is wrong with the webhook.
type Preview struct {
	Type     string       `json:"type"`
	Request  *Request     `json:"request,omitempty"` // nil: it cannot be built
	Matches  []string     `json:"matches"`           // the event types that its patterns match
	Errors   []FieldError `json:"errors"`
	Warnings []string     `json:"warnings"`
}

// CreateWebhook registers a webhook. With GenerateSigningKey the answer's SigningKey is the only time it is shown.
func (c *Client) CreateWebhook(ctx context.Context, w NewWebhook) (Webhook, error) {
	return c.webhook(ctx, request{method: http.MethodPost, path: "/v1/webhooks", in: w})
}

// Webhooks lists webhooks, a page from cursor on ("": the first).
func (c *Client) Webhooks(ctx context.Context, cursor string) (WebhookPage, error) {
	var out WebhookPage
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/webhooks", query: page(cursor, 0, time.Time{}, time.Time{}), out: &out})
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
	in := struct {
		Type string `json:"type"`
	}{eventType}
	var out TestResult
	_, err := c.do(ctx, request{method: http.MethodPost, path: webhookPath(id) + "/test", in: in, out: &out})
	return out, err
}

// PreviewWebhook shows what a webhook would send. Nothing is written or sent.
func (c *Client) PreviewWebhook(ctx context.Context, w PreviewWebhook) (out Preview, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/webhooks/preview", in: w, out: &out})
	return out, err
}

// ReceiverCode reads a program in a language (go, node, python, java, csharp, php) that receives the webhook's requests and
// verifies them. It never has a key in it.
func (c *Client) ReceiverCode(ctx context.Context, id, language string) (string, error) {
	var out struct {
		Code string `json:"code"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: webhookPath(id) + "/receiver", query: url.Values{"language": {language}}, out: &out})
	return out.Code, err
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
