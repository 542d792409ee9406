package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/budget"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// withBodies is the rig with a budget of the test's.
func (r *rig) withBodies(b *budget.Budget) {
	r.t.Helper()
	var err error
	if r.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Bodies: b}); err != nil {
		r.t.Fatal(err)
	}
}

// What a body takes is given back whatever the request comes to, and without room it is a 503.
func TestBodiesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := budget.New(bodyBytes)
	calls := []struct {
		who, path, body string
		want            int
	}{
		{publisher, "/v1/events", eventBody, 202},
		{publisher, "/v1/events", `{"type":`, 400},
		{publisher, "/v1/events/batch", `{"events":[` + eventBody + `]}`, 202},
		{publisher, "/v1/events/batch", strings.Repeat(" ", MaxBatchBody+1), 413},
		{admin, "/v1/webhooks", hookBody, 201},
		{admin, "/v1/webhooks", `{}`, 422},
		{admin, "/v1/webhooks", strings.Repeat(" ", maxBody+1), 413},
		{viewer, "/v1/webhooks", hookBody, 403},
	}
	r.withBodies(b)
	for _, c := range calls {
		r.must(c.want, c.who, "POST", c.path, c.body)
		if n := b.Used(); n != 0 {
			t.Errorf("POST %s (%d) keeps %d bytes, want 0", c.path, c.want, n)
		}
	}
	r.withBodies(budget.New(1))
	for _, c := range calls {
		if c.want == 413 || c.want == 403 { // refused before anything is read
			continue
		}
		p := r.must(503, c.who, "POST", c.path, c.body)
		if p.header.Get("Retry-After") != "1" || p.header.Get("Connection") != "close" {
			t.Errorf("POST %s without room = %v, want Retry-After and the connection's end", c.path, p.header)
		}
	}
	r.must(200, viewer, "GET", "/v1/webhooks", "")
}

// Each limit of a body is tried at it and one above.
func TestLimitsOfBodies(t *testing.T) {
	t.Parallel()
	b := budget.New(bodyBytes)
	for _, limit := range []int{1, firstRead - 1, firstRead, firstRead + 1, mostAhead, maxBody, MaxBatchBody} {
		for _, known := range []bool{true, false} {
			for size, want := range map[int]bool{limit: true, limit + 1: false} {
				r := httptest.NewRequest("POST", "/", io.LimitReader(zeros{}, int64(size)))
				if r.ContentLength = -1; known {
					r.ContentLength = int64(size)
				}
				h := holding{budget: b, tenant: "a"}
				got, err := h.readBody(r, nil, int64(limit))
				if (err == nil) != want || want && len(got) != size {
					t.Errorf("readBody of %d bytes, at most %d, known %v = %d, %v; want success %v", size, limit, known,
						len(got), err,
						want)
				}
				if most := int64(2 * (limit + 1)); h.n > most ||
					int64(cap(got)) > max(most, 8) { // the least that is allocated
					t.Errorf("readBody of %d bytes took %d and holds %d, want at most %d", size, h.n, cap(got), most)
				}
				h.release()
			}
		}
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes are kept, want 0", b.Used())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Bodies that never end hold a bounded part of memory, and another tenant publishes meanwhile.
func TestHalfSentBodies(t *testing.T) {
	r := newRig(t)
	b := budget.New(bodyBytes)
	r.withBodies(b)
	srv := httptest.NewServer(r.h)
	defer srv.Close()
	const senders, sent = 48, MaxBatchBody - 1
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	answers := make(chan string, senders) // what each got, or why not
	var conns []net.Conn
	body := make([]byte, sent)
	for range senders {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		conns = append(conns, c)
		wg.Go(func() {
			_, _ = fmt.Fprintf(c, "POST /v1/events/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", r.keys[publisher], MaxBatchBody)
			_, _ = c.Write(body)
			if a, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				answers <- a.Status + " " + a.Header.Get("Retry-After")
			} else {
				answers <- err.Error()
			}
		})
	}
	for range senders - 3 { // at most three fit into half of it
		if got := <-answers; got != "503 Service Unavailable 1" {
			t.Errorf("a body without room is answered %q, want a 503 with Retry-After: 1", got)
		}
	}
	if n := b.Used(); n > bodyBytes/2 {
		t.Errorf("one tenant holds %d bytes, want at most %d", n, bodyBytes/2)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc) - sent; grown > bodyBytes {
		t.Errorf("the heap has grown by %d bytes, want at most %d", grown, bodyBytes)
	}
	other := httptest.NewRequest("POST", "/v1/events", strings.NewReader(eventBody))
	other.Header.Set("Authorization", "Bearer "+r.keys[foreign])
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, other)
	if w.Code != http.StatusAccepted {
		t.Errorf("another tenant's event = %d %s, want 202", w.Code, w.Body)
	}
	for _, c := range conns {
		c.Close()
	}
	wg.Wait()
	srv.Close() // waits for the requests
	if n := b.Used(); n != 0 {
		t.Errorf("%d bytes are held after the connections ended, want 0", n)
	}
}

// hung is a store that answers nothing but what it is told to, until the caller has no time left.
type hung struct {
	store.Store // nil: whatever else is called panics
	key         *store.APIKey
}

func (h hung) APIKeyByHash(ctx context.Context, _ [32]byte) (store.APIKey, error) {
	if h.key != nil {
		return *h.key, nil
	}
	<-ctx.Done()
	return store.APIKey{}, fmt.Errorf("interrupted") // as stores say it, each in its own way
}

func (hung) TenantByID(ctx context.Context, _ string) (store.Tenant, error) {
	<-ctx.Done()
	return store.Tenant{}, fmt.Errorf("interrupted")
}

func (hung) WebhookByID(ctx context.Context, _, _ string) (*webhook.Webhook, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("interrupted")
}

func (hung) ListWebhooks(ctx context.Context, _ string, _ int64, _ int) ([]*webhook.Webhook, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("interrupted")
}

// A database that hangs bounds every request, look-ups of keys included.
func TestStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, admin := NewAPIKey("a", store.Admin, "test", time.Now())
		_, operator := NewAPIKey("", store.Operator, "test", time.Now())
		for _, c := range []struct {
			name, method, path, body string
			key                      *store.APIKey
		}{
			{"the key", "GET", "/v1/webhooks", "", nil},
			{"the key of a publisher", "POST", "/v1/events", eventBody, nil},
			{"the operator's tenant", "GET", "/v1/webhooks", "", &operator},
			{"a list", "GET", "/v1/webhooks", "", &admin},
			{"one", "GET", "/v1/webhooks/x", "", &admin},
			{"a test send", "POST", "/v1/webhooks/x/test", "{}", &admin},
			{"attempts as they happen", "GET", livePath + "?webhook_id=x", "", &admin},
		} {
			h, err := New(Config{Engine: &fakeEngine{}, Store: hung{key: c.key}, Guard: fakeGuard{}})
			if err != nil {
				t.Fatal(err)
			}
			q := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			q.Header.Set("Authorization", "Bearer "+strings.Repeat("k", 40))
			w, began := httptest.NewRecorder(), time.Now()
			h.ServeHTTP(w, q)
			if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != storeTime ||
				w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %s %s = %d after %v (%s), want 503 after %v", c.name, c.method, c.path, w.Code,
					took, w.Body,
					storeTime)
			}
		}
	})
}
