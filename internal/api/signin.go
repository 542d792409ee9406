package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
)

// Lives of links and sign-ins.
const (
	linkLife, maxLinkLife     = 15 * time.Minute, 24 * time.Hour
	signInLife, maxSignInLife = 12 * time.Hour, 7 * 24 * time.Hour
)

// everyone is every role that can sign in; a publisher's key can only publish.
var everyone = []store.Role{store.Viewer, store.Admin, store.AdvisorRole}

func (a *api) registerSignIn() {
	const tag = "Sign-in"
	register(a, operation{
		id: "create-link", method: http.MethodPost, path: "/v1/links", tag: tag,
		summary: "Make a link that signs somebody in to the dashboard, once",
		status:  http.StatusCreated, roles: admins, toBound: true, body: client.NewLink{},
		errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
	}, a.createLink)
	register(a, operation{
		id: "sign-in", method: http.MethodPost, path: "/v1/sign-in", tag: tag,
		summary: "Make a key of limited life from an API key or a link's token",
		text:    "The API key, or the token, is the bearer. A token is used up by it. The key ends with the API key that it or its link was made with.",
		status:  http.StatusCreated, roles: everyone, toBound: true, errors: []int{http.StatusTooManyRequests},
	}, a.signIn)
	register(a, operation{
		id: "get-sign-in", method: http.MethodGet, path: "/v1/sign-in", tag: tag,
		summary: "Who calls, and what they may do",
		status:  http.StatusOK, roles: everyone, toBound: true,
	}, a.getSignIn)
	register(a, operation{
		id: "sign-out", method: http.MethodDelete, path: "/v1/sign-in", tag: tag,
		summary: "End the sign-in that the key is of",
		status:  http.StatusNoContent, roles: everyone, toBound: true,
	}, a.signOut)
}

func (a *api) createLink(ctx context.Context, in *createInput) (*output[client.Link], error) {
	return makeOnce(ctx, a, in, "link", func(string) (*output[client.Link], error) {
		return nil, newProblem(http.StatusConflict,
			"The link was made already, and its token is shown once. Make another with a new "+
				"Idempotency-Key.")
	}, func(m making) (*output[client.Link], error) { return a.makeLink(ctx, in.RawBody, m) })
}

func (a *api) makeLink(ctx context.Context, raw []byte, m making) (*output[client.Link], error) {
	c := callerOf(ctx)
	k, life, err := a.readLink(ctx, c, raw)
	if err != nil {
		return nil, err
	}
	if err := a.fewer(ctx, k.Tenant, store.KindLink, "links", a.limits.of.Links); err != nil {
		return nil, err
	}
	plain, made := NewLink(c.parent(), k, life, a.now())
	made.ID, made.Maker, made.Networks, made.EndsAt = m.id, c.key.ID, c.key.Networks, c.key.ExpiresAt
	made.ExpiresAt = earlier(made.ExpiresAt, made.EndsAt)
	if err := m.reserve(); err != nil {
		return nil, err
	}
	if err := a.store.CreateAPIKey(context.WithoutCancel(ctx), made); errors.Is(err, store.ErrNotFound) {
		return nil, errUnauthorized("The API key was deleted.")
	} else if err != nil {
		return nil, fmt.Errorf("write a link: %w", err)
	}
	a.log.InfoContext(ctx, "sign-in link made", "link", made.ID, "role", made.Role, "tenant", made.Tenant,
		"webhook", made.Webhook)
	return &output[client.Link]{client.Link{Token: plain, Path: LinkPath(plain),
		ExpiresAt: client.At(made.ExpiresAt)}}, nil
}

// readLink reads what a link is to be: of the key, role, tenant, webhook, name and the life of the sign-in are set.
func (a *api) readLink(ctx context.Context, c *caller, raw []byte) (k store.APIKey, life time.Duration, err error) {
	o, err := parseObject(raw, "a link")
	if err != nil {
		return k, 0, err
	}
	textMember(o, "role", (*string)(&k.Role))
	textMember(o, "webhook_id", &k.Webhook)
	k.Name = o.name()
	life = lifeOf(o, "expires_in", linkLife, maxLinkLife)
	k.SignedInFor = lifeOf(o, "signed_in_for", signInLife, maxSignInLife)
	o.finish()
	k.Tenant = c.tenant
	switch {
	case k.Role == store.Viewer || k.Role == store.Admin:
	case k.Role == store.Operator && c.operator() && !c.named:
		if k.Tenant = ""; k.Webhook != "" {
			o.v.Add("webhook_id", "must be left out for an operator, who sees all webhooks")
		}
	default:
		o.v.Add("role", "must be viewer or admin, or operator for an operator who names no tenant")
	}
	if c.key.Webhook != "" && k.Webhook == "" {
		k.Webhook = c.key.Webhook
	}
	if err := o.v.Err(); err != nil {
		return k, 0, err
	}
	if k.Webhook == "" {
		return k, life, nil
	}
	if !c.sees(k.Webhook) {
		return k, 0, errNotFound("webhook")
	}
	if _, err := a.store.WebhookByID(ctx, c.tenant, k.Webhook); err != nil {
		return k, 0, missing("webhook", err)
	}
	return k, life, nil
}

