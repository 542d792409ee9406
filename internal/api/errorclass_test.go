package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/live"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// TestErrorClasses: the table is an answer of the API, and has every class that attempts can have.
func TestErrorClasses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var list client.Page[client.ErrorClass]
	p := r.must(200, publisher, "GET", "/v1/error-classes", "")
	if err := json.Unmarshal([]byte(p.body), &list); err != nil || !reflect.DeepEqual(list.Items, client.ErrorClasses) {
		t.Errorf("the answer is not the table (%v): %s", err, p.body)
	}
	for _, c := range attempt.Classes {
		class, _ := outsideClass(c)
		if client.Explain(class, "", 0).Means == "" {
			t.Errorf("the table has no words for %s", class)
		}
	}
	for _, inner := range addressClasses {
		if client.Explain(inner, "", 0).Means != "" {
			t.Errorf("the table has words for %s, which nobody outside sees", inner)
		}
	}
}

// TestReasonsOnRecord: what is on record as tls:expired is class tls with a reason and words, in every answer.
func TestReasonsOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := newDelivery(r, "tls:expired")
	want := client.Explain("tls", "expired", 0).String()
	var d client.DeliveryDetail
	p := r.must(200, viewer, "GET", "/v1/deliveries/"+id, "")
	if err := json.Unmarshal([]byte(p.body), &d); err != nil {
		t.Fatal(err)
	}
	if a := d.AttemptLog[0]; a.Class != "tls" || a.Reason != "expired" || a.Explanation != want ||
		d.LastClass != "tls" || d.LastReason != "expired" {
		t.Errorf("the delivery is %s, want class tls, reason expired and %q", p.body, want)
	}
	for asked, n := range map[string]int{"tls": 1, "tls:expired": 0, "expired": 0, "timeout": 0} {
		query := "?last_class=" + asked
		if got := r.must(200, viewer, "GET", "/v1/deliveries"+query, "").items(); len(got) != n {
			t.Errorf("last_class=%s lists %d, want %d", asked, len(got), n)
		}
		if got := r.must(200, viewer, "GET", "/v1/deliveries/count"+query, "").json["count"]; got != float64(n) {
			t.Errorf("last_class=%s counts %v, want %d", asked, got, n)
		}
		if got := r.must(202, admin, "POST", "/v1/deliveries/retry"+query, "").json["retried"]; got != float64(n) {
			t.Errorf("last_class=%s retries %v, want %d", asked, got, n)
		}
	}
	s := r.must(200, viewer, "GET", "/v1/stats/webhooks", "").items()[0]
	if s["last_class"] != "tls" || s["last_reason"] != "expired" {
		t.Errorf("the webhook's last class is %v, reason %v, want tls and expired", s["last_class"], s["last_reason"])
	}
	a := viewLive(&live.Attempt{Outcome: store.Outcome{Class: "tls:expired"}}, "").Attempt
	if a.Class != "tls" || a.Reason != "expired" || a.Explanation != want {
		t.Errorf("live it is %+v, want class tls, reason expired and %q", a, want)
	}
	a = viewTest(&webhook.Webhook{}, &attempt.Result{Class: "tls:expired"}, &attempt.Preview{}).Attempt
	if a.Class != "tls" || a.Reason != "expired" || a.Explanation != want {
		t.Errorf("a test is %+v, want class tls, reason expired and %q", a, want)
	}
}

// TestWordsOfAnswers: the words are about the status that the receiver answered; what is delivered has none.
func TestWordsOfAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	for _, o := range []store.Outcome{
		{Kind: store.Exhausted, Class: attempt.ClassHTTPStatus, Status: 401},
		{Kind: store.Exhausted, Class: attempt.ClassHTTPStatus, Status: 503},
		{Kind: store.Exhausted, Class: attempt.ClassTLS}, // as it was recorded before there were reasons
		{Kind: store.Delivered, Status: 200},
	} {
		d := r.must(200, viewer, "GET", "/v1/deliveries/"+settled(r, o), "")
		a := d.json["attempts"].([]any)[0].(map[string]any)
		want := client.Explain(o.Class, "", o.Status).String()
		if got, _ := a["explanation"].(string); got != want || (want == "") != (o.Class == "") || a["reason"] != nil {
			t.Errorf("%d %s is explained by %q, reason %v, want %q", o.Status, o.Class, got, a["reason"], want)
		}
	}
}

// TestReasonsOfAddressesStayInside: a reason would tell apart what the outside must not.
func TestReasonsOfAddressesStayInside(t *testing.T) {
	t.Parallel()
	for _, class := range addressClasses {
		o := store.Outcome{Class: class + ":secret", Duration: time.Second, Timings: store.Timings{DNS: time.Second}}
		a := viewOutcome(&o)
		if a.Class != classAddress || a.Reason != "" || a.DurationMS != 0 || a.Timings != nil {
			t.Errorf("%s is shown as %+v, want an address and no more", o.Class, a)
		}
		s := &selection{}
		s.outcome(&client.DeliveryQuery{LastClass: classAddress})
		if !s.match(&store.DeliveryRecord{LastClass: o.Class}) || !slices.Contains(s.classes, class) {
			t.Errorf("last_class=address does not find %s", o.Class)
		}
	}
}
