package api

import (
	"fmt"
	"strings"
	"testing"
)

// TestConsent: where the operator asks for it, whoever registers a host that is not theirs gets nothing sent there: the
// target is asked whenever a webhook is enabled or pointed elsewhere, and nothing is saved unless it consents.
func TestConsent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	asked := func() (n int) {
		r.engine.mu.Lock()
		defer r.engine.mu.Unlock()
		return len(r.engine.asked)
	}
	make := func(tenant, path, more string) reply {
		return r.call(tenant+"/admin", "POST", "/v1/webhooks",
			fmt.Sprintf(`{"url":"https://victim.example/%s","method":"POST","event_types":["**"]%s}`, path, more))
	}
	before := r.must(201, "default/admin", "POST", "/v1/webhooks", hookBody).header.Get("Location")
	if p := r.call("default/admin", "PATCH", "/v1/tenants/default", `{"consent":false}`); p.code != 403 {
		t.Errorf("a tenant's admin lifts the rule with %d, want 403", p.code)
	}
	p := r.must(200, operator, "PATCH", "/v1/tenants/default", `{"consent":true}`)
	if p.json["consent"] != true || p.json["name"] != "default" {
		t.Errorf("the changed tenant is %s", p.body)
	}
	if asked() != 0 {
		t.Fatal("targets were asked before anybody needed it")
	}

	refused := make("default", "x", "")
	if refused.code != 422 || !strings.Contains(refused.body, "WebHook-Allowed-Origin: hooks.example") || asked() != 1 {
		t.Errorf("a target that does not consent: %d %s, asked %d times, want 422 that says what to do", refused.code,
			refused.body, asked())
	}
	if n := len(r.must(200, "default/admin", "GET", "/v1/webhooks", "").items()); n != 1 {
		t.Errorf("there are %d webhooks, want the first alone", n)
	}
	if p := make("other", "x", ""); p.code != 201 || asked() != 1 {
		t.Errorf("another tenant's webhook = %d, asked %d times, want 201 without a question", p.code, asked())
	}
	welcome := make("default", "welcome", "")
	if welcome.code != 201 || asked() != 2 {
		t.Fatalf("a target that consents = %d %s", welcome.code, welcome.body)
	}
	off := make("default", "x", `,"enabled":false`)
	if off.code != 201 || asked() != 2 {
		t.Fatalf("a disabled webhook = %d, asked %d times, want 201 without a question", off.code, asked())
	}

	one, other := off.header.Get("Location"), welcome.header.Get("Location")
	for _, c := range []struct {
		name, path, body string
		want, asks       int
	}{
		{"enabling it", one, `{"enabled":true}`, 422, 1},
		{"pointing it elsewhere while it is disabled", one, `{"url":"https://victim.example/y"}`, 200, 0},
		{"another path of the host", other, `{"url":"https://victim.example/y"}`, 422, 1},
		{"anything else of it", other, `{"description":"ours","event_types":["qap.investor.*"]}`, 200, 0},
		{"the same URL", other, `{"url":"https://VICTIM.example/welcome"}`, 200, 0},
		{"what was there before, unchanged", before, `{"description":"ours"}`, 200, 0},
		{"enabled and welcome", one, `{"enabled":true,"url":"https://victim.example/welcome"}`, 200, 1},
	} {
		was := asked()
		if p := r.call("default/admin", "PATCH", c.path, c.body); p.code != c.want || asked()-was != c.asks {
			t.Errorf("%s = %d %s, asked %d times, want %d and %d", c.name, p.code, p.body, asked()-was, c.want, c.asks)
		}
	}
	r.must(200, operator, "PATCH", "/v1/tenants/default", `{"consent":null,"name":"The bank"}`)
	if p := make("default", "x", ""); p.code != 201 {
		t.Errorf("after the rule is lifted = %d %s", p.code, p.body)
	}
	if p := r.call(operator, "PATCH", "/v1/tenants/none", `{"name":"x"}`); p.code != 404 {
		t.Errorf("a tenant that is not there = %d, want 404", p.code)
	}
}
