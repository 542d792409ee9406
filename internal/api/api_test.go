package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/store"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	p := r.must(202, publisher, "POST", "/v1/events", eventBody)
	if p.json["deliveries"] != 1.0 || p.str("type") != "qap.investor.created" || p.str("id") == "" {
		t.Errorf("publish = %s, want one delivery", p.body)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", p.str("time")); err != nil {
		t.Errorf("time %q: %v", p.str("time"), err)
	}
	id := "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"
	given := strings.Replace(eventBody, "{", `{"id":"`+id+`",`, 1)
	first := r.must(202, admin, "POST", "/v1/events", given)
	again := r.must(202, admin, "POST", "/v1/events", given)
	if first.body != again.body {
		t.Errorf("the second publish = %s, want as the first %s", again.body, first.body)
	}
	if c := r.must(409, admin, "POST", "/v1/events",
		strings.Replace(given, "i1", "i2", 1)); !strings.Contains(c.body, id) {
		t.Errorf("conflict = %s, want the event named", c.body)
	}
	b := r.must(202, publisher, "POST", "/v1/events/batch", `{"events":[`+eventBody+`,`+eventBody+`]}`)
	if n := len(b.json["events"].([]any)); n != 2 || strings.Contains(b.body, "type") {
		t.Errorf("batch = %s, want two items of id and deliveries", b.body)
	}

	list := r.must(200, viewer, "GET", "/v1/events", "")
	if n := len(list.items()); n != 4 {
		t.Fatalf("GET /v1/events has %d items, want 4", n)
	}
	one := r.must(200, viewer, "GET", "/v1/events/"+id, "")
	if !strings.Contains(one.body, `"data":{"n":123456789012345678901234567890,"t":"<é>"}`) {
		t.Errorf("event = %s, want its data as published", one.body)
	}
	d := one.json["deliveries"].([]any)[0].(map[string]any)
	if d["webhook_id"] != w.str("id") || d["status"] != "waiting" {
		t.Errorf("delivery = %v, want waiting for %s", d, w.str("id"))
	}
	did := d["id"].(string)
	full := r.must(200, viewer, "GET", "/v1/deliveries/"+did, "")
	if full.json["attempts"] == nil || full.json["event"] == nil {
		t.Errorf("delivery = %s, want its event and attempts", full.body)
	}
	r.must(202, admin, "POST", "/v1/deliveries/"+did+"/retry", "")
	if len(r.engine.retry) != 1 || EncodeDeliveryID(r.engine.retry[0]) != did {
		t.Errorf("retried %v, want %s", r.engine.retry, did)
	}
}

func TestPublishErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		err  error
		code int
	}{
		{store.ErrFull, 507}, {engine.ErrStopping, 503}, {store.ErrBroken, 503}, {errors.New("canary-detail"), 500},
		{fmt.Errorf("x: %w", &store.ConflictError{}), 409},
	} {
		r.engine.fail = c.err
		for _, path := range []string{"/v1/events", "/v1/events/batch"} {
			body := eventBody
			if path == batchPath {
				body = `{"events":[` + body + `]}`
			}
			if p := r.must(c.code, publisher, "POST", path, body); strings.Contains(p.body, "canary") {
				t.Errorf("%v shows its detail: %s", c.err, p.body)
			}
		}
	}
	if !strings.Contains(r.log.String(), "canary-detail") {
		t.Error("an unknown error is not in the log")
	}
	r.engine.fail = nil
	if p := r.must(422, publisher, "POST", "/v1/events", `{"type":"nope","object_id":""}`); !strings.Contains(p.locations(), "type") || !strings.Contains(p.locations(), "owner_id") {
		t.Errorf("violations at %q, want type and owner_id among them", p.locations())
	}
	r.must(400, publisher, "POST", "/v1/events", `{"type":`)
	r.must(413, publisher, "POST", "/v1/events", strings.Repeat(" ", 256<<10)+eventBody)
	r.must(413, publisher, "POST", "/v1/events/batch", strings.Repeat(" ", MaxBatchBody)+eventBody)
	r.must(413, admin, "POST", "/v1/webhooks", strings.Repeat(" ", maxBody)+hookBody)
	r.must(400, admin, "POST", "/v1/webhooks", strings.Repeat("[", 100000))
	r.must(400, admin, "POST", "/v1/webhooks", `{"url":1`)
	r.must(400, admin, "POST", "/v1/webhooks", `[]`)
	r.must(400, admin, "POST", "/v1/webhooks", ``)
}

