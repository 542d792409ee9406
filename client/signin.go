package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// NewLink is what a sign-in link is made with. Whoever opens it is signed in to the dashboard, once, with no more rights
// than the key that made it.
type NewLink struct {
	Role        string   `json:"role"`                   // viewer or admin; operator for an operator
	WebhookID   string   `json:"webhook_id,omitempty"`   // if set, only this webhook's pages
	ExpiresIn   Duration `json:"expires_in,omitzero"`    // how long the link can be opened; default 15m, at most 24h
	SignedInFor Duration `json:"signed_in_for,omitzero"` // how long the sign-in lasts; default 12h, at most 168h
	Name        string   `json:"name,omitempty"`         // what it is for
}

// Link is a sign-in link. Token is shown this once.
type Link struct {
	Token     string    `json:"token"`
	Path      string    `json:"path"` // on the server: /sign-in?token=…
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// SignedIn is a key of limited life, as a signed-in person's browser has it.
type SignedIn struct {
	Key       string    `json:"key"`
	Role      string    `json:"role"`
	Tenant    string    `json:"tenant,omitempty"`     // empty: an operator
	WebhookID string    `json:"webhook_id,omitempty"` // if set, only this webhook
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Caller is who a key belongs to and what it may do.
type Caller struct {
	Role      string    `json:"role"`
	Tenant    string    `json:"tenant,omitempty"`     // that the call is for
	WebhookID string    `json:"webhook_id,omitempty"` // if set, only this webhook
	AdvisorID string    `json:"advisor_id,omitempty"` // role advisor only
	Name      string    `json:"name,omitempty"`       // of the key
	SignedIn  bool      `json:"signed_in"`            // the key is of a sign-in and ends with it
	ExpiresAt time.Time `json:"expires_at,omitzero"`  // zero: never
	Advisory  bool      `json:"advisory"`             // the server serves the advisory platform
	Version   string    `json:"version"`              // of the server
}

// CreateLink makes a sign-in link for the client's tenant.
func (c *Client) CreateLink(ctx context.Context, l NewLink) (out Link, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/links", in: l, out: &out})
	return out, err
}

// SignIn makes a key of limited life from the client's key, which is an API key or the token of a link. A link's token is
// used up by it.
func (c *Client) SignIn(ctx context.Context) (out SignedIn, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/sign-in", out: &out})
	return out, err
}

// Caller tells who the client's key belongs to.
func (c *Client) Caller(ctx context.Context) (out Caller, err error) {
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/sign-in", out: &out})
	return out, err
}

// SignOut ends the sign-in that the client's key is of.
func (c *Client) SignOut(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/sign-in"})
	return err
}

// Tenants lists all tenants; the operator's key only.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	var out struct {
		Tenants []Tenant `json:"items"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/tenants", query: url.Values{}, out: &out})
	return out.Tenants, err
}
