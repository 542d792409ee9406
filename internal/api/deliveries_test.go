package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// newDelivery makes a webhook with a delivery whose only attempt ended with the class of error.
func newDelivery(r *rig, class string) string {
	r.t.Helper()
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	return settled(r, store.Outcome{Kind: store.Exhausted, Class: class})
}

// settled publishes an event for the one webhook that there is, and has its attempt end so.
func settled(r *rig, o store.Outcome) string {
	r.t.Helper()
	r.must(202, admin, "POST", "/v1/events", eventBody)
	id := r.must(200, viewer, "GET", "/v1/deliveries", "").items()[0]["id"].(string)
	o.DeliveryKey, _ = DecodeDeliveryID(id)
	o.Tenant, o.Attempt, o.At, o.Stored = "default", 1, time.Now(), true
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
		for asked, want := range map[string]int{classAddress: 1, attempt.ClassRefused: 0, attempt.ClassDNS: 0,
			attempt.ClassTimeout: 0} {
			if got := r.must(200, viewer, "GET", "/v1/deliveries?last_class="+asked, "").items(); len(got) != want {
				t.Errorf("class %s: last_class=%s lists %d, want %d", class, asked, len(got), want)
			}
			if got := r.must(200, viewer, "GET", "/v1/deliveries/count?last_class="+asked,
				"").json["count"]; got != float64(want) {
				t.Errorf("class %s: last_class=%s counts %v, want %d", class, asked, got, want)
			}
		}
	}
}

// moving is a store in which what waits is exhausted by the time that what is exhausted is listed.
type moving struct{ store.Store }

func (m moving) ListDeliveries(ctx context.Context, tenant string, f store.DeliveryFilter, before store.DeliveryKey,
	limit int) ([]store.DeliveryRecord, store.DeliveryKey, error) {
	if f.Status == store.StatusExhausted {
		f.Status = store.StatusWaiting
	}
	return m.Store.ListDeliveries(ctx, tenant, f, before, limit)
}

// TestListedOnce: a delivery whose status changes while it is listed is in the list once, and retried once.
func TestListedOnce(t *testing.T) {
	r := newRig(t)
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	for range 3 {
		r.must(202, admin, "POST", "/v1/events", eventBody)
	}
	h, err := New(Config{Engine: r.engine, Store: moving{r.store}, Guard: fakeGuard{}})
	if err != nil {
		t.Fatal(err)
	}
	q := httptest.NewRequest(http.MethodPost, "/v1/deliveries/retry", strings.NewReader(`{"all":true}`))
	q.Header.Set("Authorization", "Bearer "+r.keys[admin])
	q.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	if got := w.Body.String(); !strings.Contains(got, `"retried":3`) {
		t.Errorf("a retry of three deliveries = %d %s, want 3 retried", w.Code, got)
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

// TestRetryByFilter: nothing is sent again because a filter was forgotten, and what is delivered only when it is asked
// for.
func TestRetryByFilter(t *testing.T) {
	r := newRig(t)
	newDelivery(r, attempt.ClassTimeout)
	done := settled(r, store.Outcome{Kind: store.Delivered, Status: 200})
	for _, none := range []string{"", "{}", `{"all":false}`} {
		if p := r.must(422, admin, "POST", "/v1/deliveries/retry?limit=10", none); p.locations() != "all" {
			t.Errorf("retry %q = %s, want a violation of all", none, p.body)
		}
	}
	r.must(422, admin, "POST", "/v1/deliveries/retry", `{"all":true,"ids":["`+done+`"]}`)
	for _, x := range []struct {
		query, body string
		want        float64
	}{
		{"", `{"all":true}`, 1}, {"?since=1h", "", 1}, {"?event_type=**", "{}", 1}, {"?status=delivered", "",
			1}, {"?status=waiting", "", 0},
		{"?last_status=2xx", "", 0}, {"?last_status=200&status=delivered", "", 1}, {"", `{"ids":["` + done + `"]}`, 1},
	} {
		if p := r.must(202, admin, "POST", "/v1/deliveries/retry"+x.query, x.body); p.json["retried"] != x.want {
			t.Errorf("retry %s %s = %s, want %v retried", x.query, x.body, p.body, x.want)
		}
	}
}

// TestARetrysPanicIsA500 panics in a goroutine that the request started, where nobody else would recover it.
func TestARetrysPanicIsA500(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := newDelivery(r, attempt.ClassTimeout)
	r.engine.panic = "canary-detail"
	if p := r.must(500, admin, "POST", "/v1/deliveries/retry",
		`{"ids":["`+id+`"]}`); strings.Contains(p.body, "canary") {
		t.Errorf("the answer %s shows the panic", p.body)
	}
	if log := r.log.String(); !strings.Contains(log, "canary-detail") || !strings.Contains(log, "retry_many.go") {
		t.Errorf("the log has no panic with its stack: %s", log)
	}
}

// TestRareInALongHistory: pages of what is rare in a webhook's history go on to all of it, whatever the store looks at
// for one list, and so do those that are merged of several lists.
func TestRareInALongHistory(t *testing.T) {
	r := newRig(t)
	r.must(201, admin, "POST", "/v1/webhooks", hookBody)
	hooks, err := r.store.AllWebhooks(t.Context())
	if err != nil || len(hooks) != 1 {
		t.Fatalf("AllWebhooks = %d, %v, want 1", len(hooks), err)
	}
	const many = 25_000
	b := &store.Batch{Submissions: []*store.Submission{{Tenant: "default"}}}
	var want []string
	for n := range store.Seq(many) {
		key := store.DeliveryKey{Webhook: hooks[0].Num, Event: store.SeqAt(time.Now().Add(-time.Hour)) + n}
		e := store.Submitted{Seq: key.Event, Webhooks: []int64{key.Webhook}}
		e.Event = event.Event{ID: uuid.Must(uuid.NewV7()), Type: "qap.investor.created", ObjectID: "o",
			Time: key.Event.Time(), Data: []byte(`{}`)}
		o := store.Outcome{Tenant: "default", DeliveryKey: key, Attempt: 1, Kind: store.Exhausted,
			At: time.Now(), Sent: true,
			Status: 500, Class: attempt.ClassHTTPStatus}
		if n == 0 || n == many/2 || n == many-1 {
			want = append(want, EncodeDeliveryID(key))
			o.Kind, o.Status, o.Class = store.Delivered, 200, ""
		}
		b.Submissions[0].Events, b.Outcomes = append(b.Submissions[0].Events, e), append(b.Outcomes, o)
	}
	if err := r.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(want)
	for _, filter := range []string{"status=delivered", "last_status=2xx",
		"status=delivered&event_type=qap.investor.*"} {
		var got []string
		pages := 0
		for next := ""; pages == 0 || next != "" && pages < 10; pages++ {
			p := r.must(200, viewer, "GET", "/v1/deliveries?"+filter+"&cursor="+next, "")
			for _, d := range p.items() {
				got = append(got, d["id"].(string))
			}
			if next = p.str("next"); (next != "") != (p.str("searched_to") != "") {
				t.Errorf("%s: a page that is not full says next %q, searched_to %q, want both or none", filter, next,
					p.str("searched_to"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d pages have %v, want %v", filter, pages, got, want)
		}
	}
	// The lists of waiting, exhausted and cancelled ones; the first has nothing, and looks far for it.
	p := r.must(200, viewer, "GET", "/v1/deliveries?limit=5&last_status=5xx", "")
	if len(p.items()) != 5 || p.str("next") == "" {
		t.Errorf("last_status=5xx lists %d, next %q, want 5 and more", len(p.items()), p.str("next"))
	}
}
