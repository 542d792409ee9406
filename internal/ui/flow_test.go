package ui_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// fill types into a field, in place of what it has.
func fill(id, text string) step {
	field := `//*[@id="` + id + `"]`
	return chromedp.Steps(chromedp.WaitVisible(field), empty(id), chromedp.SendKeys(field, text))
}

// empty takes out what a field has.
func empty(id string) step {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = chromedp.Evaluate[string](`document.getElementById("`+id+`").value = ""`)(ctx, t)
		return v, err
	}
}

// TestIntegrator goes the way of somebody who wants a webhook: signs in by link, makes one with a mistake in it, sees
// what it would send, publishes an example, watches it arrive, breaks the receiver, sees the retry, tries again by
// hand, retries many, signs out.
func TestIntegrator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	r.signIn(ctx)

	// A webhook, with one error corrected.
	r.do(ctx, press("Make the first webhook"), says("New webhook"), fill("url", "ftp://example.com/"),
		fill("patterns", "qap.investor.*"))
	r.do(ctx, chromedp.WaitVisible(`//*[@id="e-url"][string-length(.) > 0]`)) // as it arises
	r.do(ctx, press("Make the webhook"), chromedp.WaitVisible(`//input[@id="url"][@aria-invalid="true"]`),
		fill("url", r.receivers.URL+"/flaky"),
		says("X-Quantfolio-Signature-256"), says("sha256="), // the preview
		chromedp.WaitVisible(`//label[contains(., "qap.investor.created")]/span[text()="sent"]`),
		chromedp.WaitNotPresent(`//label[contains(., "qap.investor.advice.created")]/span[text()="sent"]`),
		// Only a hand retries below.
		chromedp.Click(`//summary[text()="Headers, owner, times"]`), fill("retry_schedule", "1h, 1h"),
		press("Make the webhook"), says("shown this once"), chromedp.WaitVisible(`//code[starts-with(., "whsec_")]`))
	hooks := must(r.operator.Webhooks(t.Context(), client.WebhookQuery{}))(t).Webhooks
	if len(hooks) != 1 || len(hooks[0].SigningKeys) != 1 {
		t.Fatalf("there are %d webhooks, want one with a signing key", len(hooks))
	}

	// A test shows request and response.
	r.do(ctx, press("Send a test"), says("Send the example of"), press("Send a test"), says("Delivered"),
		says("204 No Content"), says("First byte"))

	// An example is published and arrives, live.
	live, cancel := chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(live); err != nil { // opens the tab
		t.Fatal(err)
	}
	r.do(live, r.open("/live"), chromedp.WaitVisible(`//*[@id="live-state"][contains(., "Connected")]`))
	publish := func() {
		r.do(ctx, r.open("/types"), chromedp.Click(`//section[@id="qap.investor.created"]//button`),
			says("Investor created"))
	}
	publish()
	r.do(ctx, says("Delivered"))
	r.do(live, chromedp.WaitVisible(`//*[@id="live"]/li[contains(., "Investor created") and contains(., "204")]`))

	// The receiver fails; the retry is seen, and then made by hand.
	r.failing.Store(true)
	for range 3 {
		publish()
		r.do(ctx, says("Waiting"))
	}
	r.do(live, chromedp.WaitVisible(`//*[@id="live"]/li[contains(., "503") and contains(., "will retry")]`))
	r.do(ctx, chromedp.Click(`//section//a[contains(@class, "row")]`), says("Attempt 1"),
		says("503 Service Unavailable"), says("down for maintenance"), says("next attempt"))
	r.failing.Store(false)
	r.do(ctx, press("Retry now"), says("Delivered"), says("Attempt 2"))

	// The rest, all at once.
	r.do(ctx, r.open("/deliveries?status=waiting"), press("Retry all that match"), says("2 deliveries"), inSteps,
		press("Retry 2"), says("2 made due"), says("Done."))
	eventually(t, "everything is delivered", func() bool {
		q := client.DeliveryQuery{Status: client.StatusDelivered}
		return len(must(r.operator.Deliveries(t.Context(), q))(t).Deliveries) == 4
	})

	// Out.
	r.do(ctx, press("Sign out"), says("API key"), r.open("/webhooks"), says("API key"))
	r.do(ctx, chromedp.Navigate(r.link), press("Sign in"), says("used before")) // a link is good for one sign-in
}

// TestBulkRetry retries more than one step's worth, and stops on the way.
func TestBulkRetry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	r.webhook("/down", "Down", time.Hour)
	r.publish(60) // 540
	eventually(t, "all failed once", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.got["/down"] == 540
	})
	r.waitFor(client.StatusWaiting, 540)
	r.signIn(ctx)
	r.do(ctx, r.open("/deliveries?status=waiting"), press("Retry all that match"), says("540 deliveries"), inSteps,
		press("Retry 540"), says("540 made due"), says("Done."))
	r.do(ctx, r.open("/deliveries?status=exhausted"),
		when("two are ticked", `(() => {
			const x = [...document.querySelectorAll("input[name=ids]")].slice(0, 2);
			x.forEach((b) => b.click());
			return x.length === 2;
		})()`),
		press("Retry the selected"), says("2 made due"))
	eventually(t, "all were tried again", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.got["/down"] >= 540+540
	})
}

