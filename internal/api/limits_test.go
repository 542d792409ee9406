package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// parameter is what the document says of one.
type parameter struct {
	Name, In string
	Schema   struct{ MaxLength, Minimum, Maximum *int }
}

// refusedFor tells whether an answer says that the parameter is over its limit; anything else may be wrong with it too.
func (p reply) refusedFor(q parameter) bool {
	list, _ := p.json["errors"].([]any)
	for _, x := range list {
		e := x.(map[string]any)
		text := e["message"].(string)
		if e["location"] == q.In+"."+q.Name &&
			(strings.HasPrefix(text, "must have ") || strings.HasPrefix(text, "must be at ")) {
			return true
		}
	}
	return false
}

// Every parameter that has a limit in the document has it in truth: each is tried at it, one below and one above.
func TestParametersHaveTheirLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var doc struct {
		Paths map[string]map[string]struct{ Parameters []parameter }
	}
	if err := json.Unmarshal([]byte(r.must(200, "", "GET", "/openapi.json", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			try := func(q parameter, value string, good bool) {
				tried++
				target, query, header := path, "", []string(nil)
				switch q.In {
				case "path":
					target = strings.Replace(target, "{"+q.Name+"}", value, 1)
				case "query":
					query = "?" + q.Name + "=" + url.QueryEscape(value)
				case "header":
					header = []string{q.Name, value}
				}
				target = strings.NewReplacer("{id}", "x", "{report}", "x").Replace(target)
				who := admin
				if strings.HasPrefix(path, "/v1/tenants") {
					who = operator
				}
				p := r.call(who, strings.ToUpper(method), target+query, "", header...)
				if p.refusedFor(q) == good || p.code >= 500 {
					t.Errorf("%s %s with %s %s = %.40s: %d %s, want it taken: %v",
						method, path, q.In, q.Name, value, p.code, p.body, good)
				}
			}
			for _, q := range op.Parameters {
				if most := q.Schema.MaxLength; most != nil {
					try(q, strings.Repeat("x", *most-1), true)
					try(q, strings.Repeat("x", *most), true)
					try(q, strings.Repeat("x", *most+1), false)
				}
				if least, most := q.Schema.Minimum, q.Schema.Maximum; least != nil && most != nil {
					for n, good := range map[int]bool{
						*least - 1: false, *least: true, *least + 1: true, *most - 1: true, *most: true, *most + 1: false,
					} {
						try(q, fmt.Sprint(n), good)
					}
				}
			}
		}
	}
	if tried < 200 {
		t.Errorf("%d values were tried; is the document still read?", tried)
	}
}

// quoted is a JSON member of n letters.
func quoted(name string) func(n int) string {
	return func(n int) string { return fmt.Sprintf(`{%q:%q}`, name, strings.Repeat("x", n)) }
}

// repeated is a JSON member with a list of n elements.
func repeated(name, element string) func(n int) string {
	return func(n int) string {
		return fmt.Sprintf(`{%q:[%s]}`, name, strings.TrimSuffix(strings.Repeat(element+",", n), ","))
	}
}

// lasting is a JSON member with a duration of n milliseconds.
func lasting(name, more string) func(n int) string {
	return func(n int) string { return fmt.Sprintf(`{%q:"%dms"%s}`, name, n, more) }
}

