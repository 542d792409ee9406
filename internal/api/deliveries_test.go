package api

import (
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/store"
)

// newDelivery makes a webhook with a delivery whose only attempt ended with the class of error.
func newDelivery(r *rig, class string) string {
	r.t.Helper()
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	r.must(202, admin, "POST", "/v1/events", eventBody)
	id := r.must(200, viewer, "GET", "/v1/deliveries", "").items()[0]["id"].(string)
	key, _ := DecodeDeliveryID(id)
	o := store.Outcome{Tenant: "default", DeliveryKey: key, Attempt: 1, Kind: store.Exhausted, At: time.Now(), Class: class, Stored: true}
	if err := r.store.Commit(r.t.Context(), &store.Batch{Outcomes: []store.Outcome{o}}); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// TestFiltersTellNoMoreThanAnswers: whether a target is refused or does not resolve stays inside.
func TestFiltersTellNoMoreThanAnswers(t *testing.T) {
	for _, class := range []string{attempt.ClassRefused, attempt.ClassDNS} {
		r := newRig(t)
		newDelivery(r, class)
		for asked, want := range map[string]int{classAddress: 1, attempt.ClassRefused: 0, attempt.ClassDNS: 0, attempt.ClassTimeout: 0} {
			if got := r.must(200, viewer, "GET", "/v1/deliveries?last_class="+asked, "").items(); len(got) != want {
				t.Errorf("class %s: last_class=%s lists %d, want %d", class, asked, len(got), want)
			}
			if got := r.must(200, viewer, "GET", "/v1/deliveries/count?last_class="+asked, "").json["count"]; got != float64(want) {
				t.Errorf("class %s: last_class=%s counts %v, want %d", class, asked, got, want)
			}
		}
	}
}

func TestRetryNamed(t *testing.T) {
	r := newRig(t)
	id := newDelivery(r, attempt.ClassTimeout)
	for body, want := range map[string][2]float64{
		`{"ids":[]}`:                          {0, 0},
		`{"ids":["` + id + `"]}`:              {1, 0},
		`{"ids":["` + id + `","` + id + `"]}`: {1, 0},
		`{"ids":["` + id + `","d_unknown"]}`:  {1, 1},
	} {
		p := r.must(202, admin, "POST", "/v1/deliveries/retry", body)
		if p.json["retried"] != want[0] || p.json["skipped"] != want[1] {
			t.Errorf("retry %s = %s, want %v retried, %v skipped", body, p.body, want[0], want[1])
		}
	}
	if len(r.engine.retry) != 3 {
		t.Errorf("the engine was asked %d times, want 3", len(r.engine.retry))
	}
}

// TestARetrysPanicIsA500 panics in a goroutine that the request started, where nobody else would recover it.
func TestARetrysPanicIsA500(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := newDelivery(r, attempt.ClassTimeout)
	r.engine.panic = "canary-detail"
	if p := r.must(500, admin, "POST", "/v1/deliveries/retry", `{"ids":["`+id+`"]}`); strings.Contains(p.body, "canary") {
		t.Errorf("the answer %s shows the panic", p.body)
	}
	if log := r.log.String(); !strings.Contains(log, "canary-detail") || !strings.Contains(log, "retry_many.go") {
		t.Errorf("the log has no panic with its stack: %s", log)
	}
}