// TestWhatIsRefused shows that a refusal names what it is surely about, and only then.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const id = "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"
	given := strings.Replace(eventBody, "{", `{"id":"`+id+`",`, 1)
	r.must(202, admin, "POST", publishPath, given)
	other := strings.Replace(given, "i1", "i2", 1)
	for _, tt := range []struct {
		name, key, path, body, tenant string
		status                        int
		want                          any
	}{
		{"a conflict", admin, publishPath, other, "", 409, id},
		{"a conflict in a batch", admin, batchPath, `{"events":[` + eventBody + "," + other + `]}`, "", 409, id},
		{"a broken rule", admin, publishPath, `{"id":"` + strings.ToUpper(id) + `","type":"no"}`, "", 422, id},
		{"an unknown tenant", operator, publishPath, given, "unknown", 404, "unknown"},
		{"a tenant that the key is not of", admin, publishPath, given, "unknown", 404, nil},
		{"an event without ID", admin, publishPath, `{"type":"no"}`, "", 422, nil},
		{"no ID", admin, publishPath, `{"id":"7"}`, "", 422, nil},
		{"no JSON", admin, publishPath, "{", "", 400, nil},
		{"a key that may not", viewer, publishPath, given, "", 403, nil},
		{"no such key", "nobody", publishPath, given, "", 401, nil},
	} {
		headers := []string{}
		if tt.tenant != "" {
			headers = append(headers, TenantHeader, tt.tenant)
		}
		if p := r.must(tt.status, tt.key, "POST", tt.path, tt.body, headers...); p.json["refused"] != tt.want {
			t.Errorf("%s: refused = %v, want %v", tt.name, p.json["refused"], tt.want)
		}
	}
}

func TestEveryRefusalIsAProblem(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.keys["bad"] = "qhk_nope"
	if p := r.must(401, "", "GET", "/v1/events", ""); p.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("401 has no challenge: %v", p.header)
	}
	r.must(401, "bad", "POST", "/v1/events", eventBody)
	r.must(401, "", "GET", "/v1/events", "", "Authorization", "Basic eDp5")
	r.must(401, admin, "GET", "/v1/events", "", "Authorization", "Bearer two")
	r.must(404, admin, "GET", "/v1/nothing", "")
	r.must(404, "", "GET", "/nothing", "")
	if p := r.must(405, admin, "DELETE", "/v1/events", ""); !strings.Contains(p.header.Get("Allow"), "POST") ||
		!strings.Contains(p.header.Get("Allow"), "GET") {
		t.Errorf("405 allows %q, want GET and POST", p.header.Get("Allow"))
	}
	r.must(405, "", "POST", "/docs", "")
	var many []string
	for i := range MaxHeaders {
		many = append(many, fmt.Sprintf("X-H-%d", i), "v")
	}
	r.must(431, admin, "GET", "/v1/events", "", many...)
	for _, q := range []string{"limit=0", "limit=201", "limit=x", "unknown=1", "since=yesterday",
		"event_type=qap.nothing.*"} {
		if p := r.must(422, viewer, "GET", "/v1/events?"+q, ""); !strings.HasPrefix(p.locations(), "query.") ||
			strings.Contains(p.body, `"value"`) {
			t.Errorf("%s = %s, want a violation of the parameter without its value", q, p.body)
		}
	}
	r.must(422, viewer, "GET", "/v1/deliveries?status=lost", "")
	for _, path := range []string{"/v1/events", "/v1/deliveries", "/v1/webhooks"} {
		r.must(400, viewer, "GET", path+"?cursor=AAAA", "")
	}
	for _, path := range []string{"/v1/events/x", "/v1/events/0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", "/v1/deliveries/x",
		"/v1/deliveries/d_0000000000000001_1", "/v1/webhooks/x"} {
		r.must(404, viewer, "GET", path, "")
	}
}

