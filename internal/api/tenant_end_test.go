package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
)

// lapse has an hour pass for what the API believes for a moment.
func (r *rig) lapse() { r.h.(*api).keys.forget(time.Now()); r.h.(*api).tenants.Clear() }

// held are the tenant's webhooks that the engine may not deliver to.
func (r *rig) held(tenant string) (held, all int) {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	for _, w := range r.engine.hooks {
		if w.Tenant == tenant && !w.Deleted() {
			all++
			if !w.Enabled {
				held++
			}
		}
	}
	return held, all
}

// TestTenantEnds: from its end on a tenant's keys, streams and webhooks do nothing, the operator reads it only, and
// restored all is as it was, what was paused before stays paused.
func TestTenantEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const firm, of = "other/admin", "/v1/tenants/other"
	r.must(201, firm, "POST", "/v1/webhooks", hookBody)
	paused := r.must(201, firm, "POST", "/v1/webhooks", strings.Replace(hookBody, "/a?", "/b?", 1)).str("id")
	r.must(200, firm, "PATCH", "/v1/webhooks/"+paused, `{"enabled":false}`)
	r.must(202, "other/publisher", "POST", "/v1/events", eventBody)
	r.must(403, firm, "DELETE", of, "")
	r.must(409, operator, "DELETE", "/v1/tenants/default", "")
	r.must(404, operator, "DELETE", "/v1/tenants/nothing", "")

	first := r.must(200, operator, "DELETE", of, "")
	ended, _ := time.Parse(time.RFC3339, first.str("ended_at"))
	deleted, _ := time.Parse(time.RFC3339, first.str("delete_at"))
	if d := deleted.Sub(ended); d != DefaultTenantGrace || time.Since(ended) > time.Minute {
		t.Errorf("ended at %v, deleted %v later, want now and %v", ended, d, DefaultTenantGrace)
	}
	if again := r.must(200, operator, "DELETE", of, ""); again.body != first.body {
		t.Errorf("ended again = %s, want %s", again.body, first.body)
	}
	if held, all := r.held("other"); held != 2 || all != 2 {
		t.Errorf("%d of %d webhooks are held, want 2 of 2", held, all)
	}
	for _, call := range [][3]string{
		{"POST", "/v1/events", eventBody}, {"POST", "/v1/events/batch", `{"events":[` + eventBody + `]}`},
		{"GET", "/v1/webhooks", ""}, {"POST", "/v1/links", `{"role":"viewer"}`}, {"GET", "/v1/attempts/live", ""},
		{"POST", "/v1/sign-in", ""},
	} {
		if p := r.must(403, firm, call[0], call[1], call[2]); !strings.Contains(p.str("detail"), "has ended") {
			t.Errorf("%s %s = %s, want that the tenant has ended", call[0], call[1], p.body)
		}
		if call[0] == "POST" && call[1] != "/v1/sign-in" {
			p := r.must(409, operator, call[0], call[1], call[2], TenantHeader, "other")
			if p.str("refused") != "other" {
				t.Errorf("%s as the operator refused %q, want the tenant", call[1], p.str("refused"))
			}
		}
	}
	r.must(409, operator, "POST", "/v1/api-keys", `{"tenant":"other","role":"admin"}`)
	r.must(409, operator, "PATCH", "/v1/webhooks/"+paused, `{"enabled":true}`, TenantHeader, "other")
	if list := r.must(200, operator, "GET", "/v1/events", "", TenantHeader, "other").items(); len(list) != 1 {
		t.Errorf("the operator reads %d events of it, want 1", len(list))
	}

	if p := r.must(200, operator, "POST", of+"/restore", ""); p.str("ended_at") != "" || p.str("delete_at") != "" {
		t.Errorf("restored = %s, want no end", p.body)
	}
	if held, all := r.held("other"); held != 1 || all != 2 {
		t.Errorf("restored, %d of %d webhooks are held, want 1 of 2", held, all)
	}
	r.must(202, "other/publisher", "POST", "/v1/events", strings.Replace(eventBody, "created", "updated", 1))
	r.must(200, operator, "POST", of+"/restore", "")
}

