package ui_test

import (
	"bytes"
	"crypto/tls"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// failed makes a webhook of a URL for events of an owner, and waits until the first one failed.
func (r *rig) failed(url, owner string) (client.Webhook, client.Delivery) {
	r.t.Helper()
	ctx := r.t.Context()
	n := client.NewWebhook{URL: url, EventTypes: []string{"qap.investor.created"}, OwnerID: owner,
		RetrySchedule: []client.Duration{client.Duration(time.Hour)}}
	if owner == "address" {
		n.Timeout = client.Duration(3 * time.Second) // a test that reaches nobody takes as long
	}
	w := must(r.operator.CreateWebhook(ctx, n))(r.t)
	e := client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: owner}
	id := must(r.operator.Publish(ctx, e))(r.t).ID
	var d client.Delivery
	eventually(r.t, "the event's attempt failed", func() bool {
		q := client.DeliveryQuery{WebhookID: w.ID, EventID: id}
		list := must(r.operator.Deliveries(ctx, q))(r.t).Deliveries
		if len(list) == 1 {
			d = list[0]
		}
		return d.LastClass != ""
	})
	return w, d
}

// TestErrorsAreExplained: wherever a page shows that an attempt failed, the words are with it, and no page is wider than
// the window, whatever the error.
func TestErrorsAreExplained(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	closed := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_ = closed.Close()
	distrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	distrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	distrusted.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	distrusted.StartTLS()
	defer distrusted.Close()
	ctx := r.browser()
	r.signIn(ctx)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	for _, tt := range []struct{ url, class string }{
		{r.receivers.URL + "/down", "http_status"}, {"http://" + closed.Addr().String(), "connect"},
		{distrusted.URL, "tls"}, {"http://nothing.invalid", "address"},
	} {
		w, d := r.failed(tt.url, tt.class)
		if d.LastClass != tt.class {
			t.Errorf("%s fails with %s, want %s", tt.url, d.LastClass, tt.class)
		}
		words := client.Explain(d.LastClass, d.LastReason, d.LastStatus).String()
		if words == "" {
			t.Errorf("%s has no words", d.LastClass)
		}
		base := "/t/default"
		eventually(t, "the webhook is failing", func() bool {
			list := must(r.operator.WebhookStats(t.Context(), client.Day, w.ID))(t).Items
			return len(list) == 1 && list[0].State == client.StateFailing
		})
		for path, want := range map[string]string{
			"/deliveries/" + d.ID: "<p>" + words, "/deliveries": `title="` + words, "/webhooks": `title="` + words,
			"/": `title="` + words, "/webhooks/" + w.ID: "</b> " + words,
		} {
			status, body := r.get(key, base+path)
			if status != 200 || !strings.Contains(html.UnescapeString(string(body)), want) {
				t.Errorf("%s of class %s = %d without %q", path, tt.class, status, want)
			}
		}
		_, to, _ := r.send(key, base+"/webhooks/"+w.ID+"/test", url.Values{"type": {"qap.investor.created"}})
		status, body := r.get(key, to)
		if status != 200 || !strings.Contains(html.UnescapeString(string(body)), words) {
			t.Errorf("a test of class %s = %d without %q", tt.class, status, words)
		}
		for _, width := range []int64{1280, 390} {
			r.do(ctx, look("light", width, 860))
			for _, path := range []string{"/deliveries/" + d.ID, "/deliveries", "/webhooks", "/", "/webhooks/" + w.ID} {
				r.do(ctx, r.open(path), chromedp.WaitReady("//main"), when(path+" is no wider than the window",
					`document.documentElement.scrollWidth <= document.documentElement.clientWidth`))
			}
		}
	}
	_, body := r.get(key, "/t/default/deliveries?class=tls")
	for _, e := range client.ErrorClasses {
		if !bytes.Contains(body, []byte(`<option value="`+e.Class+`"`)) && e.Class != "local" {
			t.Errorf("deliveries cannot be filtered by %s", e.Class)
		}
	}
	if n := strings.Count(string(body), `class="row"`); n != 1 {
		t.Errorf("%d deliveries are of class tls, want 1", n)
	}
}
