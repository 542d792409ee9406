package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// TestShownRequestIsTheReceived: what the API shows of an attempt's request, signatures included, is what the receiver
// got.
func TestShownRequestIsTheReceived(t *testing.T) {
	type request struct {
		method, uri, body string
		header            http.Header
	}
	got := make(chan request, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		h := q.Header.Clone()
		h.Set("Host", q.Host)
		if q.Method == http.MethodPost { // net/http takes it out of the headers
			h.Set("Content-Length", strconv.FormatInt(q.ContentLength, 10))
		}
		got <- request{q.Method, q.RequestURI, string(b), h}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(receiver.Close)
	c, _ := start(t, app.Config{Data: t.TempDir()})
	for _, method := range []string{"POST", "GET"} {
		w := must(c.CreateWebhook(t.Context(),
			client.NewWebhook{URL: receiver.URL + "/a?b=c", Method: method, EventTypes: []string{"**"},
				GenerateSigningKey: true,
				Auth: &client.Auth{Type: client.AuthBearer,
					Token: "a-token"}, Headers: []client.Header{{Name: "X-Team", Value: "blue"}},
				RetrySchedule: []client.Duration{client.Duration(1500 * time.Millisecond)}}))(t)
		must(c.Publish(t.Context(), client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: "o"}))(t)
		var d client.DeliveryDetail
		eventually(t, "two attempts on record", func() bool {
			list := must(c.Deliveries(t.Context(), client.DeliveryQuery{WebhookID: w.ID}))(t).Deliveries
			if len(list) != 1 || list[0].Status != client.StatusExhausted {
				return false
			}
			d = must(c.Delivery(t.Context(), list[0].ID))(t)
			return true
		})
		for _, a := range d.AttemptLog {
			g := <-got
			if shown := d.Request; shown == nil || shown.Method != g.method || shown.URL != receiver.URL+g.uri ||
				shown.Body != g.body {
				t.Fatalf("shown %+v, received %+v", shown, g)
			}
			if a.Changed {
				t.Errorf("attempt %d: changed, want not", a.Number)
			}
			for _, h := range a.Headers {
				want := h.Value
				if want == "[secret]" {
					want = map[string]string{"Authorization": "Bearer a-token", "X-Team": "blue"}[h.Name]
				}
				if v := g.header.Get(h.Name); v != want || want == "" {
					t.Errorf("%s, attempt %d: %s shown as %q, received %q", method, a.Number, h.Name, want, v)
				}
				g.header.Del(h.Name)
			}
			if len(g.header) > 0 {
				t.Errorf("%s, attempt %d: received and not shown: %v", method, a.Number, g.header)
			}
		}
		w = must(c.Webhook(t.Context(), w.ID))(t)
		if err := c.DeleteWebhook(t.Context(), w.ID, w.ETag); err != nil {
			t.Fatal(err)
		}
	}
}