// Every member of a body that has a limit is tried at it, one below and one above. What webhooks and events allow is
// tried where it is checked.
func TestBodiesHaveTheirLimits(t *testing.T) {
	t.Parallel()
	const second, day = 1000, 24 * 60 * 60 * 1000
	r := newRig(t)
	advisor := r.must(201, admin, "POST", "/v1/advisors", `{"name":"Ann"}`).str("id")
	investor := r.must(201, admin, "POST", "/v1/investors",
		`{"advisor_id":"`+advisor+`","investor_type":"person","investor_name":"Joe"}`).str("id")
	sessions := "/v1/investors/" + investor + "/advice-sessions"
	email := func(n int) string {
		return `{"email":"` + strings.Repeat("x", 60) + "@" + strings.Repeat("y", n-61) + `"}`
	}
	number := func(n int) string { return fmt.Sprintf(`{"horizon_years":%d}`, n) }
	for _, c := range []struct {
		path, field string
		low, high   int
		body        func(n int) string
	}{
		{"/v1/tenants", "id", 1, maxTenantID, quoted("id")},
		{"/v1/tenants", "name", 0, maxName, quoted("name")},
		{"/v1/api-keys", "name", 0, maxName, quoted("name")},
		{"/v1/links", "name", 0, maxName, quoted("name")},
		{"/v1/links", "expires_in", second, day, lasting("expires_in", "")},
		{"/v1/links", "signed_in_for", second, 7 * day, lasting("signed_in_for", "")},
		{"/v1/webhooks", "signing_key_overlap", 0, 90 * day,
			lasting("signing_key_overlap", `,"generate_signing_key":true`)},
		{"/v1/webhooks", "retry_schedule", 0, webhook.MaxRetries, repeated("retry_schedule", `"1s"`)},
		{"/v1/webhooks", "event_types", 1, webhook.MaxPatterns, repeated("event_types", `"**"`)},
		{"/v1/deliveries/retry", "ids", 0, maxRetryMany, repeated("ids", `"d_x"`)},
		{"/v1/advisors", "name", 1, 200, quoted("name")},
		{"/v1/advisors", "email", 0, 254, email},
		{"/v1/investors", "investor_name", 1, 200, quoted("investor_name")},
		{"/v1/investors", "email", 0, 254, email},
		{"/v1/investors", "reference", 0, 100, quoted("reference")},
		{sessions, "title", 1, 200, quoted("title")},
		{sessions, "objective", 0, 20000, quoted("objective")},
		{sessions, "recommendation", 0, 20000, quoted("recommendation")},
		{sessions, "horizon_years", 0, 100, number},
	} {
		tries := []int{c.high - 1, c.high, c.high + 1}
		if c.low > 0 {
			tries = append(tries, c.low-1, c.low, c.low+1)
		}
		for _, n := range tries {
			p := r.call(operator, "POST", c.path, c.body(n))
			refused := strings.Contains(" "+p.locations()+" ", " "+c.field+" ")
			if good := n >= c.low && n <= c.high; refused == good || p.code >= 500 {
				t.Errorf("%s: %s of %d = %d %.300s, want it taken: %v", c.path, c.field, n, p.code, p.body, good)
			}
		}
	}
}

// How large and how deep a request can be, whatever is in it.
func TestRequestsHaveTheirLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	filled := func(path, body string) func(n int) reply {
		return func(n int) reply { return r.call(admin, "POST", path, body+strings.Repeat(" ", n-len(body))) }
	}
	for _, c := range []struct {
		name  string
		limit int
		call  func(n int) reply
		over  int
		says  string
	}{
		{"header lines", MaxHeaders, func(n int) reply {
			many := make([]string, 0, 2*n)
			for range n - 1 { // and Authorization
				many = append(many, "X-Many", "v")
			}
			return r.call(admin, "GET", "/v1/webhooks", "", many...)
		}, http.StatusRequestHeaderFieldsTooLarge, "header lines"},
		{"an event", event.MaxSize, filled(publishPath, eventBody), http.StatusRequestEntityTooLarge, "body"},
		{"a batch", MaxBatchBody, filled(batchPath, `{"events":[`+eventBody+`]}`),
			http.StatusRequestEntityTooLarge, "body"},
		{"another body", maxBody, filled("/v1/webhooks", hookBody), http.StatusRequestEntityTooLarge, "body"},
		{"nesting", maxDepth, func(n int) reply { // the body itself counts
			deep := strings.Repeat("[", n-1) + strings.Repeat("]", n-1)
			return r.call(admin, "POST", "/v1/webhooks", `{"headers":`+deep+`}`)
		}, http.StatusBadRequest, "nested too deeply"},
		{"an API key", maxKeyText, func(n int) reply {
			return r.call("", "GET", "/v1/webhooks", "", "Authorization", "Bearer "+strings.Repeat("x", n))
		}, http.StatusUnauthorized, "of the form"},
	} {
		for n := c.limit - 1; n <= c.limit+1; n++ {
			p := c.call(n)
			if over := p.code == c.over && strings.Contains(p.body, c.says); over != (n > c.limit) || p.code >= 500 {
				t.Errorf("%s of %d = %d %.200s, want it taken: %v", c.name, n, p.code, p.body, n <= c.limit)
			}
		}
	}
}

func TestRotationHasItsLimit(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for off, good := range map[time.Duration]bool{-time.Millisecond: true, 0: true, time.Millisecond: false} {
		at := now.Add(maxRotation + off).Format(time.RFC3339Nano)
		w := newWebhook("t", now)
		w.URL, w.Method, w.EventTypes = "https://example.com/", webhook.POST, []string{"**"}
		_, err := merge(w, []byte(`{"generate_signing_key":true,"signing_key_switch_at":"`+at+`"}`), now)
		if (err == nil) != good || good && !w.SigningKeys[0].SwitchAt.Equal(now.Add(maxRotation+off)) {
			t.Errorf("a switch %v from the limit = %v, want it taken: %v", off, err, good)
		}
	}
}