// lifeOf reads how long something lives.
func lifeOf(o *object, name string, otherwise, most time.Duration) time.Duration {
	s, given, null := take[string](o, name, "a duration such as 15m")
	if !given || null {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > most {
		o.v.Add(name, "must be a duration from 1s to "+client.Duration(most).String())
	}
	return d.Truncate(time.Millisecond)
}

// earlier is the earlier of two times, of which the second may be none.
func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// NewLink makes the token and the record of a link; of k, role, tenant, webhook, name and the life of the sign-in
// count. parent is the API key that it comes from.
func NewLink(parent string, k store.APIKey, life time.Duration, now time.Time) (token string, link store.APIKey) {
	token, link = NewAPIKey(k.Tenant, k.Role, k.Name, now)
	link.Kind, link.Parent, link.Webhook, link.SignedInFor = store.KindLink, parent, k.Webhook, k.SignedInFor
	link.ExpiresAt = link.CreatedAt.Add(life)
	return token, link
}

// FirstLink makes the link that an operator signs in with after the first start: it can be opened for a day.
func FirstLink(parent string, now time.Time) (token string, link store.APIKey) {
	return NewLink(parent, store.APIKey{Role: store.Operator, Name: "first start", SignedInFor: signInLife},
		maxLinkLife, now)
}

// LinkPath is the page that a link opens.
func LinkPath(token string) string { return "/sign-in?token=" + token }

func (a *api) signIn(ctx context.Context, _ *Scope) (*output[client.SignedIn], error) {
	c := callerOf(ctx)
	life, maker, ends := signInLife, c.key.ID, c.key.ExpiresAt
	write := context.WithoutCancel(ctx)
	if c.key.Tenant != "" {
		if err := a.fewer(ctx, c.key.Tenant, store.KindSignIn, "sign-ins", a.limits.of.SignIns); err != nil {
			return nil, err
		}
	}
	switch c.key.Kind {
	case store.KindSignIn:
		return nil, newProblem(http.StatusForbidden, "Sign in with an API key or a link; this key is of a sign-in.")
	case store.KindLink:
		life, maker, ends = c.key.SignedInFor, c.key.Maker, c.key.EndsAt
		if err := a.store.DeleteAPIKey(write, c.key.Tenant, c.key.ID, true); errors.Is(err, store.ErrNotFound) {
			return nil, errUnauthorized("This link was used before.")
		} else if err != nil {
			return nil, fmt.Errorf("use a link: %w", err)
		}
		a.keys.forget(a.clock())
	}
	plain, k := NewAPIKey(c.key.Tenant, c.key.Role, c.key.Name, a.now())
	k.Kind, k.Parent, k.Webhook, k.Advisor = store.KindSignIn, c.parent(), c.key.Webhook, c.key.Advisor
	k.Maker, k.Networks = maker, c.key.Networks
	k.ExpiresAt = earlier(k.CreatedAt.Add(life), ends)
	if err := a.store.CreateAPIKey(write, k); errors.Is(err, store.ErrNotFound) {
		return nil, errUnauthorized("The API key was deleted.")
	} else if err != nil {
		return nil, fmt.Errorf("write a sign-in: %w", err)
	}
	a.uses.note(c.parent(), c.remote, a.clock())
	a.log.InfoContext(ctx, "signed in", "sign_in", k.ID, "by", c.key.ID, "role", k.Role, "tenant", k.Tenant)
	return &output[client.SignedIn]{client.SignedIn{Key: plain, Role: string(k.Role), Tenant: k.Tenant,
		WebhookID: k.Webhook,
		ExpiresAt: client.At(k.ExpiresAt)}}, nil
}

func (a *api) getSignIn(ctx context.Context, _ *Scope) (*output[client.Caller], error) {
	c := callerOf(ctx)
	return &output[client.Caller]{client.Caller{
		Role: string(c.key.Role), Tenant: c.tenant, WebhookID: c.key.Webhook, AdvisorID: c.key.Advisor, Name: c.key.Name,
		SignedIn: c.key.Kind == store.KindSignIn, ExpiresAt: client.At(c.key.ExpiresAt), Advisory: a.advisory != nil, Version: a.version,
	}}, nil
}

func (a *api) signOut(ctx context.Context, _ *Scope) (*None, error) {
	c := callerOf(ctx)
	if c.key.Kind != store.KindSignIn {
		return nil, newProblem(http.StatusForbidden,
			"This is an API key and no sign-in. Delete it if it is not to be used any more.")
	}
	err := a.store.DeleteAPIKey(context.WithoutCancel(ctx), c.key.Tenant, c.key.ID, true)
	a.keys.forget(a.clock()) // what was made with it, too
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("end a sign-in: %w", err)
	}
	a.log.InfoContext(ctx, "signed out", "sign_in", c.key.ID)
	return nil, nil
}
