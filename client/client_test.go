package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
)

// seen is one request as the test's server got it.
type seen struct{ method, target, body, auth, contentType, ifMatch, tenant string }

// server answers every request with status and body, and tells what it got.
func server(t *testing.T, status int, contentType, body string) (*client.Client, *seen) {
	t.Helper()
	var got seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{r.Method, r.URL.RequestURI(), string(b), r.Header.Get("Authorization"), r.Header.Get("Content-Type"),
			r.Header.Get("If-Match"), r.Header.Get("X-Tenant")}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("ETag", `"3"`)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return client.New(s.URL+"/", "the-key", client.WithTenant("firm")), &got
}

func TestCalls(t *testing.T) {
	t.Parallel()
	enabled := false
	for _, tt := range []struct {
		name   string
		answer string
		call   func(*client.Client) (any, error)
		want   seen
		result string // %v of what the call returned
	}{
		{"Publish", `{"id":"e1","type":"t","time":"2023-03-15T12:46:00.000Z","deliveries":2}`,
			func(c *client.Client) (any, error) {
				p, err := c.Publish(t.Context(),
					client.Event{Type: "t", ObjectID: "<o>", Data: json.RawMessage(`{"n":12345678901234567890.10}`)})
				return p.Deliveries, err
			},
			seen{method: "POST", target: "/v1/events",
				body: `{"type":"t","object_id":"<o>","object_owner_id":"","owner_id":"","data":{"n":12345678901234567890.10}}`}, "2"},
		{"PublishBatch", `{"events":[{"id":"e1","deliveries":1},{"id":"e2","deliveries":0}]}`,
			func(c *client.Client) (any, error) {
				p, err := c.PublishBatch(t.Context(), []client.Event{{ID: "E1", Type: "t"}, {Type: "u"}})
				return len(p), err
			},
			seen{method: "POST", target: "/v1/events/batch",
				body: `{"events":[{"id":"E1","type":"t","object_id":"","object_owner_id":"","owner_id":""},{"type":"u","object_id":"","object_owner_id":"","owner_id":""}]}`}, "2"},
		{"Events", `{"items":[{"id":"e1","type":"t"}],"next":"c2"}`,
			func(c *client.Client) (any, error) {
				p, err := c.Events(t.Context(),
					client.EventQuery{EventType: "qap.**", OwnerID: "a b", Since: "24h", Cursor: "c1", Limit: 10})
				return p.Events[0].ID + p.Next, err
			},
			seen{method: "GET", target: "/v1/events?cursor=c1&event_type=qap.%2A%2A&limit=10&owner_id=a+b&since=24h"}, "e1c2"},
		{"Event", `{"id":"e1","deliveries":[{"id":"d1"}]}`,
			func(c *client.Client) (any, error) {
				e, err := c.Event(t.Context(), "e/1")
				return e.Deliveries[0].ID, err
			},
			seen{method: "GET", target: "/v1/events/e%2F1"}, "d1"},
		{"ErrorClasses", `{"items":[{"class":"tls","reason":"expired","means":"m","cause":"c","do":"d"}]}`,
			func(c *client.Client) (any, error) {
				x, err := c.ErrorClasses(t.Context())
				return x[0], err
			},
			seen{method: "GET", target: "/v1/error-classes"}, "m c d"},
		{"EventTypes", `{"items":[{"type":"t","example":{"type":"t","object_id":"o"}}]}`,
			func(c *client.Client) (any, error) {
				x, err := c.EventTypes(t.Context())
				return x[0].Example.ObjectID, err
			},
			seen{method: "GET", target: "/v1/event-types"}, "o"},
		{"CreateWebhook", `{"id":"w1","timeout":"15s","retry_schedule":["5s","1m0s"],"signing_key":"whsec_x"}`,
			func(c *client.Client) (any, error) {
				w, err := c.CreateWebhook(t.Context(),
					client.NewWebhook{URL: "https://x", Method: "POST", EventTypes: []string{"**"},
						GenerateSigningKey: true, Enabled: &enabled, Timeout: client.Duration(15 * time.Second)})
				return fmt.Sprint(w.SigningKey, w.ETag, time.Duration(w.RetrySchedule[1])), err
			},
			seen{method: "POST", target: "/v1/webhooks",
				body: `{"url":"https://x","method":"POST","event_types":["**"],"generate_signing_key":true,"enabled":false,"timeout":"15s"}`},
			`whsec_x"3"1m0s`},
		{"Webhooks", `{"items":[{"id":"w1"}]}`,
			func(c *client.Client) (any, error) {
				p, err := c.Webhooks(t.Context(), client.WebhookQuery{})
				return p.Webhooks[0].ID, err
			},
			seen{method: "GET", target: "/v1/webhooks"}, "w1"},
		{"Webhook", `{"id":"w1"}`,
			func(c *client.Client) (any, error) { w, err := c.Webhook(t.Context(), "w1"); return w.ETag, err },
			seen{method: "GET", target: "/v1/webhooks/w1"}, `"3"`},
		{"UpdateWebhook", `{"id":"w1"}`,
			func(c *client.Client) (any, error) {
				w, err := c.UpdateWebhook(t.Context(), "w1", `"2"`, client.WebhookPatch{Enabled: &enabled})
				return w.ID, err
			},
			seen{method: "PATCH", target: "/v1/webhooks/w1", body: `{"enabled":false}`,
				contentType: "application/merge-patch+json", ifMatch: `"2"`}, "w1"},
		{"DeleteWebhook", ``,
			func(c *client.Client) (any, error) { return nil, c.DeleteWebhook(t.Context(), "w1", "") },
			seen{method: "DELETE", target: "/v1/webhooks/w1"}, "<nil>"},
		{"TestWebhook", `{"attempt":{"number":1,"status":200}}`,
			func(c *client.Client) (any, error) {
				r, err := c.TestWebhook(t.Context(), "w1", "t")
				return r.Attempt.Status, err
			},
			seen{method: "POST", target: "/v1/webhooks/w1/test", body: `{"type":"t"}`}, "200"},
		{"Deliveries", `{"items":[{"id":"d1","attempt_count":2}]}`,
			func(c *client.Client) (any, error) {
				p, err := c.Deliveries(t.Context(),
					client.DeliveryQuery{WebhookID: "w1", EventID: "e1", Status: client.StatusWaiting})
				return p.Deliveries[0].Attempts, err
			},
			seen{method: "GET", target: "/v1/deliveries?event_id=e1&status=waiting&webhook_id=w1"}, "2"},
		{"Delivery", `{"id":"d1","attempts":[{"number":1,"outcome":"delivered"}]}`,
			func(c *client.Client) (any, error) {
				d, err := c.Delivery(t.Context(), "d1")
				return d.AttemptLog[0].Outcome, err
			},
			seen{method: "GET", target: "/v1/deliveries/d1"}, "delivered"},
		{"RetryDelivery", ``,
			func(c *client.Client) (any, error) { return nil, c.RetryDelivery(t.Context(), "d1") },
			seen{method: "POST", target: "/v1/deliveries/d1/retry"}, "<nil>"},
		{"CreateTenant", `{"id":"firm"}`,
			func(c *client.Client) (any, error) {
				x, err := c.CreateTenant(t.Context(), client.NewTenant{ID: "firm", Name: "Firm"})
				return x.ID, err
			},
			seen{method: "POST", target: "/v1/tenants", body: `{"id":"firm","name":"Firm"}`}, "firm"},
		{"CreateAPIKey", `{"id":"k1","key":"shown once"}`,
			func(c *client.Client) (any, error) {
				x, err := c.CreateAPIKey(t.Context(), client.NewAPIKey{Role: client.RolePublisher})
				return x.Key, err
			},
			seen{method: "POST", target: "/v1/api-keys", body: `{"role":"publisher"}`}, "shown once"},
		{"APIKeys", `{"items":[{"id":"k1"}]}`,
			func(c *client.Client) (any, error) {
				x, err := c.APIKeys(t.Context(), client.KindLink, "c1")
				return x.Items[0].ID, err
			},
			seen{method: "GET", target: "/v1/api-keys?cursor=c1&kind=link"}, "k1"},
		{"DeleteAPIKey", ``,
			func(c *client.Client) (any, error) { return nil, c.DeleteAPIKey(t.Context(), "k1") },
			seen{method: "DELETE", target: "/v1/api-keys/k1"}, "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status := http.StatusOK
			if strings.HasPrefix(tt.name, "Publish") {
				status = http.StatusAccepted
			}
			c, got := server(t, status, "application/json", tt.answer)
			result, err := tt.call(c)
			if err != nil {
				t.Fatalf("%s = %v, want nil", tt.name, err)
			}
			tt.want.auth, tt.want.tenant = "Bearer the-key", "firm"
			if tt.want.body != "" && tt.want.contentType == "" {
				tt.want.contentType = "application/json"
			}
			if *got != tt.want {
				t.Errorf("request = %+v, want %+v", *got, tt.want)
			}
			if s := fmt.Sprint(result); s != tt.result {
				t.Errorf("result = %s, want %s", s, tt.result)
			}
		})
	}
}

