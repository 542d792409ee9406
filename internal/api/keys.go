package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// freshSignIn is how long after signing in an operator may make and change keys.
const freshSignIn = 10 * time.Minute

type listKeysInput struct {
	Scope
	client.KeyQuery
}

type deleteKeyInput struct {
	Scope
	ID       string `path:"id" maxLength:"64" doc:"Of what the path names."`
	KeepKeys bool   `query:"keep_keys" doc:"The API keys that were made with it stay."`
}

type changeKeyInput struct {
	Scope
	ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
	RawBody []byte
}

func (a *api) registerKeys() {
	const tag, one = "Tenants and keys", "/v1/api-keys/{id}"
	register(a, operation{
		id: "create-api-key", method: http.MethodPost, path: "/v1/api-keys", tag: tag, summary: "Make an API key",
		text: "The answer shows the key, once. It neither exceeds nor outlives the key that makes it. Not with a sign-in, " +
			"but for an operator within 10 minutes after signing in.",
		status: http.StatusCreated, roles: admins, body: client.NewAPIKey{},
		errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
	}, a.createKey)
	register(a, operation{
		id: "list-api-keys", method: http.MethodGet, path: "/v1/api-keys", tag: tag,
		summary: "List the tenant's API keys, links or sign-ins",
		text:    "Oldest first. An operator who names no tenant gets the operators' keys before them.",
		status:  http.StatusOK, roles: admins, errors: []int{http.StatusBadRequest},
	}, a.listKeys)
	register(a, operation{
		id: "update-api-key", method: http.MethodPatch, path: one, tag: tag, summary: "Change an API key",
		text: "A JSON merge patch of its name, end and networks. Not with a sign-in, but for an operator within 10 minutes " +
			"after signing in.",
		status: http.StatusOK, roles: admins, body: client.APIKeyChange{}, errors: []int{http.StatusNotFound},
	}, a.updateKey)
	register(a, operation{
		id: "delete-api-key", method: http.MethodDelete, path: one, tag: tag,
		summary: "End an API key, a link or a sign-in",
		text: "And all that was made with it. From then on it opens nothing; within a second nowhere, and streams that it " +
			"opened end.",
		status: http.StatusNoContent, roles: admins, errors: []int{http.StatusNotFound},
	}, a.deleteKey)
}

// mayMint fails unless the caller may make and change keys: what a stolen sign-in could make would outlive it.
func (a *api) mayMint(c *caller) error {
	if c.key.Kind != store.KindSignIn || c.operator() && a.now().Sub(c.key.CreatedAt) <= freshSignIn {
		return nil
	}
	return newProblem(http.StatusForbidden,
		"API keys are made and changed with an API key, or by an operator within 10 minutes "+
			"after signing in. Call the API with an API key, or sign in anew.")
}

func (a *api) createKey(ctx context.Context, in *createInput) (*output[client.APIKey], error) {
	if err := a.mayMint(callerOf(ctx)); err != nil {
		return nil, err
	}
	return makeOnce(ctx, a, in, "API key", func(id string) (*output[client.APIKey], error) {
		k, err := a.store.APIKeyByID(ctx, id)
		return &output[client.APIKey]{viewKey(&k)}, err
	}, func(m making) (*output[client.APIKey], error) { return a.makeKey(ctx, in.RawBody, m) })
}

func (a *api) makeKey(ctx context.Context, raw []byte, m making) (*output[client.APIKey], error) {
	c := callerOf(ctx)
	asked, err := a.readKey(c, raw)
	if err != nil {
		return nil, err
	}
	if asked.Role == store.Operator {
		asked.Tenant = ""
	} else if ended, err := a.knowTenant(ctx, asked.Tenant); err != nil {
		return nil, err
	} else if ended {
		return nil, errEnded(asked.Tenant)
	}
	if err := a.fewer(ctx, asked.Tenant, store.KindAPIKey, "keys", a.limits.of.Keys); err != nil {
		return nil, err
	}
	plain, k := NewAPIKey(asked.Tenant, asked.Role, asked.Name, a.now())
	k.ID, k.Maker = m.id, c.parent()
	k.Advisor, k.ExpiresAt, k.Networks = asked.Advisor, asked.ExpiresAt, asked.Networks
	if err := m.reserve(); err != nil {
		return nil, err
	}
	if err := a.store.CreateAPIKey(context.WithoutCancel(ctx), k); err != nil {
		return nil, missing("advisor", err) // a tenant that was found stays
	}
	a.log.InfoContext(ctx, "API key made", "key", k.ID, "role", k.Role, "tenant", k.Tenant, "by", c.key.ID)
	v := viewKey(&k)
	v.Key = plain
	return &output[client.APIKey]{v}, nil
}

