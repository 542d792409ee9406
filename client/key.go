package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// The roles of API keys.
const (
	RolePublisher = "publisher" // publish only
	RoleViewer    = "viewer"    // read
	RoleAdmin     = "admin"     // everything of its tenant
	RoleAdvisor   = "advisor"   // one advisor's investors, and nothing else
	RoleOperator  = "operator"  // tenants and keys
)

// Tenant is an advisory firm on the platform.
type Tenant struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	Consent   bool      `json:"consent,omitempty"` // webhooks are enabled only where their targets consent
	CreatedAt time.Time `json:"created_at,omitzero"`

	// Limits that the tenant met within the last hour, and those of which it only used four fifths, at the node that
	// answered; in lists only.
	LimitsMet  []string `json:"limits_met,omitempty"`
	LimitsNear []string `json:"limits_near,omitempty"`
}

// APIKey is the record of an API key. Key is there once: in the answer to the create that made it.
type APIKey struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant,omitempty"`
	Role      string    `json:"role"`
	AdvisorID string    `json:"advisor_id,omitempty"` // role advisor only
	Name      string    `json:"name,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Key       string    `json:"key,omitempty"`

	Kind      string    `json:"kind,omitempty"`       // KindAPIKey, KindLink or KindSignIn
	WebhookID string    `json:"webhook_id,omitempty"` // the one that it is bound to
	MadeBy    string    `json:"made_by,omitempty"`    // ID of the key that it was made with, and ends with
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Networks  []string  `json:"networks,omitempty"` // prefixes, from which it is good; none: from anywhere
	UsedAt    time.Time `json:"last_used_at,omitzero"`
	UsedFrom  string    `json:"last_used_from,omitempty"` // an address
}

// What gives access: API keys, links that sign somebody in once, and the sign-ins.
const (
	KindAPIKey = "api_key"
	KindLink   = "link"
	KindSignIn = "sign_in"
)

// APIKeyChange is what may be changed of an API key; nil fields stay as they are. A zero ExpiresAt is no end of its own, no
// Networks is anywhere; where the key that does it has an end or networks, those count.
type APIKeyChange struct {
	Name      *string    `json:"name,omitempty"`
	ExpiresAt *time.Time `json:"-"`
	Networks  *[]string  `json:"networks,omitempty"`
}

// NewAPIKey is what an API key is created with. Tenant is for the operator; a tenant's admin makes keys of its own tenant.
type NewAPIKey struct {
	Tenant    string `json:"tenant,omitempty"`
	Role      string `json:"role"`
	AdvisorID string `json:"advisor_id,omitempty"` // role advisor only
	Name      string `json:"name,omitempty"`

	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Networks  []string  `json:"networks,omitempty"` // prefixes like 192.0.2.0/24
}

// CreateTenant makes a tenant; the operator's key only. Its CreatedAt is passed over.
func (c *Client) CreateTenant(ctx context.Context, t Tenant) (Tenant, error) {
	var out Tenant
	t.CreatedAt = time.Time{}
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/tenants", in: t, out: &out})
	return out, err
}

// UpdateTenant changes a tenant's name, or whether targets must consent; the operator's key only.
func (c *Client) UpdateTenant(ctx context.Context, id string, p Patch) (out Tenant, err error) {
	_, err = c.do(ctx, request{method: http.MethodPatch, path: "/v1/tenants/" + url.PathEscape(id), in: p, out: &out})
	return out, err
}

// CreateAPIKey makes an API key; the answer's Key is the only time it is shown.
func (c *Client) CreateAPIKey(ctx context.Context, k NewAPIKey) (APIKey, error) {
	var out APIKey
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/api-keys", in: k, out: &out})
	return out, err
}

// APIKeys lists the API keys, oldest first.
func (c *Client) APIKeys(ctx context.Context) ([]APIKey, error) { return c.APIKeysOf(ctx, KindAPIKey) }

// APIKeysOf lists what gives access, of one kind, oldest first.
func (c *Client) APIKeysOf(ctx context.Context, kind string) ([]APIKey, error) {
	var list []APIKey
	query := url.Values{"kind": {kind}, "limit": {"200"}}
	for {
		var page struct {
			Items []APIKey
			Next  string
		}
		_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/api-keys", query: query, out: &page})
		list = append(list, page.Items...)
		if err != nil || page.Next == "" {
			return list, err
		}
		query.Set("cursor", page.Next)
	}
}

// UpdateAPIKey changes an API key.
func (c *Client) UpdateAPIKey(ctx context.Context, id string, change APIKeyChange) (APIKey, error) {
	in := struct {
		APIKeyChange
		ExpiresAt any `json:"expires_at,omitzero"`
	}{APIKeyChange: change}
	if t := change.ExpiresAt; t != nil && t.IsZero() {
		in.ExpiresAt = json.RawMessage("null")
	} else if t != nil {
		in.ExpiresAt = *t
	}
	var out APIKey
	_, err := c.do(ctx, request{method: http.MethodPatch, path: "/v1/api-keys/" + url.PathEscape(id), in: in, out: &out})
	return out, err
}

// DeleteAPIKey ends an API key, a link or a sign-in, and all that was made with it; from then on it opens nothing.
func (c *Client) DeleteAPIKey(ctx context.Context, id string) error { return c.endAPIKey(ctx, id, nil) }

// ReplaceAPIKey ends an API key for which there is another by now: the API keys that were made with it stay.
func (c *Client) ReplaceAPIKey(ctx context.Context, id string) error {
	return c.endAPIKey(ctx, id, url.Values{"keep_keys": {"true"}})
}

func (c *Client) endAPIKey(ctx context.Context, id string, query url.Values) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/api-keys/" + url.PathEscape(id), query: query})
	return err
}