// TestOnlyAReceiptIsSuccess answers a publisher with what is none.
func TestOnlyAReceiptIsSuccess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, one, batch string
		status           int
	}{
		{"another status of success", `{"id":"e1","deliveries":1}`, `{"events":[{"id":"e1","deliveries":1}]}`, 200},
		{"nothing", "", "", 202},
		{"nothing, of another status", "", "", 204},
		{"a page", "<html>", "<html>", 202},
		{"an empty object", "{}", "{}", 202},
		{"an echo", `{"id":"e1","type":"t"}`, `{"events":[{"id":"e1","type":"t"}]}`, 202},
		{"a receipt of another event", `{"id":"e2","deliveries":1}`, `{"events":[{"id":"e2","deliveries":1}]}`, 202},
		{"a receipt without ID", `{"deliveries":1}`, `{"events":[{"deliveries":1}]}`, 202},
		{"half a receipt", `{"id":"e1","deliv`, `{"events":[{"id":"e1","deliv`, 202},
		{"too many", `[{"id":"e1","deliveries":1}]`,
			`{"events":[{"id":"e1","deliveries":1},{"id":"e1","deliveries":1}]}`, 202},
	} {
		e := client.Event{ID: "e1", Type: "t"}
		one, _ := server(t, tt.status, "application/json", tt.one)
		if got, err := one.Publish(t.Context(), e); err == nil {
			t.Errorf("%s: Publish = %+v, nil, want an error", tt.name, got)
		}
		batch, _ := server(t, tt.status, "application/json", tt.batch)
		if got, err := batch.PublishBatch(t.Context(), []client.Event{e}); err == nil {
			t.Errorf("%s: PublishBatch = %+v, nil, want an error", tt.name, got)
		}
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, contentType, body, want string
		status                        int
	}{
		{"fields", "application/problem+json",
			`{"status":422,"title":"Unprocessable","detail":"The webhook breaks rules.","errors":[{"location":"url","message":"Use https."},{"message":"Too many."}]}`,
			"422 The webhook breaks rules.: url: Use https.; Too many.", 422},
		{"title only", "application/problem+json", `{"title":"Conflict"}`, "409 Conflict", 409},
		{"a proxy's page", "text/html", "<h1>Bad gateway</h1>", "502 Bad Gateway: <h1>Bad gateway</h1>", 502},
		{"broken JSON", "application/json", `{`, "500 Internal Server Error: {", 500},
		{"nothing", "", "", "503 Service Unavailable", 503},
	} {
		c, _ := server(t, tt.status, tt.contentType, tt.body)
		_, err := c.Webhook(t.Context(), "w1")
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != tt.status || !client.IsStatus(err, tt.status) {
			t.Errorf("%s: error = %v, want a *Problem of status %d", tt.name, err, tt.status)
			continue
		}
		if got := err.Error(); got != tt.want {
			t.Errorf("%s: Error() = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const answer = `{"items":[]}`
	spaces := strings.Repeat(" ", 1<<20)
	for n := client.MaxResponse; n <= client.MaxResponse+1; n++ {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer)
			for left := n - len(answer); left > 0; {
				m, err := io.WriteString(w, spaces[:min(left, len(spaces))])
				if left -= m; err != nil {
					return
				}
			}
		}))
		_, err := client.New(s.URL, "k").APIKeys(t.Context(), "", "")
		if good := n <= client.MaxResponse; good != (err == nil) || !good && !strings.Contains(err.Error(), "is over") {
			t.Errorf("APIKeys with an answer of %d bytes = %v, want it taken: %v", n, err, good)
		}
		s.Close()
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	c := client.New("http://127.0.0.1:1", "the-secret-key")
	_, err := c.APIKeys(t.Context(), "", "")
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s", c, c, c), fmt.Sprint(err)} {
		if strings.Contains(s, "the-secret-key") {
			t.Errorf("%q shows the key", s)
		}
	}
}

func TestBadBaseURL(t *testing.T) {
	t.Parallel()
	if _, err := client.New("http://[", "k").APIKeys(t.Context(), "", ""); err == nil {
		t.Error("APIKeys with a broken base URL = nil, want an error")
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Header.Get("Idempotency-Key"))
		_, _ = w.Write([]byte("{}"))
	}))
	defer s.Close()
	c, ctx := client.New(s.URL, "k"), client.Once(t.Context(), "once")
	_, err1 := c.CreateTenant(ctx, client.NewTenant{ID: "a"})
	_, err2 := c.CreateAdvisor(ctx, client.NewAdvisor{Name: "n"}, "its own")
	_, err3 := c.Caller(ctx)
	_, err4 := c.CreateTenant(t.Context(), client.NewTenant{ID: "a"})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if want := []string{"POST once", "POST its own", "GET ", "POST "}; !slices.Equal(got, want) {
		t.Errorf("the requests are %q, want %q", got, want)
	}
}
