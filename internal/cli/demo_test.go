package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/signature"
)

func TestDemoReceiver(t *testing.T) {
	t.Parallel()
	const key = "a key of the demo, typed"
	rec := newDemoReceiver(&lockedWriter{w: io.Discard})
	rec.expect(demoHook{ID: "w1", Method: http.MethodPost, key: key, username: "demo", password: "p", header: http.Header{"X-Demo-System": {"crm"}}})
	body := `{"id":"e1","type":"` + demoFails + `"}`
	send := func(password, body, key string) int {
		r := httptest.NewRequest(http.MethodPost, "/post", strings.NewReader(body))
		r.SetBasicAuth("demo", password)
		r.Header.Set("X-Demo-System", "crm")
		r.Header.Set(signature.HeaderQuantfolio, signature.Quantfolio([]byte(key), []byte(body)))
		w := httptest.NewRecorder()
		rec.ServeHTTP(w, r)
		return w.Code
	}
	for i, tt := range []struct {
		password, key string
		want          int
	}{{"p", key, 503}, {"p", key, 204}} {
		if got := send(tt.password, body, tt.key); got != tt.want {
			t.Errorf("request %d: status = %d, want %d", i, got, tt.want)
		}
	}
	published := []client.Published{{ID: "e1", Type: demoFails}}
	hooks := []demoHook{{ID: "w1", Method: http.MethodPost}}
	record := []client.Delivery{{EventID: "e1", WebhookID: "w1", Status: client.StatusDelivered, Attempts: 2}}
	if rec.summary(published, hooks, record) {
		t.Error("summary of one event type = true, want false: there are nine")
	}
	s := rec.seen[demoPair{"e1", http.MethodPost}]
	if s.requests != 2 || s.verified != 2 || s.accepted != 1 || s.changed {
		t.Errorf("seen = %+v, want 2 requests, 2 verified, 1 accepted, unchanged", s)
	}
	if got := send("wrong", body, key); got != 401 {
		t.Errorf("wrong password: status = %d, want 401", got)
	}
	if got := send("p", body, "another key"); got != 401 {
		t.Errorf("wrong key: status = %d, want 401", got)
	}
}
