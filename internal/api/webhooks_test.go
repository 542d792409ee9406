package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// instantEngine accepts without writing, to measure the API alone.
type instantEngine struct{ *fakeEngine }

func (e *instantEngine) Accept(_ context.Context, _ string, evs []event.Event) ([]engine.Receipt, error) {
	out := make([]engine.Receipt, len(evs))
	for i := range evs {
		out[i] = engine.Receipt{ID: evs[i].ID, Type: evs[i].Type, Time: evs[i].Time}
	}
	return out, nil
}

const fullHook = `{"url":"https://hooks.example.com/a","method":"POST","event_types":["qap.investor.**"],"owner_id":"o1",
	"auth":{"type":"basic","username":"u","password":"canary-password"},
	"headers":[{"name":"X-Team","value":"canary-header"},{"name":"X-More","value":"canary-more"}],
	"signing_key":"canary-signing-key-1","description":"d","timeout":"2m","retry_schedule":["5s","2m","1h"]}`

// TestMethodLeftOut: POST is what most receivers take.
func TestMethodLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.must(201, admin, "POST", "/v1/webhooks", `{"url":"https://bank.example/hook","event_types":["**"]}`)
	if w.str("method") != "POST" {
		t.Errorf("the webhook is %s, want the method POST", w.body)
	}
	path := w.header.Get("Location")
	for _, c := range [][2]string{{`{"method":"GET"}`, "GET"}, {`{"description":"x"}`, "GET"},
		{`{"method":null}`, "POST"}} {
		if got := r.must(200, admin, "PATCH", path, c[0]).str("method"); got != c[1] {
			t.Errorf("after %s the method is %s, want %s", c[0], got, c[1])
		}
	}
	r.must(422, admin, "PATCH", path, `{"method":""}`)
	r.must(422, admin, "PATCH", path, `{"method":"PUT"}`)
}