// fewer fails when a tenant has as many keys of a kind as it may.
func (a *api) fewer(ctx context.Context, tenant string, kind store.KeyKind, name string, most int) error {
	if most == 0 {
		return nil
	}
	n, err := a.store.CountAPIKeys(ctx, tenant, kind)
	if err != nil {
		return fmt.Errorf("count the %s: %w", name, err)
	}
	return a.limits.counted(tenant, name, n, most, a.clock())
}

// readKey reads what an API key is to be; of the result, all but the ID and the hash are set.
func (a *api) readKey(c *caller, raw []byte) (k store.APIKey, err error) {
	o, err := parseObject(raw, "an API key")
	if err != nil {
		return k, err
	}
	textMember(o, "role", (*string)(&k.Role))
	textMember(o, "advisor_id", &k.Advisor)
	named, _, _ := take[string](o, "tenant", "a string")
	k.ExpiresAt, k.Networks = c.key.ExpiresAt, c.key.Networks
	if c.key.Kind == store.KindSignIn { // the key of an operator who has just signed in does not end with that
		k.ExpiresAt = time.Time{}
	}
	a.readKeyChange(o, c, &k)
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

// readKeyChange reads what may be changed of a key; it exceeds the caller's own key in nothing.
func (a *api) readKeyChange(o *object, c *caller, k *store.APIKey) {
	if _, given := o.members["name"]; given {
		k.Name = o.name()
	}
	own := c.key.ExpiresAt
	if c.key.Kind == store.KindSignIn {
		own = time.Time{}
	}
	if s, given, null := take[string](o, "expires_at", "a time"); given {
		t, err := time.Parse(time.RFC3339, s)
		switch {
		case null:
			k.ExpiresAt = own
		case err != nil || !t.After(a.now()):
			o.v.Add("expires_at", "must be an RFC 3339 time to come, such as 2030-01-31T00:00:00Z")
		case !own.IsZero() && t.After(own):
			o.v.Add("expires_at", "must not be after "+event.FormatTime(own)+", when the key ends that this is done with")
		default:
			k.ExpiresAt = t.UTC().Truncate(time.Millisecond)
		}
	}
	list, given, null := take[[]string](o, "networks", "a list of prefixes such as 192.0.2.0/24")
	switch {
	case null || given && len(list) == 0:
		k.Networks = c.key.Networks
	case given:
		n, err := parseNetworks(list)
		if err != nil {
			o.v.Add("networks", err.Error())
		} else if !n.within(networksOf(c.key.Networks)) {
			o.v.Add("networks", "must be within those of the key that this is done with: "+c.key.Networks)
		}
		k.Networks = n.String()
	}
}

var kinds = map[string]store.KeyKind{"": store.KindAPIKey, "api_key": store.KindAPIKey, "link": store.KindLink,
	"sign_in": store.KindSignIn}

func (a *api) listKeys(ctx context.Context, in *listKeysInput) (*output[client.Page[client.APIKey]], error) {
	c := callerOf(ctx)
	lists := []string{c.tenant}
	if c.operator() && !c.named {
		lists = []string{"", c.tenant}
	}
	hash := listHash("keys", c.tenant, in.KeyQuery, strconv.Itoa(len(lists)))
	from, err := decodeCursor(hash, in.Cursor)
	if err != nil || from.second%2 >= int64(len(lists)) {
		return nil, cmp.Or(err, errCursor())
	}
	// A cursor has the time of the page's last key, how many of that time came, and which list it is of.
	at, skip, out := time.UnixMilli(from.first), int(from.second/2), client.Page[client.APIKey]{Items: []client.APIKey{}}
	for i := int(from.second % 2); i < len(lists); i++ {
		room := in.Limit - len(out.Items)
		keys, err := a.store.ListAPIKeys(ctx, lists[i], kinds[in.Kind], at, skip, room+1)
		if err != nil {
			return nil, fmt.Errorf("list API keys: %w", err)
		}
		for k := range keys[:min(room, len(keys))] {
			if !keys[k].CreatedAt.Equal(at) {
				at, skip = keys[k].CreatedAt, 0
			}
			skip++
			if keys[k].Kind == store.KindAPIKey || !keys[k].Expired(a.now()) {
				out.Items = append(out.Items, viewKey(&keys[k]))
			}
		}
		if len(keys) > room {
			out.Next = encodeCursor(hash, cursor{first: max(1, at.UnixMilli()), second: int64(skip)*2 + int64(i)})
			break
		}
		at, skip = time.UnixMilli(1), 0
	}
	return &output[client.Page[client.APIKey]]{out}, nil
}

func (a *api) updateKey(ctx context.Context, in *changeKeyInput) (*output[client.APIKey], error) {
	c := callerOf(ctx)
	if err := a.mayMint(c); err != nil {
		return nil, err
	}
	o, err := parseObject(in.RawBody, "an API key")
	if err != nil {
		return nil, err
	}
	k, err := a.keyByID(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	a.readKeyChange(o, c, &k)
	o.finish()
	if err := o.v.Err(); err != nil {
		return nil, err
	}
	if err := a.store.UpdateAPIKey(context.WithoutCancel(ctx), k); err != nil {
		return nil, missing("API key", err)
	}
	a.keys.forget(a.clock()) // what was made with it, too
	a.log.InfoContext(ctx, "API key changed", "key", k.ID, "tenant", k.Tenant, "by", c.key.ID)
	return &output[client.APIKey]{viewKey(&k)}, nil
}

// keyByID finds an API key that the caller may change.
func (a *api) keyByID(ctx context.Context, c *caller, id string) (store.APIKey, error) {
	k, err := a.store.APIKeyByID(ctx, id)
	if err == nil && (k.Kind != store.KindAPIKey || k.Tenant != c.tenant && (k.Tenant != "" || !c.operator() || c.named)) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.APIKey{}, missing("API key", err)
	}
	return k, nil
}

func (a *api) deleteKey(ctx context.Context, in *deleteKeyInput) (*None, error) {
	c := callerOf(ctx)
	if _, err := uuid.Parse(in.ID); err != nil {
		return nil, errNotFound("API key")
	}
	write := context.WithoutCancel(ctx)
	err := a.store.DeleteAPIKey(write, c.tenant, in.ID, in.KeepKeys)
	if errors.Is(err, store.ErrNotFound) && c.operator() && !c.named {
		err = a.store.DeleteAPIKey(write, "", in.ID, in.KeepKeys)
	}
	if err != nil {
		return nil, missing("API key", err)
	}
	a.keys.forget(a.clock()) // what was made with it, too
	a.log.InfoContext(ctx, "API key ended", "key", in.ID, "tenant", c.tenant, "by", c.key.ID, "keep_keys", in.KeepKeys)
	return nil, nil
}

func viewKey(k *store.APIKey) client.APIKey {
	kind := client.KindAPIKey
	if k.Kind != store.KindAPIKey {
		kind = string(k.Kind)
	}
	return client.APIKey{
		ID: k.ID, Kind: kind, Tenant: k.Tenant, Role: string(k.Role), WebhookID: k.Webhook, AdvisorID: k.Advisor, Name: k.Name,
		CreatedAt: client.At(k.CreatedAt), MadeBy: k.Maker, ExpiresAt: client.At(k.ExpiresAt), Networks: networksOf(k.Networks).list(),
		UsedAt: client.At(k.UsedAt), UsedFrom: k.UsedFrom,
	}
}
