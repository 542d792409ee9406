package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/quantfolio/qhook/client"
)

type typesPage struct {
	Types []client.EventType
}

func (u *UI) types(v *visit) error {
	list, err := v.c.EventTypes(v.r.Context())
	if err != nil {
		return err
	}
	u.show(v, http.StatusOK, "types", "Catalogue", typesPage{list})
	return nil
}

// publishExample publishes the example of a type, under an ID of its own, and shows the event.
func (u *UI) publishExample(v *visit) error {
	list, err := v.c.EventTypes(v.r.Context())
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.Type != v.r.PostFormValue("type") {
			continue
		}
		e := t.Example
		e.ID, e.Time = "", client.Time{}
		made, err := v.c.Publish(v.r.Context(), e)
		if err != nil {
			return err
		}
		v.redirect(v.base() + "/events/" + url.PathEscape(made.ID))
		return nil
	}
	return &client.Problem{Status: http.StatusNotFound, Detail: "There is no such event type."}
}

type accessPage struct {
	Keys  []client.APIKey
	More  []client.APIKey // links and sign-ins
	New   newAccess
	Gone  bool // what was just made was shown before
	Error string
	Hooks []string
	Names map[string]string
}

// newAccess is a key or a link that was just made; it is shown once.
type newAccess struct {
	Key, Link string
	Until     client.Time // of the link
}

func (u *UI) access(v *visit) error {
	made, gone := answerTo[newAccess](u, v)
	return u.showAccess(v, accessPage{New: made, Gone: gone}, http.StatusOK)
}

func (u *UI) showAccess(v *visit, p accessPage, status int) error {
	var err error
	if p.Keys, err = v.keys(client.KindAPIKey); err != nil {
		return err
	}
	for _, kind := range []string{client.KindLink, client.KindSignIn} {
		more, err := v.keys(kind)
		if err != nil {
			return err
		}
		p.More = append(p.More, more...)
	}
	if p.Hooks, p.Names, err = v.webhookNames(); err != nil {
		return err
	}
	u.show(v, status, "access", "Keys and links", p)
	return nil
}

// keys are all of a kind.
func (v *visit) keys(kind string) ([]client.APIKey, error) {
	return client.All(func(cursor string) (client.Page[client.APIKey], error) {
		return v.c.APIKeys(v.r.Context(), kind, cursor)
	})
}

func (u *UI) createKey(v *visit) error {
	k := client.NewAPIKey{Role: v.r.PostFormValue("role"), Name: v.r.PostFormValue("name")}
	made, err := v.c.CreateAPIKey(v.r.Context(), k)
	if refused, ok := refusal(err); ok {
		return u.showAccess(v, accessPage{Error: sentence(refused)}, refused.Status)
	} else if err != nil {
		return err
	}
	u.answerAt(v, "/access", newAccess{Key: made.Key})
	return nil
}

func (u *UI) deleteKey(v *visit) error {
	if err := v.c.DeleteAPIKey(v.r.Context(), v.r.PostFormValue("id")); err != nil {
		return err
	}
	v.redirect(v.base() + "/access")
	return nil
}

func (u *UI) createLink(v *visit) error {
	l := client.NewLink{Role: v.r.PostFormValue("role"), WebhookID: v.r.PostFormValue("webhook")}
	if d := durationOf(v.r.PostFormValue("expires_in")); d != nil {
		l.ExpiresIn = *d
	}
	made, err := v.c.CreateLink(v.r.Context(), l)
	if refused, ok := refusal(err); ok {
		return u.showAccess(v, accessPage{Error: sentence(refused)}, refused.Status)
	} else if err != nil {
		return err
	}
	base := strings.TrimRight(u.cfg.PublicURL, "/")
	if base == "" && u.overTLS(v.r) {
		base = "https://" + v.r.Host
	} else if base == "" {
		base = "http://" + v.r.Host
	}
	u.answerAt(v, "/access", newAccess{Link: base + made.Path, Until: made.ExpiresAt})
	return nil
}

type tenantsPage struct {
	Tenants []client.Tenant
	Error   string
}

func (u *UI) tenants(v *visit) error { return u.showTenants(v, tenantsPage{}, http.StatusOK) }

func (u *UI) showTenants(v *visit, p tenantsPage, status int) error {
	var err error
	if p.Tenants, err = v.c.Tenants(v.r.Context()); err != nil {
		return err
	}
	u.show(v, status, "tenants", "Tenants", p)
	return nil
}

func (u *UI) createTenant(v *visit) error {
	t := client.NewTenant{ID: v.r.PostFormValue("id"), Name: v.r.PostFormValue("name")}
	_, err := v.c.CreateTenant(v.r.Context(), t)
	return u.changedTenants(v, err, "/t/"+url.PathEscape(t.ID)+"/")
}

// turnTenant ends or restores a tenant.
func (u *UI) turnTenant(v *visit) error {
	id, turn := v.r.PostFormValue("id"), v.c.RestoreTenant
	if v.r.PostFormValue("do") == "end" {
		turn = v.c.EndTenant
	}
	_, err := turn(v.r.Context(), id)
	return u.changedTenants(v, err, v.base()+"/tenants")
}

// changedTenants leads on after a change, or shows what was wrong with it.
func (u *UI) changedTenants(v *visit, err error, to string) error {
	var p *client.Problem
	if errors.As(err, &p) && p.Status < http.StatusInternalServerError && p.Status != http.StatusForbidden {
		return u.showTenants(v, tenantsPage{Error: sentence(p)}, p.Status)
	} else if err != nil {
		return err
	}
	v.redirect(to)
	return nil
}