func TestWebhookLife(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body := strings.Replace(fullHook, `"2m","retry`, `"30s","retry`, 1)
	w := r.must(201, admin, "POST", "/v1/webhooks", body)
	path := w.header.Get("Location")
	got := r.must(200, viewer, "GET", path, "")
	if got.body != w.body || got.header.Get("ETag") != `"1"` {
		t.Errorf("GET = %s %s, want as created %s", got.header.Get("ETag"), got.body, w.body)
	}
	for _, want := range []string{`"auth":{"type":"basic","username":"u","password":"[secret]"}`,
		`{"name":"X-Team","value":"[secret]"}`,
		`"timeout":"30s"`, `"retry_schedule":["5s","2m","1h"]`, `"enabled":true`, `"warnings":[]`, `"signing_keys":[{"id":"k_`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("webhook = %s, want %s in it", got.body, want)
		}
	}

	stored := func() (pass, team, more, key string) {
		h, err := r.store.WebhookByID(t.Context(), "default", w.str("id"))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range h.Headers {
			switch x.Name {
			case "X-Team":
				team = x.Value.Reveal()
			case "X-More":
				more = x.Value.Reveal()
			}
		}
		if len(h.SigningKeys) > 0 {
			key = h.SigningKeys[0].Key.Reveal()
		}
		return h.Auth.Secret.Reveal(), team, more, key
	}

	// What is absent stays; secrets that are left out or shown as [secret] stay.
	r.must(200, admin, "PATCH", path, `{"description":"new","auth":{"type":"basic","username":"u"},"headers":[{"name":"x-team"},{"name":"X-More","value":"[secret]"}]}`)
	r.must(200, admin, "PATCH", path, `{"headers":[{"name":"X-Team"},{"name":"X-More"}]}`)
	if p, a, b, k := stored(); p != "canary-password" || a != "canary-header" || b != "canary-more" ||
		k != "canary-signing-key-1" {
		t.Errorf("secrets after a change that left them out = %q %q %q %q", p, a, b, k)
	}
	got = r.must(200, admin, "GET", path, "")
	if got.str("description") != "new" || got.str("timeout") != "30s" || got.str("owner_id") != "o1" {
		t.Errorf("after a change: %s", got.body)
	}
	for body, field := range map[string]string{
		`{"auth":{"type":"basic","username":"other"}}`:          "auth.password",
		`{"auth":{"type":"bearer"}}`:                            "auth.token",
		`{"auth":{"type":"bearer","token":"x","password":"y"}}`: "auth.password",
		`{"auth":{"type":"magic"}}`:                             "auth.type",
		`{"headers":[{"name":"X-New"}]}`:                        "headers[0].value",
		`{"headers":[{"name":"Host","value":"x"}]}`:             "headers[0].name",
		`{"headers":[{"name":"X-A","value":"x","y":1}]}`:        "headers[0].y",
		`{"nope":1}`:                          "nope",
		`{"url":null}`:                        "url",
		`{"url":"https://x.internal/"}`:       "url",
		`{"url":"http://hooks.example.com/"}`: "url",
		`{"method":"PUT","timeout":"x","event_types":["zzz"],"enabled":"1"}`: "timeout",
		`{"signing_key":"0123456789abcdef","generate_signing_key":true}`:     "generate_signing_key",
		`{"signing_key_overlap":"1h"}`:                                       "signing_key_overlap",
		`{"signing_key":"0123456789abcdef","signing_key_overlap":"-1h"}`:     "signing_key_overlap",
		`{"signing_key":"0123456789abcdef","signing_key_switch_at":"soon"}`:  "signing_key_switch_at",
		`{"description":"a","description":"b"}`:                              "description",
		`{"retry_schedule":["1s","x"]}`:                                      "retry_schedule[1]",
	} {
		if p := r.must(422, admin, "PATCH", path, body); !strings.Contains(" "+p.locations()+" ", " "+field+" ") {
			t.Errorf("PATCH %s: violations at %q, want %s", body, p.locations(), field)
		}
	}
	if p := r.must(422, admin, "PATCH", path,
		`{"method":"PUT","timeout":"x","event_types":["zzz"],"enabled":"1"}`); len(strings.Fields(p.locations())) != 4 {
		t.Errorf("violations at %q, want all four at once", p.locations())
	}
	if p := r.must(422, admin, "PATCH", path, `{"url":"https://x.internal/"}`); strings.Contains(p.body, "10.9.8.7") ||
		strings.Contains(p.body, "--allow-network") {
		t.Errorf("refused target = %s, want neither the setting nor the address", p.body)
	}
	if !strings.Contains(r.log.String(), "10.9.8.7") {
		t.Error("the refused address is not in the log")
	}

	// null is the default; the type decides what stays.
	r.must(200, admin, "PATCH", path, `{"owner_id":null,"timeout":null,"retry_schedule":null,"headers":null,"auth":null,"description":null}`)
	got = r.must(200, admin, "GET", path, "")
	if got.str("timeout") != "15s" || len(got.json["retry_schedule"].([]any)) != 14 ||
		!strings.Contains(got.body, `"auth":{"type":"none"}`) || !strings.Contains(got.body, `"headers":[]`) {
		t.Errorf("after nulls: %s", got.body)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.must(201, admin, "POST", "/v1/webhooks", strings.Replace(hookBody, "{", `{"generate_signing_key":true,`, 1))
	path, first := w.header.Get("Location"), w.str("signing_key")
	if !strings.HasPrefix(first, "whsec_") {
		t.Fatalf("created = %s, want a generated key", w.body)
	}
	if p := r.must(200, admin, "GET", path, ""); strings.Contains(p.body, first) {
		t.Errorf("the generated key is shown again: %s", p.body)
	}
	p := r.must(200, admin, "PATCH", path, `{"generate_signing_key":true,"signing_key_overlap":"1h"}`)
	keys := p.json["signing_keys"].([]any)
	if len(keys) != 2 || p.str("signing_key") == "" || p.str("signing_key") == first ||
		keys[1].(map[string]any)["expires_at"] == nil {
		t.Errorf("rotated = %s, want two keys, the old one with its end", p.body)
	}
	if p := r.must(200, admin, "PATCH", path, `{"signing_key":""}`); len(p.json["signing_keys"].([]any)) != 0 {
		t.Errorf("unsigned = %s, want no keys", p.body)
	}
	if p := r.must(200, admin, "PATCH", path, `{"signing_key":"short"}`); len(p.json["warnings"].([]any)) != 1 {
		t.Errorf("a short key = %s, want a warning", p.body)
	}
}

