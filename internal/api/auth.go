package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	// DefaultTenant is the tenant that an operator acts for who names none.
	DefaultTenant = "default"
	// TenantHeader is the header in which an operator names the tenant.
	TenantHeader = "X-Tenant"

	// An ended key is good for nothing within a second, on every node: requests believe what was looked up for keyLife,
	// and streams look every keyCheck.
	keyLife    = 700 * time.Millisecond
	keyCheck   = 250 * time.Millisecond
	keyKnown   = time.Hour // after a look-up, for which a key is no guess, at least
	maxKeyText = 512       // bytes of an API key that are looked at
)

// caller is who calls, and for which tenant.
type caller struct {
	key    store.APIKey
	remote string // the address that the request comes from, as in http.Request.RemoteAddr
	tenant string
	named  bool // the operator named the tenant
	ended  bool // the tenant has ended: the operator may read what it has
}

// sees tells whether the caller may see the webhook; only a key that is bound to one may not see all of its tenant.
func (c *caller) sees(webhook string) bool { return c.key.Webhook == "" || c.key.Webhook == webhook }

// parent is the ID of the API key that the caller's key is, or comes from.
func (c *caller) parent() string {
	if c.key.Parent != "" {
		return c.key.Parent
	}
	return c.key.ID
}

func (c *caller) operator() bool { return c.key.Role == store.Operator }

// may tells whether the caller has one of the roles; the operator has all.
func (c *caller) may(roles []store.Role) bool {
	return c.operator() || slices.Contains(roles, c.key.Role)
}

// The roles of the operations; the operator is in each.
var (
	publishers = []store.Role{store.Publisher, store.Admin}
	readers    = []store.Role{store.Viewer, store.Admin}
	admins     = []store.Role{store.Admin}
	operators  = []store.Role{}
	anyone     = []store.Role{store.Publisher, store.Viewer, store.Admin, store.AdvisorRole}
)

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is the caller of a request below /v1; there always is one.
func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

func errUnauthorized(detail string) error {
	return newProblem(http.StatusUnauthorized, detail).with("Www-Authenticate", "Bearer")
}

// errForbidden is the answer to a key whose role is none of those that may make the call.
func errForbidden(role store.Role, may []store.Role) error {
	names := []string{string(store.Operator)}
	for _, r := range may {
		names = append(names, string(r))
	}
	slices.Sort(names)
	return newProblem(http.StatusForbidden,
		"An API key of the role "+string(role)+" may not do this; it takes the role "+
			strings.Join(names, " or ")+".")
}

