package api

import (
	"strings"
	"testing"
)

// TestEventsOfOneWebhook: a key that is bound to a webhook lists the events that the webhook gets, page by page, and
// finds them by all that events are found by; of others, however many there are, it sees nothing.
func TestEventsOfOneWebhook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	of := func(object string) string {
		return strings.Replace(eventBody, `"object_id":"`, `"object_id":"`+object+`-`, 1)
	}
	other := of("not-mine")
	for range 2 {
		r.must(202, admin, "POST", "/v1/events/batch", `{"events":[`+strings.Repeat(other+",", 599)+other+`]}`)
	}
	mine := r.must(201, admin, "POST", "/v1/webhooks", hookBody).str("id")
	for _, object := range []string{"a", "b", "c"} {
		r.must(202, admin, "POST", "/v1/events", of(object))
	}
	r.link("link", admin, `{"role":"viewer","webhook_id":"`+mine+`"}`)
	r.keys["bound"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")
	pages, objects, next := 0, "", ""
	for {
		p := r.must(200, "bound", "GET", "/v1/events?limit=2&cursor="+next, "")
		for _, e := range p.items() {
			if objects += e["object_id"].(string)[:1]; e["delivery_count"] != 1.0 {
				t.Errorf("an event has %v deliveries for who sees one webhook, want 1", e["delivery_count"])
			}
		}
		pages++
		if next, _ = p.json["next"].(string); next == "" {
			break
		}
	}
	if objects != "cba" || pages < 3 {
		t.Errorf("%d pages have the events of %q, want those of cba, and at least 3", pages, objects)
	}
	types := "&event_type=qap.investor.**"
	if got := r.must(200, "bound", "GET", "/v1/events?limit=200"+types, "").items(); len(got) != 3 {
		t.Errorf("%d events are found by type, want 3", len(got))
	}
	object := r.must(200, "bound", "GET", "/v1/events?limit=1", "").items()[0]["object_id"].(string)
	if got := r.must(200, "bound", "GET", "/v1/events?object_id="+object, "").items(); len(got) != 1 {
		t.Errorf("%d events are found by object, want 1", len(got))
	}
	hidden := r.must(200, admin, "GET", "/v1/events?limit=200", "").items()[199]["object_id"].(string)
	if !strings.HasPrefix(hidden, "not-mine-") {
		t.Fatalf("the last event of the page is of %s, want one that the webhook did not get", hidden)
	}
	if got := r.must(200, "bound", "GET", "/v1/events?object_id="+hidden, "").items(); len(got) != 0 {
		t.Errorf("%d events of %s are found, which the webhook did not get", len(got), hidden)
	}
}
