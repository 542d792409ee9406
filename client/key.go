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
	ID        string `json:"id" doc:"A short name."`
	Name      string `json:"name" doc:"For people: what it is called."`
	Consent   bool   `json:"consent" doc:"Webhooks are enabled only where their targets consent."`
	CreatedAt Time   `json:"created_at" doc:"When it was made."`
	EndedAt   Time   `json:"ended_at,omitzero" doc:"When it was ended: nothing is taken from it since, and nothing sent for it."`
	DeleteAt  Time   `json:"delete_at,omitzero" doc:"From here on all of it is deleted; until then it can be restored."`

	LimitsMet  []string `json:"limits_met,omitempty" doc:"Limits met at this node within the last hour; in lists."`
	LimitsNear []string `json:"limits_near,omitempty" doc:"Those of which it only used four fifths, likewise."`
}

// NewTenant is what a tenant is created with.
type NewTenant struct {
	ID      string `json:"id" pattern:"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$" doc:"A short name."`
	Name    string `json:"name,omitempty" maxLength:"256" doc:"For people: what it is called."`
	Consent bool   `json:"consent,omitempty" doc:"Webhooks are enabled only where their targets consent."`
}

// TenantPatch is a change of a tenant, a JSON merge patch (RFC 7396): fields that are nil stay as they are.
type TenantPatch struct {
	Name    *string `json:"name,omitempty" maxLength:"256" doc:"For people: what it is called."`
	Consent *bool   `json:"consent,omitempty" doc:"Webhooks are enabled only where their targets consent."`
}

// APIKey is the record of an API key, a link or a sign-in.
type APIKey struct {
	ID        string   `json:"id" format:"uuid" doc:"Its ID."`
	Kind      string   `json:"kind" enum:"api_key,link,sign_in" doc:"An API key, a link or a sign-in."`
	Tenant    string   `json:"tenant,omitempty" doc:"Absent for an operator's key."`
	Role      string   `json:"role" enum:"publisher,viewer,admin,advisor,operator" doc:"What it may do."`
	WebhookID string   `json:"webhook_id,omitempty" doc:"If given, only this webhook."`
	AdvisorID string   `json:"advisor_id,omitempty" doc:"Of role advisor: whose key it is."`
	Name      string   `json:"name,omitempty" doc:"What it is for."`
	CreatedAt Time     `json:"created_at" doc:"When it was made."`
	MadeBy    string   `json:"made_by,omitempty" format:"uuid" doc:"The key that it was made with, and ends with."`
	ExpiresAt Time     `json:"expires_at,omitzero" doc:"When it ends."`
	Networks  []string `json:"networks,omitempty" doc:"If given, it is good from there only."`
	UsedAt    Time     `json:"last_used_at,omitzero" doc:"To the minute."`
	UsedFrom  string   `json:"last_used_from,omitempty" doc:"The address of that use."`
	Key       string   `json:"key,omitempty" doc:"The API key itself; in the answer to its creation only."`
}

// What gives access: API keys, links that sign somebody in once, and the sign-ins.
const (
	KindAPIKey = "api_key"
	KindLink   = "link"
	KindSignIn = "sign_in"
)

// APIKeyChange is what may be changed of an API key, a JSON merge patch: nil fields stay as they are. A zero ExpiresAt
// is no end of its own, no Networks is anywhere; where the key that does it has an end or networks, those count.
type APIKeyChange struct {
	Name      *string    `json:"name,omitempty" maxLength:"256" doc:"For people: what it is called."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"null: never, or with the key that does it."`
	Networks  *[]string  `json:"networks,omitempty" doc:"Prefixes like 192.0.2.0/24 or 2001:db8::/32; empty: anywhere."`
}

// MarshalJSON writes a zero ExpiresAt as null.
func (c APIKeyChange) MarshalJSON() ([]byte, error) {
	type plain APIKeyChange
	if c.ExpiresAt == nil || !c.ExpiresAt.IsZero() {
		return json.Marshal(plain(c))
	}
	return json.Marshal(struct {
		plain
		ExpiresAt *time.Time `json:"expires_at"`
	}{plain: plain(c)})
}

// KeyQuery selects what gives access.
type KeyQuery struct {
	Kind   string `query:"kind" enum:"api_key,link,sign_in" default:"api_key" doc:"What is listed."`
	Cursor string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// NewAPIKey is what an API key is created with. Tenant is for the operator; a tenant's admin makes keys of its own
// tenant.
type NewAPIKey struct {
	Tenant    string    `json:"tenant,omitempty" doc:"For operators: the same as the header X-Tenant."`
	Role      string    `json:"role" enum:"publisher,viewer,admin,advisor,operator" doc:"What it may do."`
	AdvisorID string    `json:"advisor_id,omitempty" doc:"Of role advisor: whose key it is."`
	Name      string    `json:"name,omitempty" maxLength:"256" doc:"What it is for."`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Left out: never, or with the key that makes it."`
	Networks  []string  `json:"networks,omitempty" doc:"Prefixes like 192.0.2.0/24; left out: from anywhere."`
}

// CreateTenant makes a tenant; the operator's key only.
func (c *Client) CreateTenant(ctx context.Context, t NewTenant) (out Tenant, err error) {
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/v1/tenants", in: t, out: &out})
	return out, err
}

// UpdateTenant changes a tenant's name, or whether targets must consent; the operator's key only.
func (c *Client) UpdateTenant(ctx context.Context, id string, p TenantPatch) (out Tenant, err error) {
	_, err = c.do(ctx, request{method: http.MethodPatch, path: "/v1/tenants/" + url.PathEscape(id), in: p, out: &out})
	return out, err
}

// EndTenant ends a tenant: its keys are good for nothing from then on, its webhooks are held, and at DeleteAt all of it
// is deleted. It can be repeated.
func (c *Client) EndTenant(ctx context.Context, id string) (out Tenant, err error) {
	_, err = c.do(ctx, request{method: http.MethodDelete, path: "/v1/tenants/" + url.PathEscape(id), out: &out})
	return out, err
}

// RestoreTenant takes the end of a tenant back, as long as it is not being deleted.
func (c *Client) RestoreTenant(ctx context.Context, id string) (out Tenant, err error) {
	path := "/v1/tenants/" + url.PathEscape(id) + "/restore"
	_, err = c.do(ctx, request{method: http.MethodPost, path: path, out: &out})
	return out, err
}

// Tenants lists all tenants; the operator's key only.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	var out Page[Tenant]
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/tenants", out: &out})
	return out.Items, err
}

// CreateAPIKey makes an API key; the answer's Key is the only time it is shown.
func (c *Client) CreateAPIKey(ctx context.Context, k NewAPIKey) (APIKey, error) {
	var out APIKey
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/api-keys", in: k, out: &out})
	return out, err
}

// APIKeys lists what gives access, of one kind, oldest first, a page from cursor on ("": the first).
func (c *Client) APIKeys(ctx context.Context, kind, cursor string) (out Page[APIKey], err error) {
	q := Values(KeyQuery{Kind: kind, Cursor: cursor})
	_, err = c.do(ctx, request{method: http.MethodGet, path: "/v1/api-keys", query: q, out: &out})
	return out, err
}

// UpdateAPIKey changes an API key.
func (c *Client) UpdateAPIKey(ctx context.Context, id string, change APIKeyChange) (out APIKey, err error) {
	_, err = c.do(ctx, request{method: http.MethodPatch, path: "/v1/api-keys/" + url.PathEscape(id), in: change, out: &out})
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
