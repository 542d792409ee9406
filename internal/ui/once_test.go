package ui_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// secrets are keys and links as pages show them.
var secrets = regexp.MustCompile(`whsec_[^<"]{20,}|qhk_[A-Za-z0-9_-]{5,}|sign-in\?token=[A-Za-z0-9_-]{5,}`)

// TestFormsLeadOn: a form that did something leads to a page, which does nothing when it is loaded again. A secret is
// shown there once, to the session that made it, and is in no address.
func TestFormsLeadOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.webhook("/ok", "Fine")
	r.publish(1)
	r.waitFor(client.StatusDelivered, 9)
	id := must(r.operator.Deliveries(t.Context(), client.DeliveryQuery{Limit: 1}))(t).Deliveries[0].ID
	key, other := must(r.operator.SignIn(t.Context()))(t).Key, must(r.operator.SignIn(t.Context()))(t).Key
	const at = "/t/default"
	for _, tt := range []struct {
		path   string
		form   url.Values
		shows  string // the page that it leads to
		secret bool
	}{
		{at + "/webhooks/new", url.Values{
			"url": {r.receivers.URL + "/new"}, "method": {"POST"}, "types": {"qap.investor.created"}, "auth": {"none"},
			"signing": {"generate"}, "timeout": {"15s"},
		}, "shown this once", true},
		{at + "/webhooks/" + w.ID + "/key", url.Values{"signing": {"generate"}, "overlap": {"24h"}},
			"shown this once", true},
		{at + "/webhooks/" + w.ID + "/test", url.Values{"type": {"qap.investor.created"}}, "Delivered", false},
		{at + "/access/keys", url.Values{"role": {"viewer"}, "name": {"a name"}}, "shown this once", true},
		{at + "/access/links", url.Values{"role": {"viewer"}, "expires_in": {"15m"}}, "shown this once", true},
		{at + "/deliveries/retry", url.Values{"selected": {"1"}, "ids": {id}}, "1 made due", false},
		{at + "/deliveries/retry?span=1h&status=delivered", url.Values{}, " made due", false},
		{at + "/deliveries/" + id + "/retry", nil, "Attempt 1", false},
		{at + "/webhooks/" + w.ID + "/pause", url.Values{"enabled": {"true"}}, "Fine", false},
		{at + "/types/publish", url.Values{"type": {"qap.investor.created"}}, "Investor created", false},
		{at + "/platform/advisors", url.Values{"name": {"Ada"}}, "Ada", false},
		{at + "/tenants", url.Values{"id": {"acme"}}, "No webhook yet", false},
	} {
		status, to, _ := r.send(key, tt.path, tt.form)
		if status != http.StatusSeeOther || secrets.MatchString(to) {
			t.Errorf("POST %s = %d to %s, want 303, and no secret in the address", tt.path, status, to)
			continue
		}
		for _, page := range []struct {
			who, key string
			secret   bool
		}{{"another session", other, false}, {"its own", key, tt.secret}, {"its own, again", key, false}} {
			status, body := r.get(page.key, to)
			if found := secrets.Match(body); status != 200 || found != page.secret {
				t.Errorf("what POST %s leads to, for %s = %d with a secret: %t, want 200 and %t",
					tt.path, page.who, status, found, page.secret)
			}
			if page.who == "its own" && !strings.Contains(string(body), tt.shows) {
				t.Errorf("what POST %s leads to does not say %q", tt.path, tt.shows)
			}
			if tt.secret && page.who == "its own, again" && !strings.Contains(string(body), "was shown before") {
				t.Errorf("what POST %s leads to does not say, again, that it was shown before", tt.path)
			}
		}
	}
}

// TestHeadTakesNothing: a program that looks at the address first leaves the secret to who asked for it.
func TestHeadTakesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	_, to, _ := r.send(key, "/t/default/access/keys", url.Values{"role": {"viewer"}})
	q := must(http.NewRequestWithContext(t.Context(), http.MethodHead, r.url+to, nil))(t)
	q.AddCookie(&http.Cookie{Name: "qhook", Value: key})
	p := must(http.DefaultClient.Do(q))(t)
	_, _ = io.Copy(io.Discard, p.Body)
	p.Body.Close()
	if _, body := r.get(key, to); p.StatusCode != 200 || !secrets.Match(body) {
		t.Errorf("after a HEAD (%d) the key is not shown", p.StatusCode)
	}
}

// TestReload: a page that shows what came of a form is loaded again, and nothing is done a second time.
func TestReload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	w := r.webhook("/ok", "Fine")
	r.signIn(ctx)
	keys := func() int { return len(must(r.operator.Webhook(t.Context(), w.ID))(t).SigningKeys) }
	r.do(ctx, r.open("/webhooks/"+w.ID+"/key"), press("Rotate the key"), says("shown this once"),
		chromedp.Reload(), says("was shown before"))
	if got := keys(); got != 2 {
		t.Errorf("after a rotation and a reload there are %d signing keys, want 2", got)
	}
	// A key that nobody wrote down is followed by another, and the one before ends only if that is said.
	r.do(ctx, press("Rotate the key"), says("A rotation is under way"), chromedp.Click(`//input[@name="force"]`),
		press("Rotate the key"), says("shown this once"))
	r.do(ctx, r.open("/webhooks/"+w.ID+"/test"), press("Send a test"), says("204 No Content"),
		chromedp.Reload(), says("Nothing was sent again"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got["/ok"] != 1 {
		t.Errorf("a test and a reload sent %d requests, want 1", r.got["/ok"])
	}
}