// TestPagesOfALongTimeAgo: a time that is said as so long ago is the same on every page.
func TestPagesOfALongTimeAgo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ahead atomic.Int64
	var err error
	r.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Version: "test",
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	for range 3 {
		r.must(202, publisher, "POST", "/v1/events", eventBody)
	}
	for _, path := range []string{"/v1/events", "/v1/deliveries"} {
		ahead.Store(0)
		first := r.must(200, viewer, "GET", path+"?since=1h&limit=1", "")
		ahead.Store(int64(2 * time.Hour)) // by now, all are older than an hour
		second := r.must(200, viewer, "GET", path+"?since=1h&limit=1&cursor="+first.str("next"), "")
		third := r.must(200, viewer, "GET", path+"?since=1h&limit=1&cursor="+second.str("next"), "")
		if len(third.items()) != 1 || third.json["next"] != nil || first.str("since") == "" ||
			first.str("since") != third.str("since") {
			t.Errorf("%s: the last of three pages is %s, want one of all that there was, since %s", path, third.body,
				first.str("since"))
		}
		r.must(400, viewer, "GET", path+"?since=2h&limit=1&cursor="+first.str("next"), "") // another filter
		if n := len(r.must(200, viewer, "GET", path+"?since=1h", "").items()); n != 0 {
			t.Errorf("%s?since=1h, two hours later, has %d items, want none", path, n)
		}
		for _, ago := range []string{"1d", "90m", "20000d"} {
			r.must(200, viewer, "GET", path+"?until="+ago, "")
		}
		for _, bad := range []string{"-1h", "1x", "d", "20001d", "1.5d", "9999999h"} {
			if p := r.must(422, viewer, "GET", path+"?until="+bad, ""); p.locations() != "query.until" {
				t.Errorf("%s?until=%s = %s, want a violation of until", path, bad, p.body)
			}
		}
	}
}

