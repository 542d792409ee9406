package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// link makes a link and returns its token under a name of r.keys.
func (r *rig) link(name, who, body string) reply {
	r.t.Helper()
	p := r.must(201, who, "POST", "/v1/links", body)
	r.keys[name] = p.str("token")
	return p
}

func TestLinks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.link("link", admin, `{"role":"viewer","name":"for the bank"}`)
	if p.str("path") != "/sign-in?token="+p.str("token") {
		t.Errorf("path = %s, want the token in it", p.str("path"))
	}
	r.must(401, "link", "GET", "/v1/webhooks", "") // opens nothing but a sign-in
	r.must(401, "link", "GET", "/v1/sign-in", "")

	var wg sync.WaitGroup // of several at once, one gets in
	codes, signed := make([]int, 8), make(chan string, 8)
	for i := range codes {
		wg.Go(func() {
			p := r.call("link", "POST", "/v1/sign-in", "")
			if codes[i] = p.code; p.code == 201 {
				signed <- p.str("key")
			}
		})
	}
	wg.Wait()
	close(signed)
	r.keys["signed"] = <-signed
	slices.Sort(codes)
	if !slices.Equal(codes, []int{201, 401, 401, 401, 401, 401, 401, 401}) {
		t.Errorf("signing in with one link at once = %v, want one 201", codes)
	}
	me := r.must(200, "signed", "GET", "/v1/sign-in", "")
	if me.str("role") != "viewer" || me.str("tenant") != "default" || me.json["signed_in"] != true ||
		me.json["advisory"] != true {
		t.Errorf("the sign-in is %s", me.body)
	}
	r.must(200, "signed", "GET", "/v1/webhooks", "")
	r.must(403, "signed", "POST", "/v1/links", `{"role":"viewer"}`)
	r.must(403, "signed", "POST", "/v1/sign-in", "")
	r.must(204, "signed", "DELETE", "/v1/sign-in", "")
	r.must(401, "signed", "GET", "/v1/webhooks", "")

	r.must(403, publisher, "POST", "/v1/sign-in", "")
	r.must(403, admin, "DELETE", "/v1/sign-in", "")
	for _, body := range []string{`{"role":"operator"}`, `{"role":"publisher"}`, `{}`,
		`{"role":"viewer","expires_in":"25h"}`, `{"role":"viewer","signed_in_for":"0s"}`, `{"role":"viewer","x":1}`} {
		r.must(422, admin, "POST", "/v1/links", body)
	}
	r.must(404, admin, "POST", "/v1/links", `{"role":"viewer","webhook_id":"7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10"}`)
	r.must(422, operator, "POST", "/v1/links", `{"role":"operator"}`, TenantHeader, "other")
	r.link("op", operator, `{"role":"operator"}`)
	r.keys["op"] = r.must(201, "op", "POST", "/v1/sign-in", "").str("key")
	r.must(200, "op", "GET", "/v1/tenants", "")
	r.must(403, admin, "GET", "/v1/tenants", "")
}

