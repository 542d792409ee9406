package ui_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
)

// TestTenantsTurn: the operator ends a tenant on the page of tenants, sees until when it can be restored, and restores
// it; the default one cannot be ended, and a tenant's admin can do neither.
func TestTenantsTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(r.operator.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}))(t)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	const at, page = "/t/default/tenants/turn", "/t/default/tenants"
	turn := func(key, id, do string) int {
		status, _, _ := r.send(key, at, url.Values{"id": {id}, "do": {do}})
		return status
	}
	shows := func(want string, there bool) {
		t.Helper()
		if _, body := r.get(key, page); strings.Contains(string(body), want) != there {
			t.Errorf("the page has %q: %v, want %v", want, !there, there)
		}
	}
	shows("ended; deleted", false)
	if got := turn(key, "acme", "end"); got != 303 {
		t.Errorf("ending a tenant = %d, want 303", got)
	}
	shows("ended; deleted", true)
	shows(`value="restore"`, true)
	if got := turn(key, "default", "end"); got != 409 {
		t.Errorf("ending the default tenant = %d, want 409", got)
	}
	if got := turn(key, "acme", "restore"); got != 303 {
		t.Errorf("restoring a tenant = %d, want 303", got)
	}
	shows("ended; deleted", false)
	admin := must(r.operator.CreateAPIKey(t.Context(), client.NewAPIKey{Role: client.RoleAdmin, Tenant: "acme"}))(t).Key
	if got := turn(admin, "acme", "end"); got == 303 {
		t.Error("a tenant's admin can end it")
	}
	shows("ended; deleted", false)
}
