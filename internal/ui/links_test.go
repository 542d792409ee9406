package ui_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/quantfolio/qhook/client"
)

// linksOf are the addresses that a page links to, of this server's pages.
func linksOf(t *testing.T, body []byte) (list []string) {
	t.Helper()
	doc := must(html.Parse(bytes.NewReader(body)))(t)
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "a" {
			continue
		}
		for _, a := range n.Attr {
			if a.Key == "href" && (strings.HasPrefix(a.Val, "/t/") || strings.HasPrefix(a.Val, "?")) {
				list = append(list, a.Val)
			}
		}
	}
	return list
}

// TestLinksLeadSomewhere: what pages link to is there, also of what belongs to a webhook that was deleted.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pages := r.filled()
	gone := r.webhook("/ok", "Gone")
	id := r.publish(1)[0]
	var d client.Delivery
	eventually(t, "it is delivered", func() bool {
		q := client.DeliveryQuery{WebhookID: gone.ID, EventID: id, Status: client.StatusDelivered}
		list := must(r.operator.Deliveries(t.Context(), q))(t).Deliveries
		if len(list) > 0 {
			d = list[0]
		}
		return len(list) > 0
	})
	if err := r.operator.DeleteWebhook(t.Context(), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	pages["event of a deleted webhook"], pages["its delivery"] = "/t/default/events/"+id, "/t/default/deliveries/"+d.ID
	if n := r.follow(must(r.operator.SignIn(t.Context()))(t).Key, pages); n < 50 {
		t.Errorf("%d links were followed, want more", n)
	}

	// Likewise for somebody who sees one webhook.
	hook := must(r.operator.Webhooks(t.Context(), client.WebhookQuery{}))(t).Webhooks[0].ID
	link := must(r.operator.CreateLink(t.Context(), client.NewLink{Role: client.RoleAdmin, WebhookID: hook}))(t)
	bound := must(client.New(r.url, link.Token).SignIn(t.Context()))(t).Key
	own := map[string]string{"own webhook": "/t/default/webhooks/" + hook, "event": pages["event"]}
	for _, name := range []string{"deliveries", "events", "live", "types"} {
		own[name] = pages[name]
	}
	if n := r.follow(bound, own); n < 20 {
		t.Errorf("%d links were followed for one who sees one webhook, want more", n)
	}
}

// follow follows the links of pages, and returns how many there are.
func (r *rig) follow(key string, pages map[string]string) int {
	t := r.t
	t.Helper()
	seen := map[string]bool{}
	for name, at := range pages {
		_, body := r.get(key, at)
		if name == "its delivery" && !strings.Contains(string(body), "a deleted webhook") {
			t.Errorf("the delivery does not say that its webhook was deleted")
		}
		for _, to := range linksOf(t, body) {
			if strings.HasPrefix(to, "?") {
				path, _, _ := strings.Cut(at, "?")
				to = path + to
			}
			if to, _, _ = strings.Cut(to, "#"); seen[to] {
				continue
			}
			seen[to] = true
			if status, _ := r.get(key, to); status != http.StatusOK {
				t.Errorf("%s links to %s, which is %d", name, to, status)
			}
		}
	}
	return len(seen)
}

// TestInvestorsEvents: an investor's page shows what happens to that investor and their advice sessions, and to no
// other.
func TestInvestorsEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	ada := must(r.operator.CreateAdvisor(ctx, client.NewAdvisor{Name: "Ada Adler"}, ""))(t)
	made := map[string]client.Investor{}
	for _, name := range []string{"Jane", "John"} {
		investor := client.NewInvestor{AdvisorID: ada.ID, Type: "person", Name: name}
		made[name] = must(r.operator.CreateInvestor(ctx, investor, ""))(t)
		session := client.NewAdviceSession{Title: "Plan of " + name}
		must(r.operator.CreateAdviceSession(ctx, made[name].ID, session, ""))(t)
	}
	r.publish(2)
	key := must(r.operator.SignIn(ctx))(t).Key
	for _, path := range []string{"/t/default/platform/investors/" + made["Jane"].ID,
		"/t/default/platform/watch?object=" + made["Jane"].ID + "&owner=" + made["Jane"].ID} {
		_, body := r.get(key, path)
		var shown []string
		for _, to := range linksOf(t, body) {
			if id, found := strings.CutPrefix(to, "/t/default/events/"); found {
				e := must(r.operator.Event(ctx, id))(t)
				shown = append(shown, e.Type)
				if e.ObjectID != made["Jane"].ID && e.ObjectOwnerID != made["Jane"].ID {
					t.Errorf("%s shows an event of %s, owned by %s", path, e.ObjectID, e.ObjectOwnerID)
				}
			}
		}
		if got := strings.Join(shown, " "); got != "qap.investor.advice.created qap.investor.created" {
			t.Errorf("%s shows %s, want the session and then the investor", path, got)
		}
	}
}

// TestWebhooksBeyondTheList: a webhook that is not among the first that can be chosen from has its name in lists as
// well.
func TestWebhooksBeyondTheList(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := client.NewWebhook{URL: r.receivers.URL + "/ok", EventTypes: []string{"qap.investor.deleted"}}
	for range 600 {
		must(r.operator.CreateWebhook(t.Context(), w))(t)
	}
	last := r.webhook("/ok", "The last one")
	e := client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: "a"}
	id := must(r.operator.Publish(t.Context(), e))(t).ID
	key := must(r.operator.SignIn(t.Context()))(t).Key
	for _, gone := range []bool{false, true} {
		for _, path := range []string{"/", "/deliveries", "/events/" + id} {
			_, body := r.get(key, "/t/default"+path)
			if got := strings.Contains(string(body), "a deleted webhook"); got != gone ||
				strings.Contains(string(body), ">The last one</a>") == gone {
				t.Errorf("%s says that it is of a deleted webhook: %t, want %t", path, got, gone)
			}
		}
		if err := r.operator.DeleteWebhook(t.Context(), last.ID, ""); !gone && err != nil {
			t.Fatal(err)
		}
	}
}
