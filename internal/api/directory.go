package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

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
	// The limits are in the list only.
	LimitsMet  []string `json:"limits_met,omitempty" doc:"Limits that the tenant met at this node within the last hour."`
	LimitsNear []string `json:"limits_near,omitempty" doc:"Limits of which it only used four fifths, likewise."`
}

type tenantPage struct {
	Items []tenantView `json:"items" nullable:"false"`
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
	a.registerKeys()
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
	return &output[tenantView]{tenantView{ID: t.ID, Name: t.Name, CreatedAt: formatTime(t.CreatedAt)}}, nil
}

func (a *api) listTenants(ctx context.Context, _ *Scope) (*output[tenantPage], error) {
	list, err := a.store.ListTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	out := tenantPage{Items: make([]tenantView, 0, len(list))}
	for _, t := range list {
		met, near := a.limits.lately(t.ID, a.clock())
		out.Items = append(out.Items, tenantView{t.ID, t.Name, formatTime(t.CreatedAt), met, near})
	}
	return &output[tenantPage]{out}, nil
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
