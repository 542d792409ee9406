package ui_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFormTellsAll: what is wrong with a form is told all at once, each beside its field, when it is made and when
// changed.
func TestFormTellsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.webhook("/ok", "Fine", time.Hour)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	form := url.Values{
		"url": {"https://10.1.2.3/hook"}, "method": {"POST"}, "patterns": {"qap..x"}, "auth": {"bearer"},
		"signing": {"typed"}, "signing_key": {"whsec_short"}, "headers": {"Host: x"}, "timeout": {"soon"},
		"retry_schedule": {"5s, later"}, "description": {xs(2000)},
	}
	fields := []string{"url", "event_types", "auth", "headers", "timeout", "retry_schedule", "description"}
	for path, names := range map[string][]string{
		"/webhooks/new":               append(fields, "signing_key"),
		"/webhooks/" + w.ID + "/edit": fields,
	} {
		status, _, body := r.send(key, "/t/default"+path, form)
		if status != 422 {
			t.Errorf("%s = %d, want 422", path, status)
		}
		for _, name := range names {
			if !regexp.MustCompile(`id="e-` + name + `">[^<]`).Match(body) {
				t.Errorf("%s does not tell at once what is wrong with %s", path, name)
			}
		}
		if strings.Contains(string(body), "-1ns") || strings.Contains(string(body), "must be a duration such as 15s;") {
			t.Errorf("%s tells of what nobody typed", path)
		}
	}
	if got := must(r.operator.Webhook(t.Context(), w.ID))(t); got.Description != "Fine" {
		t.Errorf("the webhook is called %q, want as before", got.Description)
	}
}

// TestOnlyWantedTypes: previews and tests are offered of event types that the webhook wants, as they are chosen, and a
// test of another is refused.
func TestOnlyWantedTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	w := r.webhook("/ok", "Fine")
	r.signIn(ctx)
	const options = `[...document.querySelectorAll("#sample option")].map((o) => o.value).join()`
	r.do(ctx, r.open("/webhooks/new"), when("none is offered yet", options+` === ""`),
		fill("url", r.receivers.URL+"/ok"), fill("patterns", "qap.investor.created"),
		when("one is offered", options+` === "qap.investor.created"`), says(`"type":"qap.investor.created"`),
		fill("patterns", "qap.investor.advice.report.*"),
		when("the other is offered", options+` === "qap.investor.advice.report.created"`),
		says(`"type":"qap.investor.advice.report.created"`))
	r.do(ctx, r.open("/webhooks/"+w.ID+"/edit"),
		when("all are offered", `document.querySelectorAll("#sample option").length === 9`),
		fill("patterns", "qap.investor.deleted"), press("Save"), says("Latest deliveries"),
		r.open("/webhooks/"+w.ID+"/test"),
		when("one is offered", `document.querySelector("#type").options.length === 1`))
	key := must(r.operator.SignIn(t.Context()))(t).Key
	status, _, body := r.send(key, "/t/default/webhooks/"+w.ID+"/test", url.Values{"type": {"qap.investor.created"}})
	if status != 422 || !strings.Contains(string(body), "does not want qap.investor.created") {
		t.Errorf("a test of a type that is not wanted = %d, want 422", status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got["/ok"] != 0 {
		t.Errorf("%d requests were sent, want none", r.got["/ok"])
	}
}