// TestWrongNames: who mistypes a name is told which was meant.
func TestWrongNames(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for target, want := range map[string]string{
		"/v1/events?typ=x": "", "/v1/events?event_typ=x": "event_type", "/v1/events?sinse=1h": "since", "/v1/events?x=1": "",
		"/v1/deliveries?webhook=1": "webhook_id", "/v1/attempts/live?webhook_idd=1": "webhook_id", "/v1/deliveries?Status=waiting": "status", "/v1/webhooks?limt=1": "limit",
	} {
		p := r.must(422, viewer, "GET", target, "")
		if meant := strings.Contains(p.body, "did you mean"); meant != (want != "") || !strings.Contains(p.body, want) {
			t.Errorf("GET %s = %s, want %q suggested", target, p.body, want)
		}
	}
	for body, want := range map[string]string{
		`{"urls":"https://x.example"}`: "url", `{"eventTypes":["**"]}`: "event_types", `{"auth":{"type":"bearer","tokn":"x"}}`: "token",
		`{"secret":"x"}`: "",
	} {
		p := r.must(422, admin, "POST", "/v1/webhooks", body)
		if meant := strings.Contains(p.body, "did you mean"); meant != (want != "") || !strings.Contains(p.body, want) {
			t.Errorf("POST %s = %s, want %q suggested", body, p.body, want)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 3 {
		r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	}
	for range 5 {
		r.must(202, publisher, "POST", "/v1/events", eventBody)
	}
	for path, want := range map[string]int{"/v1/events?event_type=qap.investor.*": 5,
		"/v1/deliveries?status=waiting": 15, "/v1/webhooks?": 3} {
		seen, next := map[any]bool{}, ""
		for page := 0; page == 0 || next != ""; page++ {
			target := path + "&limit=2"
			if next != "" {
				target += "&cursor=" + next
			}
			p := r.must(200, viewer, "GET", strings.Replace(target, "?&", "?", 1), "")
			for _, x := range p.items() {
				seen[x["id"]] = true
			}
			if next = p.str("next"); page > want {
				t.Fatalf("%s does not end", path)
			}
			if next != "" && strings.HasPrefix(path, "/v1/events") {
				r.must(400, viewer, "GET", "/v1/events?cursor="+next, "") // another filter
			}
			if next != "" { // another tenant
				r.must(400, "other/viewer", "GET", strings.Replace(path+"&cursor="+next, "?&", "?", 1), "")
			}
		}
		if len(seen) != want {
			t.Errorf("%s: %d items over all pages, want %d", path, len(seen), want)
		}
	}
}

// callsOf are calls with paths of things that exist.
func callsOf(r *rig) []struct{ method, path, body string } {
	hook := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	ev := r.must(202, admin, "POST", "/v1/events", eventBody).str("id")
	d := r.must(200, admin, "GET", "/v1/deliveries", "").items()[0]["id"].(string)
	key := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"viewer"}`).str("id")
	return []struct{ method, path, body string }{
		{"GET", "/v1/events/" + ev, ""},
		{"GET", "/v1/webhooks/" + hook, ""},
		{"PATCH", "/v1/webhooks/" + hook, `{"description":"x"}`},
		{"POST", "/v1/webhooks/" + hook + "/test", ""},
		{"GET", "/v1/deliveries/" + d, ""},
		{"POST", "/v1/deliveries/" + d + "/retry", ""},
		{"PATCH", "/v1/api-keys/" + key, `{"name":"x"}`},
		{"DELETE", "/v1/api-keys/" + key, ""},
		{"DELETE", "/v1/webhooks/" + hook, ""},
	}
}

func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, op := range callsOf(r) {
		r.must(404, foreign, op.method, op.path, op.body)
		r.must(404, operator, op.method, op.path, op.body, TenantHeader, "other")
	}
	for _, path := range []string{"/v1/events", "/v1/webhooks", "/v1/deliveries"} {
		if p := r.must(200, foreign, "GET", path, ""); len(p.items()) != 0 {
			t.Errorf("another tenant sees %s", p.body)
		}
		r.must(404, admin, "GET", path, "", TenantHeader, "other")
		r.must(404, admin, "GET", path+"?tenant=other", "")
		r.must(404, operator, "GET", path, "", TenantHeader, "unknown")
		if p := r.must(200, operator, "GET", path+"?tenant=default", ""); len(p.items()) == 0 {
			t.Errorf("the operator sees nothing of %s", path)
		}
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(201, operator, "POST", "/v1/tenants", `{"id":"firm-1","name":"Firm"}`)
	r.must(409, operator, "POST", "/v1/tenants", `{"id":"firm-1"}`)
	r.must(422, operator, "POST", "/v1/tenants", `{"id":"Firm 1","more":1}`)
	k := r.must(201, operator, "POST", "/v1/api-keys", `{"role":"admin","tenant":"firm-1","name":"first"}`)
	if plain := k.str("key"); !strings.HasPrefix(plain, "qhk_") || len(plain) != 47 || k.str("tenant") != "firm-1" {
		t.Fatalf("key = %s, want qhk_ and 43 characters", k.body)
	}
	r.keys["new"] = k.str("key")
	r.must(200, "new", "GET", "/v1/webhooks", "")
	r.must(422, "new", "POST", "/v1/api-keys", `{"role":"operator"}`)
	r.must(404, "new", "POST", "/v1/api-keys", `{"role":"viewer","tenant":"default"}`)
	r.must(404, operator, "POST", "/v1/api-keys", `{"role":"viewer","tenant":"none"}`)
	list := r.must(200, "new", "GET", "/v1/api-keys", "")
	if len(list.items()) != 1 || strings.Contains(list.body, k.str("key")) || list.items()[0]["key"] != nil {
		t.Errorf("keys = %s, want one without its text", list.body)
	}
	if p := r.must(200, operator, "GET", "/v1/api-keys", ""); !strings.Contains(p.body, `"operator"`) {
		t.Errorf("the operator does not see the operators' keys: %s", p.body)
	}
	r.must(404, foreign, "DELETE", "/v1/api-keys/"+k.str("id"), "")
	r.must(204, "new", "DELETE", "/v1/api-keys/"+k.str("id"), "")
	r.must(401, "new", "GET", "/v1/webhooks", "")
}

func TestETagRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	path, tag := w.header.Get("Location"), w.header.Get("ETag")
	var wg sync.WaitGroup
	var won, lost atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			switch p := r.call(admin, "PATCH", path, fmt.Sprintf(`{"description":"%d"}`, i), "If-Match", tag); p.code {
			case 200:
				won.Add(1)
			case 412:
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Errorf("%d won and %d lost, want 1 and 7", won.Load(), lost.Load())
	}
	now := r.must(200, viewer, "GET", path, "").header.Get("ETag")
	if now == tag {
		t.Errorf("ETag = %s after a change, want another", now)
	}
	r.must(412, admin, "DELETE", path, "", "If-Match", tag)
	r.must(412, admin, "PATCH", path, `{}`, "If-Match", `W/`+now)
	r.must(200, admin, "PATCH", path, `{"enabled":false}`, "If-Match", "*")
	r.must(204, admin, "DELETE", path, "")
	r.must(404, admin, "GET", path, "")
	if h := r.engine.hooks[1]; !h.Deleted() {
		t.Error("the engine does not know that the webhook was deleted")
	}
}

// calls is every call that there is.
var calls = map[string]string{
	"/v1/events": "get post", "/v1/events/batch": "post", "/v1/events/{id}": "get", "/v1/event-types": "get",
	"/v1/webhooks": "get post", "/v1/webhooks/{id}": "get patch delete", "/v1/webhooks/{id}/test": "post", "/v1/webhooks/preview": "post", "/v1/webhooks/{id}/receiver": "get",
	"/v1/deliveries": "get", "/v1/deliveries/count": "get", "/v1/deliveries/retry": "post", "/v1/deliveries/{id}": "get", "/v1/deliveries/{id}/retry": "post",
	"/v1/error-classes": "get", "/v1/tenants": "get post", "/v1/tenants/{id}": "patch delete", "/v1/tenants/{id}/restore": "post", "/v1/tenants/{id}/export": "get", "/v1/links": "post", "/v1/stats": "get", "/v1/attempts/live": "get", "/v1/stats/webhooks": "get", "/v1/sign-in": "get post delete", "/v1/api-keys": "get post", "/v1/api-keys/{id}": "delete",
	"/v1/advisors": "get post", "/v1/advisors/{id}": "get patch delete",
	"/v1/investors": "get post", "/v1/investors/{id}": "get patch delete", "/v1/investors/{id}/restore": "post",
	"/v1/investors/{id}/advice-sessions": "get post", "/v1/advice-sessions/{id}": "get patch delete",
	"/v1/advice-sessions/{id}/complete": "post", "/v1/advice-sessions/{id}/restore": "post",
	"/v1/advice-sessions/{id}/reports": "get post", "/v1/advice-sessions/{id}/reports/{report}": "get",
}

// bodiless tells whether a POST to the path has no body.
func bodiless(path string) bool {
	return path != "/v1/deliveries/retry" &&
		slices.Contains([]string{"retry", "complete", "restore", "reports", "sign-in"},
			path[strings.LastIndexByte(path, '/')+1:])
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.must(200, "", "GET", "/openapi.json", "")
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(p.body), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(want, []byte(p.body)) {
		t.Errorf("/openapi.json is not %s (%v); if the change is wanted, run go test ./internal/api -update",
			golden, err)
	}
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(p.body), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("openapi = %q (%v), want 3.1", doc.OpenAPI, err)
	}
	for path, methods := range calls {
		for m := range strings.FieldsSeq(methods) {
			op := doc.Paths[path][m]
			if op == nil {
				t.Errorf("the document lacks %s %s", m, path)
				continue
			}
			if (m == "post" && !bodiless(path) || m == "patch") != (op["requestBody"] != nil) {
				t.Errorf("%s %s: request body is %v", m, path, op["requestBody"])
			}
		}
	}
	if len(doc.Paths) != len(calls) {
		t.Errorf("the document has %d paths, want %d", len(doc.Paths), len(calls))
	}
	for name, field := range map[string]string{"WebhookPatch": "signing_key", "NewWebhook": "auth",
		"StoredEvent": "object_id",
		"NewAPIKey":   "networks", "LiveAttempt": "status", "InvestorPatch": "email"} {
		schema, _ := doc.Components.Schemas[name].(map[string]any)
		if properties, _ := schema["properties"].(map[string]any); properties[field] == nil {
			t.Errorf("schema %s lacks %s", name, field)
		}
	}
	checkRefs(t, doc.Components.Schemas, []byte(p.body))
}

// checkRefs checks that each reference leads to a schema and each schema is referred to.
func checkRefs(t *testing.T, schemas map[string]any, doc []byte) {
	t.Helper()
	used := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			if ref, ok := x["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/components/schemas/")
				if used[name] = true; schemas[name] == nil {
					t.Errorf("$ref %s leads nowhere", ref)
				}
			}
			for _, y := range x {
				walk(y)
			}
		case []any:
			for _, y := range x {
				walk(y)
			}
		}
	}
	var all any
	_ = json.Unmarshal(doc, &all)
	walk(all)
	for name := range schemas {
		if !used[name] {
			t.Errorf("schema %s is not used", name)
		}
	}
}

func TestDocsLoadsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.must(200, "", "GET", "/docs", "")
	for path := range calls {
		if !strings.Contains(p.body, path+"</code>") {
			t.Errorf("/docs lacks %s", path)
		}
	}
	for _, bad := range []string{"http://", "https://", "<script", "src=", "<link", "ZgotmplZ"} {
		if strings.Contains(p.body, bad) {
			t.Errorf("/docs has %s", bad)
		}
	}
	if got := p.header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("policy of /docs = %q", got)
	}
}

func BenchmarkPublish(b *testing.B) {
	r := newRig(b)
	instant := &instantEngine{fakeEngine: r.engine}
	h, err := New(Config{Engine: instant, Store: r.store, Guard: fakeGuard{}})
	if err != nil {
		b.Fatal(err)
	}
	auth := "Bearer " + r.keys[publisher]
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("POST", "/v1/events", strings.NewReader(eventBody))
		req.Header.Set("Authorization", auth)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != http.StatusAccepted {
			b.Fatal(w.Body)
		}
	}
}

// TestEverythingIsDescribed: each property, parameter, tag and operation of the document says what it is.
func TestEverythingIsDescribed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	type described struct{ Description, Summary string }
	var doc struct {
		Tags       []struct{ Name, Description string }
		Servers    []struct{ URL string }
		Components struct {
			Schemas map[string]struct{ Properties map[string]described }
		}
		Paths, Webhooks map[string]map[string]struct {
			Tags        []string
			Summary     string
			Parameters  []struct{ Name, Description string }
			OperationID string
		}
	}
	if err := json.Unmarshal([]byte(r.must(200, "", "GET", "/openapi.json", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Servers) != 1 || len(doc.Webhooks) != 9 {
		t.Errorf("the document has %d servers and %d webhooks, want 1 and 9", len(doc.Servers), len(doc.Webhooks))
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		if tags[tag.Name] = true; tag.Description == "" {
			t.Errorf("tag %s has no description", tag.Name)
		}
	}
	for name, s := range doc.Components.Schemas {
		for property, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", name, property)
			}
		}
	}
	for _, paths := range []map[string]map[string]struct {
		Tags        []string
		Summary     string
		Parameters  []struct{ Name, Description string }
		OperationID string
	}{doc.Paths, doc.Webhooks} {
		for path, methods := range paths {
			for method, op := range methods {
				for _, tag := range op.Tags {
					if !tags[tag] {
						t.Errorf("%s %s has the tag %s, which the document lacks", method, path, tag)
					}
				}
				if op.Summary == "" || op.OperationID == "" {
					t.Errorf("%s %s has no summary, or no ID", method, path)
				}
				for _, p := range op.Parameters {
					if p.Description == "" {
						t.Errorf("%s %s: the parameter %s has no description", method, path, p.Name)
					}
				}
			}
		}
	}
}
