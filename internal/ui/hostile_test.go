package ui_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
)

// hostile is what nobody wants to see at work: markup, script, a template's and a shell's own words, text that turns
// around. terminal has the codes that a terminal obeys too.
const (
	hostile = `<script>window.hit=1</script><img src=x onerror="window.hit=1">"'><svg onload=window.hit=1>{{.}}${1}` +
		"\u202egnp.exe"
	terminal = hostile + "\x1b]0;hit\x07\x1b[31m\x00\x08\u2066\u200b\u0085"
)

// TestHostile: whatever a publisher, a receiver or somebody who names things gives is shown as it is, and does nothing.
func TestHostile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := r.browser()
	w := must(r.operator.CreateWebhook(t.Context(), client.NewWebhook{
		URL: r.receivers.URL + `/hostile?q='"><script>`, EventTypes: []string{"**"}, GenerateSigningKey: true,
		Description: strings.ReplaceAll(hostile, "\u202e", ""),
		Headers:     []client.Header{{Name: "X-Hostile", Value: `<script>window.hit=1</script>`}},
		Auth: &client.Auth{
			Type: client.AuthBasic, Username: `<img src=x onerror=window.hit=1>`, Password: "p",
		},
		RetrySchedule: []client.Duration{client.Duration(time.Hour)},
	}))(t)
	data, _ := json.Marshal(map[string]string{"text": hostile, "</script><script>window.hit=1</script>": "x"})
	e := client.Event{Type: "qap.investor.created", ObjectID: hostile[:60],
		ObjectOwnerID: `"><script>window.hit=1</script>`, OwnerID: "'';!--\"<X>=&{()}", Data: data}
	id := must(r.operator.Publish(t.Context(), e))(t).ID
	for _, name := range []string{hostile[:100]} {
		must(r.operator.CreateTenant(t.Context(), client.NewTenant{ID: "acme", Name: name}))(t)
		key := client.NewAPIKey{Tenant: "default", Role: client.RoleViewer, Name: name}
		must(r.operator.CreateAPIKey(t.Context(), key))(t)
		a := must(r.operator.CreateAdvisor(t.Context(), client.NewAdvisor{Name: name}, ""))(t)
		investor := client.NewInvestor{AdvisorID: a.ID, Type: "person", Name: name, Reference: "<b>x</b>"}
		i := must(r.operator.CreateInvestor(t.Context(), investor, ""))(t)
		session := client.NewAdviceSession{Title: name, Objective: hostile, Recommendation: hostile}
		must(r.operator.CreateAdviceSession(t.Context(), i.ID, session, ""))(t)
	}
	var d client.Delivery
	eventually(t, "it was tried", func() bool {
		q := client.DeliveryQuery{EventID: id, LastStatus: "500"}
		list := must(r.operator.Deliveries(t.Context(), q))(t).Deliveries
		if len(list) > 0 {
			d = list[0]
		}
		return len(list) > 0
	})
	i := must(r.operator.Investors(t.Context(), client.InvestorQuery{}))(t).Items[0]
	s := must(r.operator.AdviceSessions(t.Context(), i.ID, client.AdviceSessionQuery{}))(t).Items[0]

	r.signIn(ctx)
	const at = "/t/default"
	odd := "?type=" + `%22%3E%3Cscript%3Ewindow.hit%3D1%3C%2Fscript%3E`
	for _, path := range []string{"/", "/webhooks", "/webhooks/" + w.ID, "/webhooks/" + w.ID + "/edit",
		"/webhooks/" + w.ID + "/verify", "/webhooks/" + w.ID + "/verify?language=php",
		"/webhooks/" + w.ID + "/delete", "/webhooks/" + w.ID + "/key", "/events", "/events/" + id, "/events" + odd,
		"/deliveries", "/deliveries" + odd, "/deliveries/" + d.ID, "/live" + odd, "/types", "/platform",
		"/platform/investors/" + i.ID, "/platform/sessions/" + s.ID, "/access", "/tenants",
		"/webhooks/%3Cscript%3Ewindow.hit=1%3C%2Fscript%3E"} {
		r.do(ctx, chromedp.Navigate(r.url+at+path), chromedp.WaitReady("//main"))
		r.inert(ctx, path)
	}
	r.do(ctx, chromedp.Navigate(r.url+at+"/webhooks/"+w.ID+"/test"), press("Send a test"), says("Not delivered"),
		says("X-Hostile"))
	r.inert(ctx, "the test")
	r.do(ctx, chromedp.Navigate(r.url+at+"/deliveries/"+d.ID), says("gnp.exe"), says("U+202E"), says("␛]0;hit"))
	r.do(ctx, chromedp.Navigate(r.url+at+"/live"),
		chromedp.WaitVisible(`//*[@id="live-state"][contains(., "Connected")]`))
	if err := r.operator.RetryDelivery(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	r.do(ctx, says("500"))
	r.inert(ctx, "the live page")
}