// signInWith signs in with an API key.
func (r *rig) signInWith(ctx context.Context, key string) {
	r.t.Helper()
	r.do(ctx, chromedp.Navigate(r.url+"/sign-in"), fill("key", key), press("Sign in"),
		chromedp.WaitVisible(`//nav[@class="side"]`))
}

// TestWhoMayWhat: a viewer sees and cannot change, nobody sees another tenant, and a link to one webhook shows that
// one.
func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	one, two := r.webhook("/ok", "The first"), r.webhook("/other", "The second")
	r.publish(1)
	must(r.operator.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}))(t)
	sees := client.NewAPIKey{Tenant: "default", Role: client.RoleViewer}
	viewer := must(r.operator.CreateAPIKey(t.Context(), sees))(t)
	other := must(r.operator.CreateAPIKey(t.Context(), client.NewAPIKey{Tenant: "acme", Role: client.RoleAdmin}))(t)

	r.signInWith(ctx, viewer.Key)
	r.do(ctx, r.open("/webhooks"), says("The first"), chromedp.WaitNotPresent(`//a[text()="New webhook"]`),
		r.open("/webhooks/"+one.ID), says("Settings"), chromedp.WaitNotPresent(`//button[text()="Pause"]`),
		r.open("/webhooks/new"), says("may not do this"),
		chromedp.Navigate(r.url+"/t/acme/"), says("no such tenant"), press("Sign out"), says("API key"))

	r.signInWith(ctx, other.Key)
	r.do(ctx, says("No webhook yet"), r.open("/"), says("no such tenant"),
		chromedp.Navigate(r.url+"/t/acme/webhooks/"+one.ID), says("no such webhook"), press("Sign out"),
		says("API key"))

	link := must(r.operator.CreateLink(t.Context(), client.NewLink{Role: client.RoleViewer, WebhookID: one.ID}))(t)
	r.do(ctx, chromedp.Navigate(r.url+link.Path), press("Sign in"), says("The first"),
		r.open("/deliveries"), says("The first"), chromedp.WaitNotPresent(`//main//*[contains(text(), "The second")]`),
		r.open("/webhooks/"+two.ID), says("no such webhook"))

	// It finds the events that the webhook gets, by ID, type and object, and no other.
	e := client.Event{Type: "qap.investor.created", ObjectID: "their-investor", ObjectOwnerID: "a", OwnerID: "a"}
	only := client.NewWebhook{URL: r.receivers.URL + "/ok", EventTypes: []string{"qap.investor.deleted"}}
	must(r.operator.CreateWebhook(t.Context(), only))(t)
	theirs := must(r.operator.Publish(t.Context(), e))(t).ID
	types := []string{"qap.investor.advice.**"}
	must(r.operator.UpdateWebhook(t.Context(), one.ID, "", client.WebhookPatch{EventTypes: &types}))(t)
	e.ObjectID = "another's-investor"
	foreign := must(r.operator.Publish(t.Context(), e))(t).ID
	r.do(ctx, chromedp.Click(`//nav//a[text()="Events"]`), says("their-in"),
		fill("object_id", "their-investor"), press("Search"),
		when("one is found", `document.querySelectorAll("a.row").length === 1`),
		press("Investor created"), says(theirs),
		chromedp.WaitNotPresent(`//main//*[contains(text(), "The second")]`),
		r.open("/events"), fill("object_id", "another's-investor"), press("Search"), says("No event like this"),
		r.open("/events"), fill("type", "qap.investor.deleted"), press("Search"),
		when("it is found by type", `document.querySelectorAll("a.row").length === 1`),
		fill("id", theirs), press("Search"), says("their-investor"),
		r.open("/events?id="+foreign), says("no such event"))
}

// TestForeignSites: what another site's page sends with the visitor's cookie does nothing.
func TestForeignSites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.webhook("/ok", "The first")
	signed := must(r.operator.SignIn(t.Context()))(t)
	post := func(header, value string) int {
		at := r.url + "/t/default/webhooks/" + w.ID + "/delete"
		q := must(http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader("")))(t)
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set(header, value)
		q.AddCookie(&http.Cookie{Name: "qhook", Value: signed.Key})
		p := must(stay.Do(q))(t)
		p.Body.Close()
		return p.StatusCode
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		if got := post(header, value); got != http.StatusForbidden {
			t.Errorf("a deletion with %s: %s is answered %d, want 403", header, value, got)
		}
	}
	must(r.operator.Webhook(t.Context(), w.ID))(t)
	if got := post("Sec-Fetch-Site", "same-origin"); got != http.StatusSeeOther {
		t.Errorf("a deletion from the page itself is answered %d, want 303", got)
	}
}
