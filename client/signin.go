package client

import (
	"context"
	"net/http"
)

// NewLink is what a sign-in link is made with. Whoever opens it is signed in to the dashboard, once, with no more
// rights than the key that made it.
type NewLink struct {
	Role        string   `json:"role" enum:"viewer,admin,operator" doc:"operator: by one who names no tenant."`
	WebhookID   string   `json:"webhook_id,omitempty" format:"uuid" doc:"If given, only this webhook."`
	ExpiresIn   Duration `json:"expires_in,omitzero" doc:"How long it can be opened; 15m, at most 24h."`
	SignedInFor Duration `json:"signed_in_for,omitzero" doc:"The life of the sign-in; 12h, at most 168h."`
	Name        string   `json:"name,omitempty" maxLength:"256" doc:"What it is for."`
}

// Link is a sign-in link.
type Link struct {
	Token     string `json:"token" doc:"Shown this once."`
	Path      string `json:"path" doc:"On the server, of the page that the link opens."`
	ExpiresAt Time   `json:"expires_at" doc:"When it ends."`
}

// SignedIn is a key of limited life, as a signed-in person's browser has it.
type SignedIn struct {
	Key       string `json:"key" doc:"To be used like an API key; shown this once."`
	Role      string `json:"role" enum:"publisher,viewer,admin,advisor,operator" doc:"What it may do."`
	Tenant    string `json:"tenant,omitempty" doc:"Absent for an operator."`
	WebhookID string `json:"webhook_id,omitempty" doc:"If given, only this webhook."`
	ExpiresAt Time   `json:"expires_at" doc:"When it ends."`
}

// Caller is who a key belongs to and what it may do.
type Caller struct {
	Role      string `json:"role" enum:"publisher,viewer,admin,advisor,operator" doc:"What it may do."`
	Tenant    string `json:"tenant" doc:"That the call is for."`
	WebhookID string `json:"webhook_id,omitempty" doc:"If given, only this webhook."`
	AdvisorID string `json:"advisor_id,omitempty" doc:"Of role advisor: whose key it is."`
	Name      string `json:"name,omitempty" doc:"Of the key."`
	SignedIn  bool   `json:"signed_in" doc:"The key is of a sign-in, and ends with it."`
	ExpiresAt Time   `json:"expires_at,omitzero" doc:"Absent: never."`
	Advisory  bool   `json:"advisory" doc:"The advisory platform is served."`
	Version   string `json:"version" doc:"Of the server."`
}

// CreateLink makes a sign-in link for the client's tenant.
func (c *Client) CreateLink(ctx context.Context, l NewLink) (out Link, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/links", in: l, out: &out})
	return out, err
}

// SignIn makes a key of limited life from the client's key, which is an API key or the token of a link. A link's token
// is used up by it.
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
