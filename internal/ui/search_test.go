package ui_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// waitFor waits until so many deliveries have a status.
func (r *rig) waitFor(status string, n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint(n, " are ", status), func() bool {
		return must(r.operator.CountDeliveries(r.t.Context(), client.DeliveryQuery{Status: status}))(r.t).Count == n
	})
}

// older is where the list's next page is.
var older = regexp.MustCompile(`href="([^"]*)" rel="next"`)

// TestPages: with every filter by time each page follows the one before, and what is retried is what the list had.
func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.webhook("/ok", "Fine")
	before := time.Now().Add(-time.Minute).UTC()
	r.publish(12) // 108
	r.waitFor(client.StatusDelivered, 108)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	since := before.Format("2006-01-02T15:04")
	for _, filter := range []string{"", "?span=any", "?span=1h", "?span=24h&status=delivered", "?since=" + since,
		"?span=&since=" + since + "&until=" + time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04"),
		"?span=1h&since=2001-01-01T00:00&until=2001-01-02T00:00"} {
		for list, want := range map[string]int{"/deliveries": 3, "/events": 5} {
			at, pages, rows := "/t/default"+list+filter, 0, 0
			for at != "" {
				status, body := r.get(key, at)
				if status != 200 {
					t.Fatalf("page %d of %s%s = %d", pages+1, list, filter, status)
				}
				pages, rows = pages+1, rows+strings.Count(string(body), `class="row"`)
				next := older.FindSubmatch(body)
				if at = ""; next != nil {
					at = "/t/default" + list + strings.ReplaceAll(string(next[1]), "&amp;", "&")
				}
			}
			if pages != want || rows != 108 {
				t.Errorf("%s%s has %d pages with %d rows, want %d with 108", list, filter, pages, rows, want)
			}
		}
	}
}

// TestSearchesThatCannotBe: what a search cannot mean is said beside its field, and nothing is listed.
func TestSearchesThatCannotBe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.webhook("/ok", "Fine")
	r.publish(1)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	for path, want := range map[string]string{
		"/events?id=12345":                      `id="e-id">must be an event ID`,
		"/events?id=12345&object_id=x":          `id="e-id">must be an event ID`,
		"/events?type=qap..x":                   `id="e-type">`,
		"/events?span=soon":                     `id="e-span">must be one of these`,
		"/events?since=yesterday":               `id="e-since">must be a time`,
		"/events?object_id=" + xs(300):          `id="e-object_id">must have at most`,
		"/deliveries?code=abc":                  `id="e-code">must be like 503 or 5xx`,
		"/deliveries?status=lost":               `id="e-status">must be one of`,
		"/deliveries?class=" + xs(40):           `id="e-class">must have at most`,
		"/deliveries?until=tomorrow":            `id="e-until">must be a time`,
		"/deliveries?cursor=x":                  `This address goes on with another list`,
		"/live?type=qap..x":                     `id="e-type">`,
		"/deliveries?webhook=" + xs(70):         `id="e-webhook">must have at most`,
		"/events?cursor=x&span=1h":              `This address goes on with another list`,
		"/deliveries?code=abc&until=tomorrow":   `id="e-until">must be a time`,
		"/deliveries?until=tomorrow&code=abc":   `id="e-code">must be like`, // all at once
		"/events?id=12345&type=qap..x":          `id="e-type">`,
		"/deliveries?span=1h&since=not-counted": "",
	} {
		status, body := r.get(key, "/t/default"+path)
		if want == "" {
			if status != 200 {
				t.Errorf("%s = %d, want 200", path, status)
			}
			continue
		}
		if status != 422 || !strings.Contains(string(body), want) || strings.Contains(string(body), `class="row"`) {
			t.Errorf("%.60s = %d, want 422 with %q and without a list", path, status, want)
		}
		field, _, isField := strings.Cut(strings.TrimPrefix(want, `id="`), `">`)
		if isField && !strings.Contains(string(body), `aria-describedby="`+field+`"`) {
			t.Errorf("%.60s: no field is described by the error", path)
		}
	}
	status, to, _ := r.send(key, "/t/default/deliveries/retry?code=abc", nil)
	if status == 200 || status == 303 && strings.Contains(to, "ended") {
		t.Errorf("a retry of what cannot be searched for = %d to %s", status, to)
	}
}

func xs(n int) string { return strings.Repeat("x", n) }

// inSteps waits until the page's scripts are there, which make one step after another.
var inSteps = when("steps are made by the page", `document.getElementById("step")?.hasAttribute("data-htmx-powered")`)

// TestRetryStepThatFails: a step without an answer is told, and can be made again from where it was, or left.
func TestRetryStepThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wall()
	ctx := r.browser()
	r.webhook("/down", "Down", time.Hour)
	r.publish(50) // 450
	eventually(t, "all failed once", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.got["/down"] == 450
	})
	r.waitFor(client.StatusWaiting, 450)
	r.signIn(ctx)
	r.do(ctx, r.open("/deliveries?span=24h"), press("Retry all that match"), says("450 deliveries"),
		inSteps, press("Retry 450"), says("Done."), says("450 made due"))

	r.waitFor(client.StatusExhausted, 450)

	// The same, with a server that goes away after the first step.
	r.do(ctx, r.open("/deliveries?span=24h"), press("Retry all that match"), says("450 deliveries"))
	r.steps.Store(1)
	r.do(ctx, inSteps, press("Retry 450"), says("200 of 450"), says("did not answer to this step"),
		says("cannot be reached"))
	r.away.Store(false)
	r.do(ctx, press("Try again"), says("Done."), says("450 made due"))

	r.waitFor(client.StatusExhausted, 450)

	// It can be left, and gone on with; a page that is loaded again shows how far it came.
	r.do(ctx, r.open("/deliveries?span=24h"), press("Retry all that match"), says("450 deliveries"))
	r.steps.Store(1)
	r.do(ctx, inSteps, press("Retry 450"), says("did not answer to this step"))
	r.away.Store(false)
	r.do(ctx, press("Stop"), says("200 of 450 made due"), says("The rest is still to do"), chromedp.Reload(),
		says("200 of 450 made due"), inSteps, press("Go on"), says("450 made due"))

	// One that is refused says why.
	key := must(r.operator.SignIn(t.Context()))(t).Key
	form := url.Values{"cursor": {"x"}, "done": {"200"}}
	for want, header := range map[int]string{200: "true", 400: ""} { // by a script, and without
		status, _, body := r.send(key, "/t/default/deliveries/retry?span=24h", form, "HX-Request", header)
		told := strings.Contains(string(body), "This step failed") && strings.Contains(string(body), "Try again")
		if status != want || !told {
			t.Errorf("a step that is refused = %d %s, want %d, why and a way on", status, body, want)
		}
	}
}