func TestWebhookTest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	path := r.must(201, admin, "POST", "/v1/webhooks",
		strings.Replace(fullHook, `"2m","retry`, `"30s","retry`, 1)).header.Get("Location")
	p := r.must(200, admin, "POST", path+"/test", `{"type":"qap.investor.updated"}`)
	req := p.json["request"].(map[string]any)
	if !strings.Contains(req["body"].(string), "qap.investor.updated") ||
		p.json["response"].(map[string]any)["body"] != "thanks" {
		t.Errorf("test = %s, want request and response", p.body)
	}
	r.must(422, admin, "POST", path+"/test", `{"type":"nope"}`)
	r.must(422, admin, "POST", path+"/test", `{"x":1}`)
	r.must(404, admin, "POST", "/v1/webhooks/none/test", ``)
	limited := false
	for range DefaultLimits.Tests + 1 {
		limited = limited || r.call(admin, "POST", path+"/test", "").code == 429
	}
	if !limited {
		t.Error("one test more than the limit is not limited")
	}
}

// TestRotationUnderWay: a rotation does not end the key that another has just promised, unless that is wanted.
func TestRotationUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.must(201, admin, "POST", "/v1/webhooks",
		strings.Replace(hookBody, "{", `{"generate_signing_key":true,`, 1))
	path, old := first.header.Get("Location"), keyIDs(first)[0]
	second := r.must(200, admin, "PATCH", path, `{"generate_signing_key":true}`)
	for _, body := range []string{`{"generate_signing_key":true}`,
		`{"signing_key":"another-key-of-enough-bytes","force":false}`} {
		if p := r.must(409, admin, "PATCH", path, body); !strings.Contains(p.str("detail"), old+" is promised until ") {
			t.Errorf("PATCH %s = %s, want the key %s named", body, p.body, old)
		}
	}
	if got := keyIDs(r.must(200, admin, "GET", path, "")); !slices.Equal(got, keyIDs(second)) || len(got) != 2 ||
		got[1] != old {
		t.Errorf("keys after refusals are %q, want %q", got, keyIDs(second))
	}
	if got := keyIDs(r.must(200, admin, "PATCH", path, `{"generate_signing_key":true,"force":true}`)); slices.Contains(got, old) {
		t.Errorf("keys after a forced rotation are %q, want %s gone", got, old)
	}
	r.must(200, admin, "PATCH", path, `{"signing_key":null}`)
	r.must(200, admin, "PATCH", path, `{"generate_signing_key":true}`)
	r.must(200, admin, "PATCH", path, `{"generate_signing_key":true,"signing_key_overlap":"0s"}`) // promises nothing
	r.must(200, admin, "PATCH", path, `{"generate_signing_key":true}`)
	if p := r.must(422, admin, "PATCH", path, `{"force":true}`); p.locations() != "force" {
		t.Errorf("force alone = %s, want a violation of it", p.body)
	}
}

func keyIDs(p reply) (ids []string) {
	for _, k := range p.json["signing_keys"].([]any) {
		ids = append(ids, k.(map[string]any)["id"].(string))
	}
	return ids
}

