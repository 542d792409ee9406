package client

import (
	"context"
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
	CreatedAt time.Time `json:"created_at,omitzero"`
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
}

// NewAPIKey is what an API key is created with. Tenant is for the operator; a tenant's admin makes keys of its own tenant.
type NewAPIKey struct {
	Tenant    string `json:"tenant,omitempty"`
	Role      string `json:"role"`
	AdvisorID string `json:"advisor_id,omitempty"` // role advisor only
	Name      string `json:"name,omitempty"`
}

// CreateTenant makes a tenant; the operator's key only. Its CreatedAt is passed over.
func (c *Client) CreateTenant(ctx context.Context, t Tenant) (Tenant, error) {
	var out Tenant
	t.CreatedAt = time.Time{}
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/tenants", in: t, out: &out})
	return out, err
}

// CreateAPIKey makes an API key; the answer's Key is the only time it is shown.
func (c *Client) CreateAPIKey(ctx context.Context, k NewAPIKey) (APIKey, error) {
	var out APIKey
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/api-keys", in: k, out: &out})
	return out, err
}

// APIKeys lists the API keys, oldest first.
func (c *Client) APIKeys(ctx context.Context) ([]APIKey, error) {
	var out struct {
		APIKeys []APIKey `json:"items"`
	}
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/api-keys", out: &out})
	return out.APIKeys, err
}

// DeleteAPIKey deletes an API key; from then on it opens nothing.
func (c *Client) DeleteAPIKey(ctx context.Context, id string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/api-keys/" + url.PathEscape(id)})
	return err
}