// TestTenantIsDeleted: when its time is over all of a tenant goes, whatever was left undone at its end, others' stays,
// and its name is free.
func TestTenantIsDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(201, "other/admin", "POST", "/v1/webhooks", hookBody)
	r.must(202, "other/publisher", "POST", "/v1/events", eventBody)
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	r.must(202, publisher, "POST", "/v1/events", eventBody)
	keep := func() {
		t.Helper()
		if err := r.h.KeepTenants(t.Context()); err != nil {
			t.Fatalf("KeepTenants = %v, want nil", err)
		}
		r.lapse()
	}
	// As after a crash right after the tenant was written: its webhook is still enabled.
	now := time.Now()
	o := store.Tenant{ID: "other", Name: "other", EndedAt: now, DeleteAt: now.Add(time.Hour)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.store.UpdateTenant(t.Context(), o))
	keep()
	if held, all := r.held("other"); held != 1 || all != 1 {
		t.Fatalf("%d of %d webhooks are held, want 1 of 1", held, all)
	}
	r.must(200, operator, "GET", "/v1/events", "", TenantHeader, "other")

	o.DeleteAt = now.Add(-time.Second)
	must(r.store.UpdateTenant(t.Context(), o))
	r.must(409, operator, "POST", "/v1/tenants/other/restore", "")
	keep() // its webhooks are deleted, on all nodes
	if _, all := r.held("other"); all != 0 {
		t.Fatal("the webhook of a tenant whose time is over is not deleted")
	}
	r.must(200, operator, "GET", "/v1/events", "", TenantHeader, "other")
	keep()
	r.must(404, operator, "GET", "/v1/events", "", TenantHeader, "other")
	r.must(401, "other/admin", "GET", "/v1/events", "")
	if n := len(r.must(200, admin, "GET", "/v1/events", "").items()); n != 1 {
		t.Errorf("the other tenant has %d events, want 1", n)
	}
	r.must(201, operator, "POST", "/v1/tenants", `{"id":"other"}`)
	for _, path := range []string{"/v1/events", "/v1/webhooks", "/v1/deliveries", "/v1/api-keys"} {
		if p := r.must(200, operator, "GET", path, "", TenantHeader, "other"); len(p.items()) != 0 {
			t.Errorf("a new tenant of that name has %s: %s", path, p.body)
		}
	}
}

// TestTenantExport: every noun that the tenant has is in it once, an ended one's too, no secret is, and a cut one is
// told from a whole one.
func TestTenantExport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	firm := "other/admin"
	r.must(201, firm, "POST", "/v1/webhooks", hookBody)
	for range 3 {
		r.must(202, firm, "POST", "/v1/events", eventBody)
	}
	advisor := r.must(201, firm, "POST", "/v1/advisors", `{"name":"A"}`).str("id")
	investor := r.must(201, firm, "POST", "/v1/investors", `{"advisor_id":"`+advisor+`","investor_type":"person","investor_name":"I"}`).str("id")
	session := r.must(201, firm, "POST", "/v1/investors/"+investor+"/advice-sessions",
		`{"title":"S","objective":"o","risk_profile":"balanced","horizon_years":3}`).str("id")
	r.must(200, firm, "PATCH", "/v1/advice-sessions/"+session, `{"recommendation":"hold"}`)
	r.must(200, firm, "POST", "/v1/advice-sessions/"+session+"/complete", "")
	r.must(201, firm, "POST", "/v1/advice-sessions/"+session+"/reports", "")
	r.must(204, firm, "DELETE", "/v1/investors/"+investor, "")
	r.must(200, operator, "DELETE", "/v1/tenants/other", "")

	s := httptest.NewServer(r.h)
	defer s.Close()
	c := client.New(s.URL, r.keys[operator])
	got, end := map[string]int{}, map[string]int{}
	for x, err := range c.ExportTenant(t.Context(), "other") {
		if err != nil {
			t.Fatalf("ExportTenant = %v, want nil; %v; %s", err, got, r.log)
		}
		if x.Kind == client.ExportEnd {
			if err := json.Unmarshal(x.Value, &end); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got[x.Kind]++
		for _, secret := range []string{"s3cret", "key-material", "pass"} {
			if strings.Contains(string(x.Value), secret) && x.Kind == "webhook" {
				t.Errorf("a secret is exported: %s", x.Value)
			}
		}
	}
	want := map[string]int{"tenant": 1, "api_key": 3, "webhook": 1, "advisor": 1, "investor": 1, "advice_session": 1,
		"report": 1}
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("%d of kind %s, want %d", got[kind], kind, n)
		}
	}
	if got["event"] < 8 || got["delivery"] < 8 {
		t.Errorf("%d events, %d deliveries, want at least 8 of each", got["event"], got["delivery"])
	}
	for kind, n := range got {
		if end[kind] != n {
			t.Errorf("the end tells of %d of kind %s, there are %d", end[kind], kind, n)
		}
	}
	r.must(403, admin, "GET", "/v1/tenants/default/export", "")
	r.must(404, operator, "GET", "/v1/tenants/nothing/export", "")

	cut := httptest.NewServer(cutAfter{r.h, 2})
	defer cut.Close()
	var last error
	for _, last = range client.New(cut.URL, r.keys[operator]).ExportTenant(t.Context(), "other") {
	}
	if !errors.Is(last, client.ErrCutOff) {
		t.Errorf("a cut export ends with %v, want ErrCutOff", last)
	}
}

// cutAfter lets so many lines of an answer pass.
type cutAfter struct {
	h     http.Handler
	lines int
}

func (c cutAfter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all := httptest.NewRecorder()
	c.h.ServeHTTP(all, r)
	lines := strings.SplitAfter(all.Body.String(), "\n")
	_, _ = io.WriteString(w, strings.Join(lines[:c.lines], ""))
}