// TestHeadersAsAnObject: headers are taken as people write them, too.
func TestHeadersAsAnObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.must(201, admin, "POST", "/v1/webhooks",
		strings.Replace(hookBody, "{", `{"headers":{"X-Team":"blue","X-Two":"2"},`, 1))
	if want := `"headers":[{"name":"X-Team","value":"[secret]"},{"name":"X-Two","value":"[secret]"}]`; !strings.Contains(p.body, want) {
		t.Errorf("the webhook is %s, want %s", p.body, want)
	}
	path := p.header.Get("Location")
	p = r.must(200, admin, "PATCH", path, `{"headers":{"x-two":null,"X-Three":"3"}}`)
	if want := `"headers":[{"name":"x-two","value":"[secret]"},{"name":"X-Three","value":"[secret]"}]`; !strings.Contains(p.body, want) {
		t.Errorf("the webhook is %s, want %s", p.body, want)
	}
	for body, want := range map[string]string{
		`{"headers":{"X-New":null}}`: "headers.X-New", `{"headers":{"X-A":1}}`: "headers.X-A", `{"headers":{"X-A":"1","X-A":"2"}}`: "headers.X-A",
		`{"headers":"X-A: 1"}`: "headers", `{"headers":{"a b":"1"}}`: "headers[0].name",
	} {
		if p := r.must(422, admin, "PATCH", path, body); p.locations() != want {
			t.Errorf("PATCH %s = %s, want a violation of %s", body, p.body, want)
		}
	}
}

// TestFindWebhooks: the list finds webhooks by text, state and event type, page by page.
func TestFindWebhooks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	make := func(url, description, pattern, more string) string {
		return r.must(201, admin, "POST", "/v1/webhooks",
			fmt.Sprintf(`{"url":%q,"description":%q,"event_types":[%q]%s}`,
				url, description, pattern, more)).str("id")
	}
	crm := make("https://crm.example.com/hook", "The CRM's", "qap.investor.*", "")
	risk := make("https://risk.example.com/hook", "Risk desk", "qap.investor.advice.**", `,"enabled":false`)
	all := make("https://all.example.com/crm", "", "**", `,"owner_id":"Desk 7"`)
	for query, want := range map[string][]string{
		"": {crm, risk, all}, "text=CRM": {crm, all}, "text=desk": {risk, all}, "text=" +
			risk[3:20]: {risk}, "text=nothing": {},
		"state=paused": {risk}, "state=idle": {crm, all}, "state=idle&text=all": {all}, "state=failing": {},
		"event_type=qap.investor.created": {crm, all}, "event_type=qap.investor.advice.created": {risk, all},
		"event_type=qap.investor.advice.created&state=paused&text=risk": {risk},
	} {
		var got []string
		for next, pages := "", 0; pages == 0 || next != ""; pages++ {
			p := r.must(200, viewer, "GET", "/v1/webhooks?limit=1&"+query+"&cursor="+next, "")
			for _, w := range p.items() {
				got = append(got, w["id"].(string))
			}
			if next, _ = p.json["next"].(string); pages > 5 {
				t.Fatalf("%q does not end", query)
			}
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	r.must(422, viewer, "GET", "/v1/webhooks?state=lost", "")
	if p := r.must(422, viewer, "GET", "/v1/webhooks?event_type=qap.investor.create", ""); !strings.Contains(p.body,
		"qap.investor.created") {
		t.Errorf("a wrong event type = %s, want the nearest named", p.body)
	}
}

// TestSameTargetIsTold: who makes a second webhook with one URL is told, and who sees one webhook only is not.
func TestSameTargetIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one := r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	two := r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	r.must(201, "other/admin", "POST", "/v1/webhooks", hookBody)
	told := func(p reply, id string) bool {
		return strings.Contains(fmt.Sprint(p.json["warnings"]), "Webhook "+id+" has the same URL")
	}
	if told(one, two.str("id")) || !told(two, one.str("id")) {
		t.Errorf("the first is warned of %v, the second of %v", one.json["warnings"], two.json["warnings"])
	}
	if p := r.must(200, viewer, "GET", one.header.Get("Location"), ""); !told(p, two.str("id")) {
		t.Errorf("the first, read again, is warned of %v, want the second", p.json["warnings"])
	}
	r.link("link", admin, `{"role":"viewer","webhook_id":"`+one.str("id")+`"}`)
	r.keys["bound"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")
	if p := r.must(200, "bound", "GET", one.header.Get("Location"), ""); told(p, two.str("id")) {
		t.Errorf("who sees the first only is told of the second: %s", p.body)
	}
	r.must(200, admin, "PATCH", two.header.Get("Location"), `{"method":"GET"}`)
	if p := r.must(200, viewer, "GET", one.header.Get("Location"), ""); told(p, two.str("id")) {
		t.Errorf("another method is no same target: %v", p.json["warnings"])
	}
}

// TestCanary writes a secret into every field that takes one, and looks for it in every answer and in the log.
func TestCanary(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ok := strings.Replace(fullHook, `"2m","retry`, `"30s","retry`, 1)
	path := r.must(201, admin, "POST", "/v1/webhooks", ok).header.Get("Location")
	for _, auth := range []string{`{"type":"bearer","token":"canary-token"}`,
		`{"type":"api_key","header":"X-Key","value":"canary-value"}`} {
		r.must(200, admin, "PATCH", path, `{"auth":`+auth+`,"signing_key":"canary-signing-key-2","force":true}`)
		r.must(200, admin, "POST", path+"/test", "")
	}
	for _, bad := range []string{
		fullHook,
		strings.Replace(ok, "canary-password", `canary\u0000-bad`, 1),
		strings.Replace(ok, "canary-header", `canary\nbad`, 1),
		strings.Replace(ok, "canary-signing-key-1", `canary\u0001bad`, 1),
		strings.Replace(ok, `"canary-password"`, `["canary-list"]`, 1),
		strings.Replace(ok, `"canary-header"`, `{"canary":1}`, 1),
		ok[:len(ok)-1],
	} {
		if p := r.call(admin, "POST", "/v1/webhooks", bad); p.code < 400 || p.code >= 500 {
			t.Errorf("POST %s = %d, want a refusal", bad, p.code)
		}
	}
	for _, get := range []string{path, "/v1/webhooks"} {
		r.must(200, viewer, "GET", get, "")
	}
	r.keys["bad"] = "qhk_canary-key"
	r.must(401, "bad", "GET", "/v1/webhooks", "")
	for _, s := range append(r.seen, r.log.String()) {
		if strings.Contains(s, "canary") {
			t.Errorf("a secret shows: %s", s)
		}
		for _, key := range r.keys {
			if strings.Contains(s, key) {
				t.Errorf("an API key shows: %s", s)
			}
		}
	}
}

func TestViewBody(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"": {}, "héllo": {"héllo"}, "cut \xe2\x82": {"cut "}, "\xff\xfe": {"", "//4="}, "a\xffb": {"", "Yf9i"},
	} {
		if text, base := viewBody([]byte(in)); text != want[0] || base != want[1] {
			t.Errorf("viewBody(%q) = %q, %q, want %q", in, text, base, want)
		}
	}
}