// authenticate finds out who calls, and for which tenant. It writes to c.
func (a *api) authenticate(r *http.Request, c *caller) error {
	auth := r.Header["Authorization"]
	if len(auth) != 1 {
		return errUnauthorized("Send one header of the form Authorization: Bearer <API key>.")
	}
	scheme, text, ok := strings.Cut(auth[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || text == "" || len(text) > maxKeyText {
		return errUnauthorized("Send a header of the form Authorization: Bearer <API key>.")
	}
	opens := r.Method == http.MethodPost && r.URL.Path == "/v1/sign-in"
	if err := a.admit(r.Context(), c, text, r.RemoteAddr, opens); err != nil {
		return err
	}
	tenant, err := tenantOf(r)
	if err != nil {
		return err
	}
	return a.chooseTenant(r.Context(), c, tenant)
}

// admit finds out whose key it is, and whether it is good for a call from an address, as in http.Request.RemoteAddr;
// opens: the call is one for which a link is good. It writes to c.
func (a *api) admit(ctx context.Context, c *caller, text, remote string, opens bool) error {
	key, err := a.findKey(ctx, HashKey(text), remote)
	if errors.Is(err, store.ErrNotFound) {
		return errUnauthorized("The API key is not known here.")
	}
	if err != nil {
		return fmt.Errorf("find the API key: %w", err)
	}
	switch {
	case key.Expired(a.now()):
		return errUnauthorized("The time of this API key, sign-in or link is over.")
	case !key.goodFrom(remote):
		return newProblem(http.StatusForbidden,
			"This API key is not good from the address that the request comes from.")
	case key.ended:
		return newProblem(http.StatusForbidden, "The tenant of this API key has ended; the operator can restore it.").
			of(kindTenantEnded)
	case key.Kind == store.KindLink && !opens:
		return errUnauthorized("A link's token is good for signing in only.")
	}
	a.uses.note(key.ID, remote, a.clock())
	c.key, c.tenant, c.remote = key.APIKey, key.Tenant, remote
	return nil
}

// findKey finds the key of a call; one that is not known yet counts as a guess.
func (a *api) findKey(ctx context.Context, hash [32]byte, remote string) (foundKey, error) {
	now := a.clock()
	guess := !a.keys.knows(hash)
	if guess {
		unknown, err := a.guesses.try(hash, remote, now)
		if err == nil && unknown {
			a.guesses.failed(hash, remote, now)
			err = store.ErrNotFound
		}
		if err != nil {
			return foundKey{}, err
		}
	}
	key, err := a.keys.find(ctx, hash, now)
	if guess && errors.Is(err, store.ErrNotFound) {
		a.guesses.failed(hash, remote, now)
	}
	return key, err
}

// tenantOf is the tenant that a request names; empty: none.
func tenantOf(r *http.Request) (string, error) {
	want := r.Header.Get(TenantHeader)
	if r.URL.RawQuery == "" {
		return want, nil
	}
	q := r.URL.Query().Get("tenant")
	if want != "" && q != "" && want != q {
		return "", newProblem(http.StatusBadRequest,
			"The header "+TenantHeader+" and the parameter tenant name different tenants.")
	}
	return cmp.Or(q, want), nil
}

// chooseTenant has the call be for a tenant; empty: the key's own, or the default one.
func (a *api) chooseTenant(ctx context.Context, c *caller, want string) (err error) {
	if !c.operator() {
		if want != "" && want != c.tenant {
			return errNotFound("tenant")
		}
		return nil
	}
	c.named = want != ""
	if c.tenant = want; want == "" {
		c.tenant = DefaultTenant
	}
	c.ended, err = a.knowTenant(ctx, c.tenant)
	return err
}

// knownTenant is a tenant as it was looked up; it is believed for keyLife.
type knownTenant struct {
	ended bool
	at    time.Time
}

// knowTenant fails when there is no such tenant, and tells whether it has ended.
func (a *api) knowTenant(ctx context.Context, id string) (ended bool, _ error) {
	now := a.clock()
	if k, ok := a.tenants.Load(id); ok && now.Sub(k.(knownTenant).at) < keyLife {
		return k.(knownTenant).ended, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	t, err := a.store.TenantByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		a.tenants.Delete(id)
		p := newProblem(http.StatusNotFound, "There is no such tenant.")
		p.Refused = id
		return false, p.of(kindTenantUnknown)
	} else if err != nil {
		return false, fmt.Errorf("find the tenant: %w", overdue(ctx, err))
	}
	a.tenants.Store(id, knownTenant{t.Ended(), now})
	return t.Ended(), nil
}

// errEnded is the answer to whoever wants to change something of a tenant that has ended.
func errEnded(tenant string) error {
	p := newProblem(http.StatusConflict,
		"This tenant has ended: what it has can be read and exported. Restore it to change anything.")
	p.Refused = tenant
	return p.of(kindTenantEnded)
}

// keyCache remembers keys for keyLife, so that publishing reads no database. Only keys that exist are in it. It is told
// times with a monotonic reading, so that a clock that is set back keeps no ended key.
type keyCache struct {
	store store.Directory

	mu      sync.RWMutex
	byHash  map[[32]byte]cachedKey
	evicted uint64 // counts evictions, so that a look-up that began before one is not remembered
}

type cachedKey struct {
	key   foundKey
	at    time.Time // of the look-up
	stale bool      // it is looked up again before it is believed
}

// foundKey is a key as it is good now: it ends with its tenant and with what made it, at any distance, and is good only
// where that is.
type foundKey struct {
	store.APIKey
	makers []networks // those of the keys that made it, which have any
	ended  bool       // its tenant has ended
}

// goodFrom tells whether the key is good from an address, as in http.Request.RemoteAddr.
func (k *foundKey) goodFrom(remote string) bool {
	for _, n := range k.makers {
		if !n.has(remote) {
			return false
		}
	}
	return k.Networks == "" || networksOf(k.Networks).has(remote)
}

// mostMakers is how many keys there are behind a key at most: nobody needs more, and a look-up reads them all.
const mostMakers = 16

// read reads a key, and what made it: what is told of them may have changed since the key was made.
func (k *keyCache) read(ctx context.Context, hash [32]byte) (f foundKey, err error) {
	if f.APIKey, err = k.store.APIKeyByHash(ctx, hash); err != nil {
		return f, err
	}
	if f.Tenant != "" {
		t, err := k.store.TenantByID(ctx, f.Tenant)
		if err != nil {
			return f, err
		}
		f.ended = t.Ended()
	}
	maker := f.Maker
	for range mostMakers {
		if maker == "" {
			return f, nil
		}
		m, err := k.store.APIKeyByID(ctx, maker)
		if err != nil {
			return f, err
		}
		if !m.ExpiresAt.IsZero() && (f.ExpiresAt.IsZero() || m.ExpiresAt.Before(f.ExpiresAt)) {
			f.ExpiresAt = m.ExpiresAt
		}
		if m.Networks != "" {
			f.makers = append(f.makers, networksOf(m.Networks))
		}
		maker = m.Maker
	}
	return f, store.ErrNotFound
}

func newKeyCache(s store.Directory) *keyCache {
	return &keyCache{store: s, byHash: map[[32]byte]cachedKey{}}
}

// knows tells whether the key was found within keyKnown: whoever uses it does not guess.
func (k *keyCache) knows(hash [32]byte) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, ok := k.byHash[hash]
	return ok
}

func (k *keyCache) find(ctx context.Context, hash [32]byte, now time.Time) (foundKey, error) {
	k.mu.RLock()
	c, ok := k.byHash[hash]
	seen := k.evicted
	k.mu.RUnlock()
	if ok && !c.stale && now.Sub(c.at) < keyLife {
		return c.key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	key, err := k.read(ctx, hash)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case errors.Is(err, store.ErrNotFound):
		delete(k.byHash, hash)
		return foundKey{}, err
	case err != nil:
		return foundKey{}, overdue(ctx, err)
	}
	k.byHash[hash] = cachedKey{key, now, k.evicted != seen}
	return key, nil
}

// forget has every key looked up again before it is believed, and drops those that nobody used for long.
func (k *keyCache) forget(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.evicted++
	for hash, c := range k.byHash {
		if now.Sub(c.at) > keyKnown {
			delete(k.byHash, hash)
			continue
		}
		c.stale = true
		k.byHash[hash] = c
	}
}
