package api

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
)

// limitedRig is the rig with limits of the test's and a clock that stands.
func limitedRig(t *testing.T, l Limits) (r *rig, now *time.Time, met *[]string) {
	r = newRig(t)
	now, met = new(time.Time), new([]string)
	*now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var err error
	r.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{},
		Now: func() time.Time { return *now }, Limits: &l,
		Limited: func(name string) { *met = append(*met, name) }})
	if err != nil {
		t.Fatal(err)
	}
	return r, now, met
}

// TestLimitsOfATenant: each limit holds at it, not before, touches no other tenant, and says what to do.
func TestLimitsOfATenant(t *testing.T) {
	t.Parallel()
	const most = 3
	newEvent := func() string { return eventBody }
	delivery := func(r *rig, tenant string) string {
		if len(r.must(200, tenant+"/admin", "GET", "/v1/webhooks", "").items()) == 0 {
			r.must(201, tenant+"/admin", "POST", "/v1/webhooks", hookBody)
			r.must(202, tenant+"/admin", "POST", "/v1/events", newEvent())
		}
		return r.must(200, tenant+"/admin", "GET", "/v1/deliveries", "").items()[0]["id"].(string)
	}
	for name, c := range map[string]struct {
		limits Limits
		call   func(r *rig, tenant string) reply
		per    time.Duration // after which one more is taken; 0: it is a count
		one    time.Duration // for one
	}{
		"webhooks": {Limits{Webhooks: most}, func(r *rig, tenant string) reply {
			return r.call(tenant+"/admin", "POST", "/v1/webhooks", hookBody)
		}, 0, 0},
		"keys": {Limits{Keys: 3 + most}, func(r *rig, tenant string) reply { // there are three
			return r.call(tenant+"/admin", "POST", "/v1/api-keys", `{"role":"viewer"}`)
		}, 0, 0},
		"links": {Limits{Links: most}, func(r *rig, tenant string) reply {
			return r.call(tenant+"/admin", "POST", "/v1/links", `{"role":"viewer"}`)
		}, 0, 0},
		"sign-ins": {Limits{SignIns: most}, func(r *rig, tenant string) reply {
			return r.call(tenant+"/viewer", "POST", "/v1/sign-in", "")
		}, 0, 0},
		"tests": {Limits{Tests: most}, func(r *rig, tenant string) reply {
			delivery(r, tenant)
			return r.call(tenant+"/admin", "POST",
				"/v1/webhooks/"+r.must(200, tenant+"/admin", "GET", "/v1/webhooks",
					"").items()[0]["id"].(string)+"/test", "")
		}, time.Minute, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r, now, met := limitedRig(t, c.limits)
			for i := range most {
				if p := c.call(r, "default"); p.code >= 300 {
					t.Fatalf("call %d of %d = %d %s", i+1, most, p.code, p.body)
				}
			}
			if got := r.must(200, operator, "GET", "/v1/tenants", "").body; strings.Count(got,
				`"limits_near":["`+name+`"]`) != 1 || strings.Contains(got, "limits_met") {
				t.Errorf("before the limit the operator sees %s, want one tenant near it", got)
			}
			p := c.call(r, "default")
			if p.code != 429 || !strings.HasPrefix(p.header.Get("RateLimit-Policy"), `"`+name+`";q=`) ||
				!strings.HasPrefix(p.header.Get("RateLimit"), `"`+name+`";r=0`) ||
				!strings.Contains(p.body, "ask the operator") {
				t.Errorf("over the limit = %d %v %s, want a 429 with its headers and what to do", p.code,
					p.header, p.body)
			}
			if fmt.Sprint(*met) != "["+name+"]" {
				t.Errorf("limits that were met: %v, want %s", *met, name)
			}
			if q := c.call(r, "other"); q.code >= 300 {
				t.Errorf("another tenant's call = %d %s", q.code, q.body)
			}
			if got := r.must(200, operator, "GET", "/v1/tenants", "").body; strings.Count(got,
				`"limits_met":["`+name+`"]`) != 1 {
				t.Errorf("the operator sees %s, want the limit at one tenant", got)
			}
			if c.per == 0 {
				return
			}
			if p.header.Get("Retry-After") != fmt.Sprint(c.one.Seconds()) {
				t.Errorf("Retry-After = %s, want %v", p.header.Get("Retry-After"), c.one.Seconds())
			}
			*now = now.Add(c.one - time.Second)
			if p := c.call(r, "default"); p.code != 429 {
				t.Errorf("a second before its time = %d, want 429", p.code)
			}
			*now = now.Add(time.Second)
			if p := c.call(r, "default"); p.code >= 300 {
				t.Errorf("at its time = %d %s", p.code, p.body)
			}
		})
	}
}

