package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	maxName     = 256 // bytes of a name
	maxTenantID = 64
)

type tenantInput struct {
	ID   string `json:"id" pattern:"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"`
	Name string `json:"name,omitempty" maxLength:"256"`
}

type tenantView struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt string `json:"created_at" format:"date-time"`
}

type tenantPage struct {
	Items []tenantView `json:"items" nullable:"false"`
}

type keyInput struct {
	Role    string `json:"role" enum:"publisher,viewer,admin,advisor,operator" doc:"Only an operator makes an operator's key."`
	Name    string `json:"name,omitempty" maxLength:"256"`
	Tenant  string `json:"tenant,omitempty" doc:"For operators: the same as the header X-Tenant."`
	Advisor string `json:"advisor_id,omitempty" doc:"Of role advisor: whose key it is."`
}

type keyView struct {
	ID        string `json:"id" format:"uuid"`
	Tenant    string `json:"tenant,omitempty" doc:"Absent for an operator's key."`
	Role      string `json:"role" enum:"publisher,viewer,admin,advisor,operator"`
	Advisor   string `json:"advisor_id,omitempty" doc:"Of role advisor: whose key it is."`
	Name      string `json:"name,omitempty"`
	CreatedAt string `json:"created_at" format:"date-time"`
	Key       string `json:"key,omitempty" doc:"The API key itself; in the answer to its creation only."`
}

type keyPage struct {
	Items []keyView `json:"items" nullable:"false"`
}

// bodyInput is the input of a call with a body and nothing else.
type bodyInput struct {
	Scope
	RawBody []byte
}

func (a *api) registerDirectory() {
	register(a, operation{
		id: "create-tenant", method: http.MethodPost, path: "/v1/tenants", tag: "Tenants and keys", summary: "Make a tenant",
		status: http.StatusCreated, roles: operators, body: tenantInput{}, errors: []int{http.StatusConflict},
	}, a.createTenant)
	register(a, operation{
		id: "list-tenants", method: http.MethodGet, path: "/v1/tenants", tag: "Tenants and keys", summary: "List all tenants",
		status: http.StatusOK, roles: operators,
	}, a.listTenants)
	register(a, operation{
		id: "create-api-key", method: http.MethodPost, path: "/v1/api-keys", tag: "Tenants and keys", summary: "Make an API key",
		text:   "The answer shows the key, once.",
		status: http.StatusCreated, roles: admins, body: keyInput{}, errors: []int{http.StatusNotFound},
	}, a.createKey)
	register(a, operation{
		id: "list-api-keys", method: http.MethodGet, path: "/v1/api-keys", tag: "Tenants and keys", summary: "List the tenant's API keys",
		text:   "An operator who names no tenant also gets the operators' keys.",
		status: http.StatusOK, roles: admins,
	}, a.listKeys)
	register(a, operation{
		id: "delete-api-key", method: http.MethodDelete, path: "/v1/api-keys/{id}", tag: "Tenants and keys", summary: "Delete an API key",
		text:   "From then on it opens nothing; on other nodes within a second.",
		status: http.StatusNoContent, roles: admins, errors: []int{http.StatusNotFound},
	}, a.deleteKey)
}

func (a *api) createTenant(ctx context.Context, in *bodyInput) (*output[tenantView], error) {
	o, err := parseObject(in.RawBody, "a tenant")
	if err != nil {
		return nil, err
	}
	t := store.Tenant{CreatedAt: a.now()}
	t.ID, _, _ = take[string](o, "id", "a string")
	t.Name = o.name()
	if o.finish(); !tenantID(t.ID) {
		o.v.Add("id", fmt.Sprintf("must have 1 to %d characters of a-z, 0-9 and -, and neither begin nor end with -", maxTenantID))
	}
	if err := o.v.Err(); err != nil {
		return nil, err
	}
	err = a.store.CreateTenant(context.WithoutCancel(ctx), t)
	if errors.Is(err, store.ErrExists) {
		return nil, newProblem(http.StatusConflict, "There is a tenant with this id.")
	} else if err != nil {
		return nil, fmt.Errorf("make tenant %s: %w", t.ID, err)
	}
	a.log.InfoContext(ctx, "tenant made", "tenant", t.ID)
	return &output[tenantView]{tenantView{t.ID, t.Name, formatTime(t.CreatedAt)}}, nil
}