// TestSignInEnds: a sign-in ends with the API key that it was made with, and at its time.
func TestSignInEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"viewer"}`)
	r.keys["mine"] = made.str("key")
	r.keys["signed"] = r.must(201, "mine", "POST", "/v1/sign-in", "").str("key")
	if items := r.must(200, admin, "GET", "/v1/api-keys", "").items(); slices.ContainsFunc(items, func(k map[string]any) bool { return k["id"] == nil }) || len(items) != 4 {
		t.Errorf("there are %d API keys, want 4: sign-ins are none", len(items))
	}
	r.must(200, "signed", "GET", "/v1/webhooks", "")
	r.must(204, admin, "DELETE", "/v1/api-keys/"+made.str("id"), "")
	eventually(t, func() bool { return r.call("signed", "GET", "/v1/webhooks", "").code == 401 }) // on other nodes within a second

	_, k := NewAPIKey("default", store.Viewer, "", time.Now())
	plain, over := NewAPIKey("default", store.Viewer, "", time.Now())
	over.Kind, over.Parent, over.ExpiresAt = store.KindSignIn, k.ID, time.Now().Add(200*time.Millisecond).UTC().Truncate(time.Millisecond)
	for _, k := range []store.APIKey{k, over} {
		if err := r.store.CreateAPIKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	r.keys["over"] = plain
	eventually(t, func() bool { return r.call("over", "GET", "/v1/webhooks", "").code == 401 })
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass in 10 seconds")
		}
	}
}

// TestBoundKeys: a key that is bound to one webhook sees that one; every other operation that there is is closed.
func TestBoundKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mine := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	r.must(202, admin, "POST", "/v1/events", eventBody) // goes to mine only
	other := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	r.must(202, admin, "POST", "/v1/events",
		strings.Replace(eventBody, `"type"`, `"id":"8d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a11","type"`, 1))
	all := r.must(200, viewer, "GET", "/v1/deliveries", "").items()
	if len(all) != 3 {
		t.Fatalf("%d deliveries, want 3", len(all))
	}
	var own, foreign string
	for _, d := range all {
		if d["webhook_id"] == mine {
			own = d["id"].(string)
		} else {
			foreign = d["id"].(string)
		}
	}
	r.link("link", admin, `{"role":"admin","webhook_id":"`+mine+`"}`)
	r.keys["bound"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")

	hook := "/v1/webhooks/" + mine
	for _, target := range []string{hook, hook + "/receiver", "/v1/webhooks", "/v1/deliveries", "/v1/deliveries/count",
		"/v1/deliveries/" + own, "/v1/events", "/v1/stats", "/v1/stats/webhooks", "/v1/event-types", "/v1/sign-in"} {
		if p := r.must(200, "bound", "GET", target, ""); strings.Contains(p.body, other) {
			t.Errorf("GET %s tells of the other webhook: %s", target, p.body)
		}
	}
	if n := r.must(200, "bound", "GET", "/v1/deliveries/count", "").json["count"]; n != 2.0 {
		t.Errorf("the deliveries counted are %v, want 2", n)
	}
	if e := r.must(200, "bound", "GET", "/v1/events/8d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a11", ""); e.json["delivery_count"] != 1.0 || strings.Contains(e.body, other) {
		t.Errorf("the event shows %s", e.body)
	}
	r.must(200, "bound", "PATCH", hook, `{"description":"mine"}`)
	r.must(200, "bound", "POST", hook+"/test", "")
	r.must(200, "bound", "POST", "/v1/webhooks/preview", `{"id":"`+mine+`"}`)
	r.must(202, "bound", "POST", "/v1/deliveries/"+own+"/retry", "")
	r.must(201, "bound", "POST", "/v1/links", `{"role":"viewer"}`)

	for _, target := range []string{"/v1/webhooks/" + other, "/v1/webhooks/" + other + "/receiver",
		"/v1/deliveries/" + foreign, "/v1/stats?webhook_id=" + other, "/v1/stats/webhooks?webhook_id=" +
			other, "/v1/attempts/live?webhook_id=" + other} {
		r.must(404, "bound", "GET", target, "")
	}
	if got := r.must(200, "bound", "GET", "/v1/deliveries?webhook_id="+other, "").items(); len(got) != 0 {
		t.Errorf("the other webhook's deliveries are listed: %v", got)
	}
	r.must(404, "bound", "POST", "/v1/webhooks/preview", `{"id":"`+other+`"}`)
	r.must(404, "bound", "POST", "/v1/links", `{"role":"viewer","webhook_id":"`+other+`"}`)
	r.must(404, "bound", "PATCH", "/v1/webhooks/"+other, `{}`)
	if p := r.must(202, "bound", "POST", "/v1/deliveries/retry", `{"ids":["`+foreign+`"]}`); p.json["retried"] != 0.0 {
		t.Errorf("another webhook's delivery was retried: %s", p.body)
	}

	// Whatever is not opened above is closed.
	open := []string{"get-webhook", "list-webhooks", "update-webhook", "test-webhook", "preview-webhook",
		"get-receiver", "list-deliveries", "count-deliveries", "get-delivery",
		"retry-delivery", "retry-deliveries", "get-event", "list-events", "list-event-types", "list-error-classes", "get-stats", "list-webhook-stats", "create-link", "sign-in", "get-sign-in", "sign-out", "watch-attempts"}
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(r.must(200, "", "GET", "/openapi.json", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	closed := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if slices.Contains(open, op.OperationID) {
				continue
			}
			closed++
			target := strings.NewReplacer("{id}", mine, "{report}", mine).Replace(path)
			if p := r.call("bound", strings.ToUpper(method), target, "{}"); p.code != 403 {
				t.Errorf("%s %s = %d, want 403", method, path, p.code)
			}
		}
	}
	if closed < 25 {
		t.Errorf("%d operations were tried, want all that are closed", closed)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	preview := func(body string) reply { return r.must(200, admin, "POST", "/v1/webhooks/preview", body) }
	p := preview(`{}`)
	if p.json["request"] != nil || !strings.Contains(p.locations(), "url") {
		t.Errorf("a preview of nothing = %s", p.body)
	}
	p = preview(`{"url":"https://example.com/hook","method":"POST","event_types":["qap.investor.*"],"generate_signing_key":true,"auth":{"type":"bearer","token":"a-secret-token"}}`)
	for _, want := range []string{"X-Quantfolio-Signature-256", "webhook-signature",
		`"Authorization","value":"[secret]"`, `"type":"qap.investor.created"`, "qap.investor.deleted"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the preview has no %s: %s", want, p.body)
		}
	}
	if strings.Contains(p.body, "a-secret-token") || strings.Contains(p.body, "advice.created") {
		t.Errorf("the preview tells too much: %s", p.body)
	}
	p = preview(`{"url":"https://example.com/hook?a=1","method":"GET","event_types":["**"],"type":"qap.investor.advice.completed"}`)
	if !strings.Contains(p.body, "hook?a=1&id=") || strings.Contains(p.body, `"body"`) ||
		p.str("type") != "qap.investor.advice.completed" {
		t.Errorf("the preview of a GET = %s", p.body)
	}
	made := r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	p = preview(`{"id":"` + made.str("id") + `","url":"https://example.org/new"}`)
	if !strings.Contains(p.body, "https://example.org/new") || len(p.locations()) > 0 {
		t.Errorf("the preview of a change = %s", p.body)
	}
	if got := r.must(200, admin, "GET", "/v1/webhooks/"+made.str("id"), ""); got.str("url") != made.str("url") {
		t.Error("a preview changed the webhook")
	}
	r.must(404, "other/admin", "POST", "/v1/webhooks/preview", `{"id":"`+made.str("id")+`"}`)
	r.must(403, viewer, "POST", "/v1/webhooks/preview", `{}`)
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	counts := func(delivered, retried, exhausted int64) *store.Counts {
		return &store.Counts{Delivered: delivered, Retried: retried, Exhausted: exhausted}
	}
	for _, c := range []struct {
		enabled, byUs bool
		last          *store.Counts
		failing       bool // since the last delivery
		want          string
	}{
		{true, false, counts(5, 1, 0), true, client.StateFailing}, {false, false, counts(5, 1, 0), true,
			client.StatePaused},
		{true, false, nil, false, client.StateIdle}, {true, false, counts(5, 0, 0), false, client.StateOK}, {true,
			false, counts(5, 1, 0), false, client.StateUnsteady}, {true, false, counts(5, 0,
			1), false, client.StateUnsteady},
		{true, false, counts(0, 1, 0), false, client.StateFailing}, {true, false, counts(0, 0, 1), false,
			client.StateFailing},
		{false, false, nil, false, client.StatePaused}, {false, false, counts(0, 1, 0), false,
			client.StatePaused}, {false, true, counts(5, 0,
			0), false, client.StateDisabledByUs}, {false, true, nil, false, client.StateDisabledByUs},
	} {
		if got := stateOf(c.enabled, c.byUs, c.last, c.failing); got != c.want {
			t.Errorf("stateOf(%t, %t, %+v, %t) = %s, want %s", c.enabled, c.byUs, c.last, c.failing, got, c.want)
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	two := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	now := time.Now().UTC()
	row := func(num int64, ago time.Duration, delivered, retried int64) store.Rollup {
		x := store.Rollup{Tenant: "default", Webhook: num, At: now.Add(-ago).Truncate(time.Minute)}
		x.Delivered, x.Retried = delivered, retried
		x.Latency[5] = delivered
		return x
	}
	err := r.store.Commit(t.Context(), &store.Batch{Rollups: []store.Rollup{row(0, 0, 7, 3), row(1, 0, 7, 0), row(2, 0, 0, 3), row(2, 26*time.Hour, 0, 2), row(2, 27*time.Hour, 4, 0), row(0, 5*24*time.Hour, 50, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	for period, want := range map[string][3]float64{"1h": {60, 7, 3}, "24h": {96, 7, 3}, "7d": {168, 57, 3},
		"30d": {120, 57, 3}} {
		p := r.must(200, viewer, "GET", "/v1/stats?period="+period, "")
		points, _ := p.json["points"].([]any)
		if len(points) != int(want[0]) || p.json["delivered"] != want[1] || p.json["retried"] != want[2] {
			t.Errorf("%s: %d points, %v delivered, %v retried, want %v", period, len(points), p.json["delivered"],
				p.json["retried"], want)
		}
		if last := points[len(points)-1].(map[string]any); last["delivered"] != 7.0 {
			t.Errorf("%s: now is not in the last point: %v", period, last)
		}
	}
	if p := r.must(200, viewer, "GET", "/v1/stats?webhook_id="+one, ""); p.json["delivered"] != 7.0 ||
		p.json["retried"] != 0.0 || p.json["p50_ms"] != 35.0 {
		t.Errorf("of one webhook: %s", p.body)
	}
	items := r.must(200, viewer, "GET", "/v1/stats/webhooks", "").items()
	if len(items) != 2 || items[0]["id"] != two || items[0]["state"] != client.StateFailing ||
		items[1]["state"] != client.StateOK {
		t.Fatalf("the webhooks are %v, want the failing one first", items)
	}
	if since, err := time.Parse(time.RFC3339, items[0]["since"].(string)); err != nil ||
		!since.Equal(now.Add(-26*time.Hour).Truncate(time.Hour)) {
		t.Errorf("it fails since %v, want the hour 26 hours ago", since)
	}
	r.must(404, foreign, "GET", "/v1/stats?webhook_id="+one, "")
	r.must(422, viewer, "GET", "/v1/stats?period=2h", "")
	if items := r.must(200, foreign, "GET", "/v1/stats/webhooks", "").items(); len(items) != 0 {
		t.Errorf("another tenant sees %v", items)
	}
}

// flushed is a recorder that tells of each flush.
type flushed struct {
	*httptest.ResponseRecorder
	each chan string
}

func (f *flushed) Flush() {
	f.each <- f.Body.String()
	f.Body.Reset()
}

// TestLive: whoever watches gets the attempts of their tenant that they asked for, until the server stops or their key
// ends.
func TestLive(t *testing.T) {
	r := newRig(t)
	mine := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	a := r.h.(*api)
	stopping := make(chan struct{})
	a.stopping = stopping
	w := &flushed{httptest.NewRecorder(), make(chan string)}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, livePath+"?outcome=retry", nil)
	req.Header.Set("Authorization", "Bearer "+r.keys[viewer])
	done := make(chan struct{})
	go func() { defer close(done); r.h.ServeHTTP(w, req) }()
	if got := <-w.each; got != ": connected\n\n" {
		t.Fatalf("the stream begins with %q", got)
	}
	if got := w.Header().Get("X-Accel-Buffering"); got != "no" {
		t.Errorf("X-Accel-Buffering = %q, want that nginx does not hold the stream back", got)
	}
	tell := func(tenant string, kind store.OutcomeKind, attempt int) {
		a.live.Tell(&store.Outcome{Tenant: tenant, DeliveryKey: store.DeliveryKey{Webhook: 1, Event: 1}, Kind: kind, Attempt: attempt, At: time.Now(), Sent: true, Status: 503}, &event.Event{Type: "qap.investor.created"})
	}
	tell("other", store.Retry, 1)
	tell("default", store.Delivered, 2)
	tell("default", store.Retry, 3)
	var x client.LiveAttempt
	got := <-w.each
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "data: ")), &x); err != nil || x.Number != 3 ||
		x.WebhookID != mine || x.Outcome != "retry" {
		t.Errorf("the stream gave %q (%v), want attempt 3", got, err)
	}
	close(stopping)
	<-done
	if a.live.Watched() {
		t.Error("somebody watches after the end")
	}
	r.must(422, viewer, "GET", livePath+"?outcome=x", "")
	r.must(404, viewer, "GET", livePath+"?webhook_id=none", "")
	r.must(403, publisher, "GET", livePath, "")
}
