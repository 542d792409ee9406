package ui_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// TestHidden: what is hidden cannot be seen, whatever it is.
func TestHidden(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	pages := r.filled()
	r.signIn(ctx)
	for _, name := range []string{"overview", "webhook-new", "deliveries", "live", "delivery", "access"} {
		r.do(ctx, chromedp.Navigate(r.url+pages[name]), chromedp.WaitReady("//main"),
			when("nothing of "+name+" is to be seen", `(() => {
				const all = [...document.querySelectorAll("main *")];
				all.forEach((x) => { x.hidden = true; });
				return all.length > 20 && !all.some((x) => x.checkVisibility());
			})()`))
	}
}

// TestOpenedStaysOpen: what a reader opened or folded stays so while the page follows the delivery.
func TestOpenedStaysOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	r.webhook("/down", "Down", time.Second, time.Hour)
	e := client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: "a"}
	must(r.operator.Publish(t.Context(), e))(t)
	var d client.Delivery
	eventually(t, "it was tried twice", func() bool {
		list := must(r.operator.Deliveries(t.Context(), client.DeliveryQuery{}))(t).Deliveries
		d = list[0]
		return d.Attempts == 2
	})
	r.signIn(ctx)
	const folded = `(n) => !document.getElementById("attempt-" + n).open`
	r.do(ctx, r.open("/deliveries/"+d.ID), says("Attempt 2"),
		when("the first is opened and the second is folded", `(() => {
			for (const n of [1, 2]) document.querySelector("#attempt-" + n + " summary").click();
			return true;
		})()`))
	if err := r.operator.RetryDelivery(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	r.do(ctx, says("Attempt 3"))
	for what, is := range map[string]string{
		"the first is open": `!(` + folded + `)(1)`, "the second is folded": `(` + folded + `)(2)`,
		"the third is open": `!(` + folded + `)(3)`,
	} {
		if !must(chromedp.Run(ctx, chromedp.Evaluate[bool](is)))(t) {
			t.Errorf("after the third attempt came, not: %s", what)
		}
	}
}

// paste is what a paste by keyboard puts into a field.
func paste(into string) step {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		if _, err = chromedp.Evaluate[string](`document.getElementById("`+into+`").focus(), ""`)(ctx, t); err != nil {
			return v, err
		}
		press := input.DispatchKeyEventParams{Type: "keyDown", Commands: []string{"paste"}}
		_, err = cdp.Call(ctx, t, input.DispatchKeyEvent, press)
		return v, err
	}
}

// TestCopy: on a page of plain http a secret that is shown once is copied as well, and where that is not allowed it is
// said, with the secret selected.
func TestCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := must(url.Parse(r.url))(t)
	name := "http://qhook.test:" + at.Port()
	r.link, r.url = strings.Replace(r.link, r.url, name, 1), name
	ctx := r.browser(chromedp.Flag("host-resolver-rules", "MAP qhook.test 127.0.0.1"))
	r.signIn(ctx)
	if must(chromedp.Run(ctx, chromedp.Evaluate[bool](`isSecureContext || !!navigator.clipboard`)))(t) {
		t.Fatal("the page has a clipboard of its own: this is no test of what it does without")
	}
	const shown = `document.querySelector(".secret code").textContent`
	for _, role := range []string{"viewer", "publisher"} {
		option := `//option[starts-with(@value, "` + role + `")]`
		r.do(ctx, r.open("/access"), chromedp.SetAttributeValue(option, "selected", ""),
			press("Make the key"), says("shown this once"))
		if role == "viewer" {
			r.do(ctx, chromedp.Click(`//p[@class="secret"]/button`),
				when("it is copied", `document.querySelector(".secret button").textContent === "Copied"`),
				paste("name"), when("it was on the clipboard", `document.getElementById("name").value === `+shown))
			continue
		}
		r.do(ctx, when("copying is not allowed", `(() => { document.execCommand = () => false; return true })()`),
			chromedp.Click(`//p[@class="secret"]/button`),
			when("it is said", `document.querySelector(".secret button").textContent.startsWith("Not copied")`),
			when("it is selected", `getSelection().toString() === `+shown))
	}
}