func (a *api) listTenants(ctx context.Context, _ *Scope) (*output[tenantPage], error) {
	list, err := a.store.ListTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	out := tenantPage{Items: make([]tenantView, 0, len(list))}
	for _, t := range list {
		out.Items = append(out.Items, tenantView{t.ID, t.Name, formatTime(t.CreatedAt)})
	}
	return &output[tenantPage]{out}, nil
}

func (a *api) createKey(ctx context.Context, in *bodyInput) (*output[keyView], error) {
	c := callerOf(ctx)
	asked, err := a.readKey(c, in.RawBody)
	if err != nil {
		return nil, err
	}
	if asked.Role == store.Operator {
		asked.Tenant = ""
	} else if err := a.knowTenant(ctx, asked.Tenant); err != nil {
		return nil, err
	}
	plain, k := NewAPIKey(asked.Tenant, asked.Role, asked.Name, a.now())
	k.Advisor = asked.Advisor
	if err := a.store.CreateAPIKey(context.WithoutCancel(ctx), k); err != nil {
		return nil, missing("advisor", err) // a tenant that was found stays
	}
	a.log.InfoContext(ctx, "API key made", "key", k.ID, "role", k.Role, "tenant", k.Tenant)
	v := viewKey(&k)
	v.Key = plain
	return &output[keyView]{v}, nil
}

// readKey reads what an API key is to be; of the result, role, tenant, advisor and name are set.
func (a *api) readKey(c *caller, raw []byte) (k store.APIKey, err error) {
	o, err := parseObject(raw, "an API key")
	if err != nil {
		return k, err
	}
	textMember(o, "role", (*string)(&k.Role))
	textMember(o, "advisor_id", &k.Advisor)
	named, _, _ := take[string](o, "tenant", "a string")
	k.Name = o.name()
	o.finish()
	if (k.Role == store.AdvisorRole) != (k.Advisor != "") {
		o.v.Add("advisor_id", "must be given for the role advisor, and for no other")
	}
	switch k.Role {
	case store.Publisher, store.Viewer, store.Admin, store.AdvisorRole:
	case store.Operator:
		if !c.operator() {
			o.v.Add("role", "must be publisher, viewer, admin or advisor; only an operator makes an operator's key")
		} else if named != "" {
			o.v.Add("tenant", "must be left out; an operator belongs to no tenant")
		}
	default:
		o.v.Add("role", "must be publisher, viewer, admin or advisor, or operator for an operator")
	}
	if err := o.v.Err(); err != nil {
		return k, err
	}
	if k.Tenant = c.tenant; named != "" && named != k.Tenant {
		if !c.operator() || c.named {
			return k, errNotFound("tenant")
		}
		k.Tenant = named
	}
	return k, nil
}

func (a *api) listKeys(ctx context.Context, _ *Scope) (*output[keyPage], error) {
	c := callerOf(ctx)
	keys, err := a.store.ListAPIKeys(ctx, c.tenant)
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	if c.operator() && !c.named {
		own, err := a.store.ListAPIKeys(ctx, "")
		if err != nil {
			return nil, fmt.Errorf("list the operators' API keys: %w", err)
		}
		keys = append(own, keys...)
	}
	out := keyPage{Items: make([]keyView, 0, len(keys))}
	for i := range keys {
		out.Items = append(out.Items, viewKey(&keys[i]))
	}
	return &output[keyPage]{out}, nil
}

func (a *api) deleteKey(ctx context.Context, in *byID) (*None, error) {
	c := callerOf(ctx)
	if _, err := uuid.Parse(in.ID); err != nil {
		return nil, errNotFound("API key")
	}
	write := context.WithoutCancel(ctx)
	err := a.store.DeleteAPIKey(write, c.tenant, in.ID)
	if errors.Is(err, store.ErrNotFound) && c.operator() && !c.named {
		err = a.store.DeleteAPIKey(write, "", in.ID)
	}
	if err != nil {
		return nil, missing("API key", err)
	}
	a.keys.evict(in.ID, a.now())
	a.log.InfoContext(ctx, "API key deleted", "key", in.ID, "tenant", c.tenant)
	return nil, nil
}

// name reads the member name, which is for people.
func (o *object) name() string {
	s, _, _ := take[string](o, "name", "a string")
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		o.v.Add("name", fmt.Sprintf("must have at most %d bytes and no control characters", maxName))
	}
	return s
}

func tenantID(s string) bool {
	return s != "" && len(s) <= maxTenantID && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func viewKey(k *store.APIKey) keyView {
	return keyView{ID: k.ID, Tenant: k.Tenant, Role: string(k.Role), Advisor: k.Advisor, Name: k.Name, CreatedAt: formatTime(k.CreatedAt)}
}