func TestDeliveryID(t *testing.T) {
	t.Parallel()
	key := store.DeliveryKey{Webhook: 26, Event: 0x1234}
	if got, want := EncodeDeliveryID(key), "d_0000000000001234_1a"; got != want {
		t.Errorf("EncodeDeliveryID(%v) = %s, want %s", key, got, want)
	}
	for _, s := range []string{"", "d_", "d_1_1", "d_0000000000001234_1A", "d_0000000000001234_01",
		"d_0000000000000000_1", "d_ffffffffffffffff_1", "d_0000000000001234_", "d_+000000000001234_1"} {
		if k, ok := DecodeDeliveryID(s); ok {
			t.Errorf("DecodeDeliveryID(%q) = %v, want none", s, k)
		}
	}
}

func FuzzCursor(f *testing.F) {
	hash := listHash("events", "t", client.EventQuery{})
	f.Add(encodeCursor(hash, cursor{1, 2, 3, 4}))
	f.Add("AQ")
	f.Add("d_0000000000001234_1a")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := decodeCursor(hash, s); err == nil && s != "" {
			if got := encodeCursor(hash, c); got != s {
				t.Errorf("encodeCursor(decodeCursor(%q)) = %q", s, got)
			}
			if _, err := decodeCursor(hash+1, s); err == nil {
				t.Errorf("decodeCursor(%q) passes with another filter", s)
			}
		}
		if k, ok := DecodeDeliveryID(s); ok && EncodeDeliveryID(k) != s {
			t.Errorf("EncodeDeliveryID(DecodeDeliveryID(%q)) = %q", s, EncodeDeliveryID(k))
		}
	})
}
