package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	maxName     = 256 // bytes of a name
	maxTenantID = 64
)

type tenantChange struct {
	Scope
	ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
	RawBody []byte
}

// bodyInput is the input of a call with a body and nothing else.
type bodyInput struct {
	Scope
	RawBody []byte
}

func (a *api) registerDirectory() {
	register(a, operation{
		id: "create-tenant", method: http.MethodPost, path: "/v1/tenants", tag: "Tenants and keys",
		summary: "Make a tenant",
		status:  http.StatusCreated, roles: operators, body: client.NewTenant{}, errors: []int{http.StatusConflict},
	}, a.createTenant)
	register(a, operation{
		id: "update-tenant", method: http.MethodPatch, path: "/v1/tenants/{id}", tag: "Tenants and keys",
		summary: "Change a tenant",
		text:    "A JSON merge patch: what is left out stays as it is, null is the default.",
		status:  http.StatusOK, roles: operators, body: client.TenantPatch{}, errors: []int{http.StatusNotFound},
	}, a.updateTenant)
	register(a, operation{
		id: "list-tenants", method: http.MethodGet, path: "/v1/tenants", tag: "Tenants and keys",
		summary: "List all tenants",
		status:  http.StatusOK, roles: operators,
	}, a.listTenants)
	a.registerTenantEnd()
	a.registerExport()
	a.registerKeys()
}

func (a *api) createTenant(ctx context.Context, in *createInput) (*output[client.Tenant], error) {
	return makeOnce(ctx, a, in, "tenant", func(string) (*output[client.Tenant], error) {
		// The tenant's ID is the caller's, so that the body has it: the request is the same.
		var asked client.NewTenant
		if err := json.Unmarshal(in.RawBody, &asked); err != nil {
			return nil, fmt.Errorf("read a tenant: %w", err)
		}
		t, err := a.store.TenantByID(ctx, asked.ID)
		return &output[client.Tenant]{viewTenant(t)}, err
	}, func(m making) (*output[client.Tenant], error) { return a.makeTenant(ctx, in.RawBody, m) })
}

func (a *api) makeTenant(ctx context.Context, raw []byte, m making) (*output[client.Tenant], error) {
	o, err := parseObject(raw, "a tenant")
	if err != nil {
		return nil, err
	}
	t := store.Tenant{CreatedAt: a.now()}
	t.ID, _, _ = take[string](o, "id", "a string")
	a.mergeTenant(o, &t)
	if o.finish(); !tenantID(t.ID) {
		o.v.Add("id", fmt.Sprintf("must have 1 to %d characters of a-z, 0-9 and -, and neither begin nor end with -", maxTenantID))
	}
	if err := o.v.Err(); err != nil {
		return nil, err
	}
	if _, err = a.store.TenantByID(ctx, t.ID); err == nil {
		err = store.ErrExists // another's, which the key must not stand for
	} else if errors.Is(err, store.ErrNotFound) {
		if err = m.reserve(); err != nil {
			return nil, err
		}
		err = a.store.CreateTenant(context.WithoutCancel(ctx), t)
	}
	if errors.Is(err, store.ErrExists) {
		return nil, newProblem(http.StatusConflict, "There is a tenant with this id.")
	} else if err != nil {
		return nil, fmt.Errorf("make tenant %s: %w", t.ID, err)
	}
	a.log.InfoContext(ctx, "tenant made", "tenant", t.ID)
	return &output[client.Tenant]{viewTenant(t)}, nil
}

func (a *api) updateTenant(ctx context.Context, in *tenantChange) (*output[client.Tenant], error) {
	o, err := parseObject(in.RawBody, "a tenant")
	if err != nil {
		return nil, err
	}
	t, err := a.store.TenantByID(ctx, in.ID)
	if err != nil {
		return nil, missing("tenant", err)
	}
	a.mergeTenant(o, &t)
	o.finish()
	if err := o.v.Err(); err != nil {
		return nil, err
	}
	if err := a.store.UpdateTenant(context.WithoutCancel(ctx), t); err != nil {
		return nil, missing("tenant", err)
	}
	a.log.InfoContext(ctx, "tenant changed", "tenant", t.ID, "consent", t.Consent, "by", callerOf(ctx).key.ID)
	return &output[client.Tenant]{viewTenant(t)}, nil
}

// mergeTenant takes what a body says of a tenant.
func (a *api) mergeTenant(o *object, t *store.Tenant) {
	if _, given := o.members["name"]; given {
		t.Name = o.name()
	}
	if on, given, _ := take[bool](o, "consent", "true or false"); given {
		if t.Consent = on; on && a.sender == "" {
			o.v.Add("consent", "needs the name under which this server sends: the operator's --public-url")
		}
	}
}

func viewTenant(t store.Tenant) client.Tenant {
	return client.Tenant{ID: t.ID, Name: t.Name, Consent: t.Consent, CreatedAt: client.At(t.CreatedAt),
		EndedAt: client.At(t.EndedAt), DeleteAt: client.At(t.DeleteAt)}
}

func (a *api) listTenants(ctx context.Context, _ *Scope) (*output[client.Page[client.Tenant]], error) {
	list, err := a.store.ListTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	out := client.Page[client.Tenant]{Items: make([]client.Tenant, 0, len(list))}
	for _, t := range list {
		v := viewTenant(t)
		v.LimitsMet, v.LimitsNear = a.limits.lately(t.ID, a.clock())
		out.Items = append(out.Items, v)
	}
	return &output[client.Page[client.Tenant]]{out}, nil
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
