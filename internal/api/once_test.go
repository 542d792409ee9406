package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// makers are the calls that make something, with two bodies each, and how to count what there is.
var makers = []struct {
	who, path, body, other string
	list                   string
	again                  int // the status of a repetition
}{
	{admin, "/v1/webhooks", hookBody, strings.Replace(hookBody, "{", `{"description":"other",`, 1),
		"/v1/webhooks", 201},
	{admin, "/v1/api-keys", `{"role":"viewer"}`, `{"role":"publisher"}`, "/v1/api-keys?limit=200", 201},
	{operator, "/v1/tenants", `{"id":"once"}`, `{"id":"once","name":"other"}`, "/v1/tenants", 201},
	{admin, "/v1/links", `{"role":"viewer"}`, `{"role":"admin"}`, "/v1/api-keys?kind=link", 409},
	{publisher, "/v1/events", eventBody, strings.Replace(eventBody, "i1", "i2", 1), "/v1/events", 202},
	{publisher, "/v1/events/batch", `{"events":[` + eventBody + `,` + eventBody + `]}`,
		`{"events":[` + strings.Replace(eventBody, "i1", "i2", 1) + `]}`,
		"/v1/events", 202},
}

// TestOnce: a request that is repeated with its Idempotency-Key makes nothing new and is answered with what it made;
// the same key with another request is refused; other callers' keys are others.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, x := range makers {
		r := newRig(t)
		reader := x.who
		if reader == publisher {
			reader = viewer
		}
		count := func() int { return len(r.must(200, reader, "GET", x.list, "").items()) }
		before := count()
		first := r.call(x.who, "POST", x.path, x.body, "Idempotency-Key", "k 1")
		made := count() - before
		if first.code >= 300 || made < 1 {
			t.Fatalf("POST %s = %d %s, and makes %d", x.path, first.code, first.body, made)
		}
		again := r.call(x.who, "POST", x.path, x.body, "Idempotency-Key", "k 1")
		if again.code != x.again || again.code < 300 &&
			(again.str("id") != first.str("id") || again.header.Get("Location") != first.header.Get("Location")) {
			t.Errorf("POST %s again = %d %s, want %d and what was made: %s", x.path, again.code, again.body,
				x.again, first.body)
		}
		if p := r.call(x.who, "POST", x.path, x.other, "Idempotency-Key", "k 1"); p.code != 422 && p.code != 409 {
			t.Errorf("another POST %s with the same key = %d %s, want it refused", x.path, p.code, p.body)
		}
		if got := count() - before; got != made {
			t.Errorf("POST %s thrice with one key makes %d, want %d", x.path, got, made)
		}
		if p := r.call(x.who, "POST", x.path, x.body, "Idempotency-Key", strings.Repeat("x", 256)); p.code != 422 {
			t.Errorf("POST %s with a long key = %d, want 422", x.path, p.code)
		}
		if x.who == operator {
			continue // a tenant's ID is there once
		}
		r.call(x.who, "POST", x.path, x.body, "Idempotency-Key", "k 2")
		r.call("other/"+strings.TrimPrefix(x.who, "default/"), "POST", x.path, x.body, "Idempotency-Key", "k 1")
		if got := count() - before; got != 2*made {
			t.Errorf("POST %s with another key, and another tenant's with the same, makes %d here, want %d", x.path,
				got, 2*made)
		}
	}
}

// TestOnceAfterADay: a key is forgotten after a day.
func TestOnceAfterADay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ahead atomic.Int64
	var err error
	r.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Version: "test",
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, after := range []time.Duration{0, store.IdempotencyLife - time.Minute, store.IdempotencyLife + time.Minute} {
		ahead.Store(int64(after))
		ids = append(ids, r.must(201, admin, "POST", "/v1/webhooks", hookBody, "Idempotency-Key", "k").str("id"))
	}
	if ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("at once, within a day and after it: %q, want the same twice, then another", ids)
	}
}

// cut is a store whose first write of a webhook does not come about.
type cut struct {
	store.Store
	writes atomic.Int64
	begun  chan struct{}
	end    chan struct{}
}

func (c *cut) CreateWebhook(ctx context.Context, w *webhook.Webhook) error {
	if c.writes.Add(1) == 1 {
		close(c.begun)
		<-c.end
		return errors.New("the process ended here")
	}
	return c.Store.CreateWebhook(ctx, w)
}

// TestOnceUnderWay: while a request is under way, its repetition is told to wait; when the first has ended between its
// key and its object, the repetition makes the object.
func TestOnceUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := &cut{Store: r.store, begun: make(chan struct{}), end: make(chan struct{})}
	h, err := New(Config{Engine: r.engine, Store: c, Guard: fakeGuard{}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	var first sync.WaitGroup
	first.Go(func() {
		if p := r.call(admin, "POST", "/v1/webhooks", hookBody, "Idempotency-Key", "k"); p.code != 500 {
			t.Errorf("the first = %d %s, want 500", p.code, p.body)
		}
	})
	<-c.begun
	if p := r.must(409, admin, "POST", "/v1/webhooks", hookBody, "Idempotency-Key",
		"k"); p.header.Get("Retry-After") != "1" {
		t.Errorf("the second has Retry-After %q, want 1", p.header.Get("Retry-After"))
	}
	close(c.end)
	first.Wait()
	var ids []string
	for range 2 {
		ids = append(ids, r.must(http.StatusCreated, admin, "POST", "/v1/webhooks", hookBody, "Idempotency-Key", "k").str("id"))
	}
	if len(slices.Compact(ids)) != 1 || len(r.must(200, viewer, "GET", "/v1/webhooks", "").items()) != 1 {
		t.Errorf("repetitions made %s, want one webhook", fmt.Sprint(ids))
	}
}
