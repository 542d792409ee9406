package attempt

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

func TestHTTP2SharesOneConnection(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	var requests, conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if err := signature.VerifyRequest(r, body, key); err != nil || r.ProtoMajor != 2 ||
			r.URL.EscapedPath() != "/a%2Fb" {
			t.Errorf("%s %s by %s: %v", r.Method, r.URL, r.Proto, err)
		}
		if r.URL.Query().Get("fail") != "" {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, "thanks")
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	g, err := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	sender := New(Config{Guard: g, Roots: trusting(pool)})
	t.Cleanup(sender.Close)
	target := func(query string, m webhook.Method) *Target {
		w := &webhook.Webhook{URL: s.URL + "/a%2Fb" + query, Method: m, Timeout: 5 * time.Second}
		w.Rotate(webhook.NewSecret(key), time.Now(), time.Now().Add(-time.Second), time.Hour)
		tt, err := NewTarget(w)
		if err != nil {
			t.Fatal(err)
		}
		return tt
	}
	typ, _ := event.Lookup("qap.investor.created")
	e := typ.Example(time.Now())
	post, get, fail := target("", webhook.POST), target("?x=1", webhook.GET), target("?fail=1", webhook.GET)
	if r := sender.Send(t.Context(), post, &e); r.Verdict != Success || string(r.Response) != "thanks" {
		t.Fatalf("Send = %+v, want success", r)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, tt := range []*Target{post, get} {
				if r := sender.Send(t.Context(), tt, &e); r.Verdict != Success || !r.Sent {
					t.Errorf("Send = %+v, want success", r)
				}
			}
		})
	}
	wg.Wait()
	if r := sender.Send(t.Context(), fail, &e); r.Status != 503 || r.RetryAfter != 7*time.Second {
		t.Errorf("Send = %+v, want 503, Retry-After 7 s", r)
	}
	if n, c := requests.Load(), conns.Load(); n != 42 || c != 1 {
		t.Errorf("%d requests on %d connections, want 42 on 1", n, c)
	}
}