// TestServerAway: while the server is away the page says so, and since when; and no more when it is back. A form that
// is sent meanwhile stays as it is.
func TestServerAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wall()
	ctx := r.browser()
	w := r.webhook("/ok", "Fine")
	r.signIn(ctx)
	const gone = `!document.getElementById("state").checkVisibility()`
	r.do(ctx, r.open("/webhooks/"+w.ID+"/edit"), fill("description", "Another name"), when("nothing is said", gone))
	r.away.Store(true)
	r.do(ctx, press("Save"), says("cannot be reached"), says("nothing is sent until"))
	r.away.Store(false)
	r.do(ctx, press("Save"), says("Latest deliveries"), when("nothing is said", gone))
	if got := must(r.operator.Webhook(t.Context(), w.ID))(t).Description; got != "Another name" {
		t.Errorf("the webhook is called %q, want as it was typed", got)
	}
	r.publish(1)
	id := must(r.operator.Deliveries(t.Context(), client.DeliveryQuery{Limit: 1}))(t).Deliveries[0].ID
	r.do(ctx, r.open("/deliveries/"+id), says("Attempt 1"))
	r.away.Store(true)
	r.do(ctx, says("cannot be reached"))
	r.away.Store(false)
	r.do(ctx, when("it is taken back", gone))
}

// TestStalePage: a page that follows what is gone says so, and does not go on as if all were well.
func TestStalePage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	w := r.webhook("/ok", "Fine")
	r.signIn(ctx)
	r.do(ctx, r.open("/webhooks/"+w.ID), says("Latest deliveries"))
	if err := r.operator.DeleteWebhook(t.Context(), w.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.do(ctx, says("cannot be kept up to date"))
}

// endSignIns ends all sign-ins.
func (r *rig) endSignIns() {
	r.t.Helper()
	for _, k := range must(r.operator.APIKeys(r.t.Context(), client.KindSignIn, ""))(r.t).Items {
		if err := r.operator.DeleteAPIKey(r.t.Context(), k.ID); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestSignInEnds: what was typed when a sign-in ends is not lost: not by what the page asks for itself, and not by
// sending it.
func TestSignInEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	admin := must(r.operator.CreateAPIKey(t.Context(), client.NewAPIKey{Role: client.RoleAdmin}))(t).Key
	r.signInWith(ctx, admin)
	r.do(ctx, r.open("/webhooks/new"), fill("url", r.receivers.URL+"/ok"), fill("patterns", "**"),
		says("X-Quantfolio-Signature-256"))
	r.endSignIns()
	r.do(ctx, fill("description", "Typed after the end"), says("Your sign-in has ended"), press("Make the webhook"),
		when("the form is as it was", `document.getElementById("description").value === "Typed after the end"`))
	if n := len(must(r.operator.Webhooks(t.Context(), client.WebhookQuery{}))(t).Webhooks); n != 0 {
		t.Fatalf("there are %d webhooks, want none yet", n)
	}
	other, cancel := chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(other); err != nil { // opens the tab
		t.Fatal(err)
	}
	r.signInWith(other, admin)
	r.do(ctx, press("Make the webhook"), says("shown this once"), says("Typed after the end"))
}

// TestSignedOutAsksNothing: a page that is left open when its sign-in ends does not go on asking the server.
func TestSignedOutAsksNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wall()
	ctx := r.browser()
	r.webhook("/ok", "Fine")
	r.publish(1)
	id := must(r.operator.Deliveries(t.Context(), client.DeliveryQuery{Limit: 1}))(t).Deliveries[0].ID
	r.signIn(ctx)
	r.do(ctx, r.open("/deliveries/"+id), says("Attempt 1"))
	r.endSignIns()
	r.do(ctx, says("Your sign-in has ended"), when("looks are counted", `(() => {
		window.looks = 0;
		document.addEventListener("htmx:before:request", () => { window.looks++; });
		return true;
	})()`))
	before := r.asked.Load()
	r.do(ctx, when("two looks are due", `window.looks >= 2`))
	if got := r.asked.Load(); got != before {
		t.Errorf("%d requests were made after the sign-in had ended, want none", got-before)
	}
}

// Without scripts too: a form that comes without a sign-in is answered so that the browser can send it again, and
// nothing that it has is in an address or a page.
func TestFormsWithoutSignIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, header := range []string{"", "true"} {
		form := url.Values{"description": {"typed-text"}, "password": {"typed-secret"}}
		status, to, body := r.send("none", "/t/default/webhooks/new", form, "HX-Request", header)
		if status != http.StatusUnauthorized || to != "" || strings.Contains(string(body), "typed-") {
			t.Errorf("a form without a sign-in = %d to %q with %.99s, want 401 without what was typed",
				status, to, body)
		}
		if header == "" && !strings.Contains(string(body), "reload this page") {
			t.Errorf("a form without a sign-in is answered %s, want that it can be sent again", body)
		}
	}
}