// TestLimitsOfPublishing: events and bytes a second, at the limit and over it; nothing of a request that is over it is
// taken, and the largest request that there is can always go.
func TestLimitsOfPublishing(t *testing.T) {
	t.Parallel()
	l := newLimits(Limits{Events: 2 * event.MaxBatch, Bytes: 2 * MaxBatchBody}, nil, func(string, string) {})
	now := time.Now()
	for range 2 {
		if err := l.published("a", event.MaxBatch, MaxBatchBody, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.published("a", 1, 1, now); err == nil ||
		!strings.Contains(err.Error()+fmt.Sprint(err.(*Problem).Detail), "events a second") {
		t.Errorf("an event over the limit = %v, want the limit of events", err)
	}
	if err := l.published("b", event.MaxBatch, MaxBatchBody, now); err != nil {
		t.Errorf("another tenant = %v", err)
	}
	now = now.Add(time.Second)
	if err := l.published("a", 2*event.MaxBatch, 1, now); err != nil {
		t.Errorf("a second later = %v", err)
	}
	tight := newLimits(Limits{Events: 1, Bytes: 1}, nil, func(string, string) {})
	if err := tight.published("a", event.MaxBatch, MaxBatchBody, now); err != nil {
		t.Errorf("the largest request at the tightest limit = %v, want it taken", err)
	}
	if err := tight.published("a", 1, 1, now); err == nil {
		t.Error("and one more is taken")
	}

	r, _, _ := limitedRig(t, Limits{Events: 1})
	codes := map[int]int{}
	for i := range event.MaxBatch + 2 {
		if i == 0 {
			body := `{"events":[` + strings.Repeat(eventBody+",", event.MaxBatch-1) + eventBody + `]}`
			codes[r.call("default/publisher", "POST", "/v1/events/batch", body).code]++
			continue
		}
		if i > 2 {
			break
		}
		p := r.call("default/publisher", "POST", "/v1/events", eventBody)
		if codes[p.code]++; p.header.Get("Retry-After") != "1" {
			t.Errorf("over the limit = %d, Retry-After %q, want 1", p.code, p.header.Get("Retry-After"))
		}
	}
	if codes[429] != 2 {
		t.Errorf("answers %v, want the batch taken or refused for itself, and two 429", codes)
	}
	if n := len(r.must(200, "default/viewer", "GET", "/v1/events?limit=200", "").items()); n != 0 && n != 200 {
		t.Errorf("%d events are there, want all of the batch or none", n)
	}
}

// TestLimitOfStreams: an open stream counts until it ends.
func TestLimitOfStreams(t *testing.T) {
	t.Parallel()
	r, _, _ := limitedRig(t, Limits{Streams: 1})
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequest("GET", "/v1/attempts/live", nil).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+r.keys[viewer])
	w := &firstByte{ResponseRecorder: httptest.NewRecorder(), written: make(chan struct{})}
	var open sync.WaitGroup
	open.Go(func() { r.h.ServeHTTP(w, req) })
	<-w.written
	if p := r.call(viewer, "GET", "/v1/attempts/live", ""); p.code != 429 || !strings.Contains(p.body, "streams") {
		t.Errorf("a second stream = %d %s, want 429", p.code, p.body)
	}
	cancel()
	open.Wait()
	ctx, cancel = context.WithCancel(t.Context())
	req = httptest.NewRequest("GET", "/v1/attempts/live", nil).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+r.keys[viewer])
	w = &firstByte{ResponseRecorder: httptest.NewRecorder(), written: make(chan struct{})}
	open.Go(func() { r.h.ServeHTTP(w, req) })
	<-w.written
	cancel()
	open.Wait()
	if w.Code != 200 {
		t.Errorf("a stream after the first has ended = %d, want 200", w.Code)
	}
}

// firstByte tells when an answer has begun.
type firstByte struct {
	*httptest.ResponseRecorder
	once    sync.Once
	written chan struct{}
}

func (f *firstByte) Write(b []byte) (int, error) {
	n, err := f.ResponseRecorder.Write(b)
	f.once.Do(func() { close(f.written) })
	return n, err
}

// TestLimitsAreBounded: tenants that did nothing lately are forgotten.
func TestLimitsAreBounded(t *testing.T) {
	t.Parallel()
	l, now := newLimits(Limits{Events: 10}, nil, func(string, string) {}), time.Now()
	for i := range 3 * limitTenants {
		now = now.Add(time.Second)
		if err := l.published(fmt.Sprint("t", i), 1, 1, now); err != nil {
			t.Fatal(err)
		}
	}
	if l.events.tenants > limitTenants {
		t.Errorf("%d tenants are remembered, want at most %d", l.events.tenants, limitTenants)
	}
}

func BenchmarkLimits(b *testing.B) {
	l := newLimits(Limits{Events: 1 << 40, Bytes: 1 << 50}, nil, func(string, string) {})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.published("a", 1, 300, time.Now()); err != nil {
				b.Error(err)
			}
		}
	})
}
