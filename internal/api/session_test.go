package api

import (
	"encoding/json"
	"errors"
	"iter"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
)

// saidBy is what came of a call: a problem, or the result.
func saidBy(out []reflect.Value) string {
	if all, ok := out[0].Interface().(iter.Seq2[client.Exported, error]); ok {
		var list []client.Exported
		var last error
		for x, err := range all {
			list, last = append(list, x), err
		}
		return saidBy([]reflect.Value{reflect.ValueOf(list), reflect.ValueOf(&last).Elem()})
	}
	if err, _ := out[len(out)-1].Interface().(error); err != nil {
		var p *client.Problem
		if !errors.As(err, &p) {
			return "no problem: " + err.Error()
		}
		b, _ := json.Marshal(p)
		return string(b)
	}
	var list []any
	for _, v := range out[:len(out)-1] {
		list = append(list, v.Interface())
	}
	b, _ := json.Marshal(list)
	return string(b)
}

// TestSessionsAreTheAPI makes every call within the process and over HTTP, with all kinds of keys: both say the same,
// so that no rule of who may what, and of what is taken, is at one door only.
func TestSessionsAreTheAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hook := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	other := r.must(201, admin, "POST", "/v1/webhooks", strings.Replace(hookBody, "/a?", "/b?", 1)).str("id")
	ev := r.must(202, publisher, "POST", "/v1/events", eventBody).str("id")
	delivery := r.must(200, viewer, "GET", "/v1/deliveries?webhook_id="+hook, "").items()[0]["id"].(string)
	r.link("link", admin, `{"role":"viewer","webhook_id":"`+hook+`"}`)
	r.keys["bound"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")
	r.link("unopened", admin, `{"role":"viewer"}`)
	r.keys["signed in"] = r.must(201, admin, "POST", "/v1/sign-in", "").str("key")
	r.keys["from elsewhere"] = r.must(201, admin, "POST", "/v1/api-keys",
		`{"role":"admin","networks":["198.51.100.0/24"]}`).str("key")
	s := httptest.NewServer(r.h)
	defer s.Close()
	calls, refused, given := reflect.TypeFor[client.API](), 0, 0
	for _, who := range []string{publisher, viewer, admin, operator, "other/admin", "bound", "signed in",
		"from elsewhere"} {
		for _, tenant := range []string{"", "default", "other", "nothing"} {
			within := reflect.ValueOf(r.h.Session(r.keys[who], tenant, "127.0.0.1:1"))
			over := reflect.ValueOf(client.New(s.URL, r.keys[who], client.WithTenant(tenant)))
			for _, id := range []string{"nothing", hook, other, ev, delivery, strings.Repeat("x", 300)} {
				for i := range calls.NumMethod() {
					m := calls.Method(i)
					if m.Name == "Live" || m.Name == "SignIn" || m.Name == "SignOut" {
						continue // a stream, and what says another thing each time
					}
					args := []reflect.Value{reflect.ValueOf(t.Context())}
					for k := 1; k < m.Type.NumIn(); k++ {
						a := reflect.New(m.Type.In(k)).Elem()
						switch {
						case a.Kind() == reflect.String:
							a.SetString(id)
						case a.Kind() == reflect.Struct && a.FieldByName("WebhookID").IsValid():
							a.FieldByName("WebhookID").SetString(id)
						case a.Kind() == reflect.Struct && a.FieldByName("Limit").IsValid():
							a.FieldByName("Limit").SetInt(int64(len(id) - 7)) // 0 to 293
						}
						args = append(args, a)
					}
					if strings.HasPrefix(m.Name, "Delete") || strings.HasPrefix(m.Name, "Update") ||
						m.Name == "TestWebhook" {
						if id == hook || id == other {
							continue // what changes something says another thing the second time
						}
					}
					a, b := saidBy(within.MethodByName(m.Name).Call(args)), saidBy(over.MethodByName(m.Name).Call(args))
					if m.Name == "PreviewWebhook" || m.Name == "EventTypes" { // have the time of the call
						a, b = a[:min(len(a), 40)], b[:min(len(b), 40)]
					}
					if a != b {
						t.Errorf("%s for %q, %s(%.20s):\nwithin the process %s\nover HTTP          %s", who, tenant,
							m.Name, id, a, b)
					}
					if strings.HasPrefix(a, "[") {
						given++
					} else {
						refused++
					}
				}
			}
		}
	}
	if refused < 1000 || given < 300 {
		t.Errorf("%d calls were refused and %d answered; are they still made?", refused, given)
	}
	for _, none := range []string{"qhk_unknown", "", r.keys["unopened"], strings.Repeat("x", 1000)} {
		if _, err := r.h.Session(none, "", "127.0.0.1:1").Webhooks(t.Context(),
			client.WebhookQuery{}); !client.IsStatus(err, 401) {
			t.Errorf("what opens nothing lists webhooks: %v, want 401", err)
		}
	}
	for _, bad := range []string{"a\x00b", "\xff"} {
		_, err := r.h.Session(r.keys[admin], "", "127.0.0.1:1").Webhooks(t.Context(), client.WebhookQuery{Text: bad})
		if !client.IsStatus(err, 422) {
			t.Errorf("what is no text is searched for: %v, want 422", err)
		}
	}
}
