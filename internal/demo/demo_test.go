package demo

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/inbox"
	"github.com/quantfolio/qhook/signature"
)

const testKey = "a key of the demo, typed"

func newTestReceiver() (*Receiver, *bytes.Buffer) {
	var out bytes.Buffer
	rec := NewReceiver(&inbox.LockedWriter{W: &out})
	rec.register(hook{ID: "post", Method: http.MethodPost, key: testKey, username: "demo", password: "p",
		header: http.Header{"X-Demo-System": {"crm"}}})
	rec.register(hook{ID: "get", Method: http.MethodGet, key: testKey, header: http.Header{"X-Demo-Key": {"k"}}})
	return rec, &out
}

// send makes the receiver get a request and returns the status that it answers.
func send(rec *Receiver, method, id string, f facts, password, key string) int {
	var r *http.Request
	var content string
	if method == http.MethodPost {
		content = fmt.Sprintf(`{"id":%q,"type":%q,"object_id":%q,"object_owner_id":%q,"owner_id":%q,"data":%s}`,
			id, f.Type, f.ObjectID, f.ObjectOwnerID, f.OwnerID, f.Data)
		r = httptest.NewRequest(method, "/post", strings.NewReader(content))
		r.SetBasicAuth("demo", password)
		r.Header.Set("X-Demo-System", "crm")
	} else {
		content = url.Values{"id": {id}, "type": {f.Type}, "object_id": {f.ObjectID},
			"object_owner_id": {f.ObjectOwnerID}, "owner_id": {f.OwnerID}}.Encode()
		r = httptest.NewRequest(method, "/get?"+content, nil)
		r.Header.Set("X-Demo-Key", "k")
	}
	r.Header.Set(signature.HeaderQuantfolio, signature.Quantfolio([]byte(key), []byte(content)))
	w := httptest.NewRecorder()
	rec.ServeHTTP(w, r)
	return w.Code
}

func TestDemoReceiver(t *testing.T) {
	t.Parallel()
	rec, _ := newTestReceiver()
	f := facts{failsFirst, "s", "i", "a", `{"title":"T"}`}
	rec.expect(expectation{facts: f})
	for i, tt := range []struct {
		password, key string
		want          int
		complete      bool
	}{{"p", testKey, 503, false}, {"p", testKey, 204, false}, {"wrong", testKey, 401, false}, {"p", "another key",
		401, false}} {
		if got := send(rec, http.MethodPost, "e1", f, tt.password, tt.key); got != tt.want {
			t.Errorf("request %d: status = %d, want %d", i, got, tt.want)
		}
	}
	s := rec.seen[pair{"e1", http.MethodPost}]
	if s.requests != 4 || s.verified != 2 || s.accepted != 1 || s.changed {
		t.Errorf("seen = %+v, want 4 requests, 2 verified, 1 accepted, unchanged", s)
	}
	if rec.complete() {
		t.Error("complete before the GET = true, want false")
	}
	if got := send(rec, http.MethodGet, "e1", f, "", testKey); got != 204 || !rec.complete() {
		t.Errorf("GET: status = %d, complete = %t, want 204, true", got, rec.complete())
	}
}

// TestDemoSummary lets one thing differ from what must be.
func TestDemoSummary(t *testing.T) {
	t.Parallel()
	type sent struct {
		method, id, password string
		facts                facts
	}
	type world struct {
		types    []client.EventType
		requests []sent
		records  []client.Delivery
	}
	for _, tt := range []struct {
		name string
		edit func(*world)
		want string // in what is printed
	}{
		{"all well", func(*world) {}, "9 events of all 9 types, 18 deliveries, and nothing else arrived"},
		{"wrong owner in the POST", func(w *world) { w.requests[0].facts.OwnerID = "ben" }, "owner_id ben"},
		{"wrong owner in the GET", func(w *world) { w.requests[1].facts.OwnerID = "ben" }, "owner_id ben"},
		{"wrong object", func(w *world) { w.requests[0].facts.ObjectID = "other" }, "object_id other"},
		{"wrong object owner", func(w *world) { w.requests[0].facts.ObjectOwnerID = "other" }, "object_owner_id other"},
		{"wrong type", func(w *world) { w.requests[0].facts.Type = w.requests[2].facts.Type },
			"No change explains the POST"},
		{"wrong data", func(w *world) { w.requests[0].facts.Data = `{"n":-1}` }, `data {"n":-1}`},
		{"missing event", func(w *world) { w.requests = w.requests[2:] }, "did not arrive"},
		{"missing GET", func(w *world) { w.requests = append(w.requests[:1], w.requests[2:]...) },
			"The GET of qap.investor.advice.created did not arrive"},
		{"extra event", func(w *world) {
			f := w.requests[0].facts
			w.requests = append(w.requests, sent{http.MethodPost, "e9", "p", f}, sent{http.MethodGet, "e9", "", f})
			post, get := w.records[0], w.records[1]
			post.EventID, get.EventID = "e9", "e9"
			w.records = append(w.records, post, get)
		}, "No change explains the GET of qap.investor.advice.created"},
		{"accepted twice", func(w *world) {
			w.requests = append(w.requests, w.requests[0])
			w.records[0].Attempts++
		}, "was accepted 2 times"},
		{"other bytes", func(w *world) { w.requests[6].facts.Data += " " }, "retried with other bytes"},
		{"wrong password", func(w *world) { w.requests[0].password = "wrong" }, "not signed or authorised"},
		{"not delivered on record", func(w *world) { w.records[0].Status = client.StatusWaiting }, `"waiting"`},
		{"an attempt too many on record", func(w *world) { w.records[0].Attempts++ }, "2 attempts"},
		{"not on record", func(w *world) { w.records = w.records[1:] }, "17 deliveries are on record"},
		{"on record and never sent", func(w *world) { w.records = append(w.records, client.Delivery{EventID: "e9"}) },
			"19 deliveries are on record"},
		{"no retry", func(w *world) { w.requests = append(w.requests[:6], w.requests[7:]...) }, "accepted 0 times"},
		{"a type that nothing triggers",
			func(w *world) {
				w.types = append(w.types,
					client.EventType{Type: "qap.new"})
			}, "No change triggered qap.new"},
		{"a type that is not listed", func(w *world) { w.types = w.types[1:] }, "does not list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec, out := newTestReceiver()
			var w world
			for i, et := range event.Catalogue() {
				id := fmt.Sprintf("e%d", i)
				f := facts{et.Name, fmt.Sprintf("object%d", i), "owner", "ada", fmt.Sprintf(`{"n":%d}`, i)}
				rec.expect(expectation{facts: f, cause: "Ada acts"})
				w.types = append(w.types, client.EventType{Type: et.Name})
				w.requests = append(w.requests, sent{http.MethodPost, id, "p", f}, sent{http.MethodGet, id, "", f})
				post := client.Delivery{EventID: id, WebhookID: "post", Status: client.StatusDelivered, Attempts: 1}
				get := post
				if get.WebhookID = "get"; et.Name == failsFirst {
					post.Attempts = 2
				}
				w.records = append(w.records, post, get)
			}
			failing := w.requests[6] // the POST of failsFirst; what the world has is its retry
			tt.edit(&w)
			for _, r := range append([]sent{failing}, w.requests...) {
				send(rec, r.method, r.id, r.facts, r.password, testKey)
			}
			out.Reset()
			if got, want := rec.summary(w.types, w.records), tt.name == "all well"; got != want ||
				!strings.Contains(out.String(), tt.want) {
				t.Errorf("summary = %t, want %t and %q in:\n%s", got, want, tt.want, out)
			}
		})
	}
}
