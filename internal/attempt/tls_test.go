package attempt

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
)

type secure struct {
	*httptest.Server
	requests, conns atomic.Int64
	closed          chan struct{} // sent to by the receiver for each connection that ended
}

func newSecure(t *testing.T, h2 bool, change func(*tls.Config), h http.HandlerFunc) (*secure, *Sender) {
	t.Helper()
	s := &secure{closed: make(chan struct{}, 16)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		h(w, r)
	}))
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
		case http.StateClosed:
			s.closed <- struct{}{}
		}
	}
	s.TLS = &tls.Config{}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	g, err := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	sender := New(Config{Guard: g, Roots: trusting(roots)})
	t.Cleanup(sender.Close)
	return s, sender
}

func (s *secure) target(t *testing.T, timeout time.Duration) *Target {
	t.Helper()
	tt, err := NewTarget(&webhook.Webhook{URL: s.URL + "/hook", Method: webhook.POST, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// trusting has a sender trust these alone.
func trusting(roots *x509.CertPool) func() *x509.CertPool {
	return func() *x509.CertPool { return roots }
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestTLSThatIsNotTrusted(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*tls.Config)
		roots  bool
		class  string
		sent   bool
	}{
		{"trusted", nil, true, "", true},
		{"unknown authority", nil, false, ClassTLS, false},
		{"TLS 1.1 only", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, true,
			ClassTLS, false},
		// With TLS 1.3 the refusal comes after the client's handshake, in place of an answer.
		{"client certificate", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, true, ClassTLS, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, s := newSecure(t, false, c.change, hello)
			if !c.roots {
				s.cfg.Roots = trusting(x509.NewCertPool())
			}
			r := s.Send(t.Context(), srv.target(t, 5*time.Second), wireEvent())
			if r.Class != c.class || r.Sent != c.sent || (c.class == "") != (r.Verdict == Success) {
				t.Errorf("Send = %+v, want class %q, sent %t", r, c.class, c.sent)
			}
		})
	}
}

// testTLS is for receivers at the level of bytes, and what trusts them.
func testTLS(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"http/1.1"}}, roots
}

// Answers that nobody asked for lie in TLS's buffer, where a look at the socket does not see them.
func TestUnreadTLSRecordsEndTheConnection(t *testing.T) {
	t.Parallel()
	cfg, roots := testTLS(t)
	var requests atomic.Int64
	w := listen(t, &wire{handle: func(c net.Conn) {
		j := &joined{Conn: c}
		tc := tls.Server(j, cfg)
		req, err := http.ReadRequest(bufio.NewReader(tc))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		requests.Add(1)
		j.hold = true
		_, _ = io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		_ = j.release()
		_, _ = io.Copy(io.Discard, tc)
	}})
	s := wireSender(t)
	s.cfg.Roots = trusting(roots)
	tt, err := NewTarget(&webhook.Webhook{URL: "https://" + w.Addr().String() + "/", Method: webhook.POST,
		Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success || string(r.Response) != "ok" {
			t.Errorf("Send = %+v with %q, want ok: an answer from before the question was taken", r, r.Response)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// Sent is true only for requests that the receiver may have seen, by HTTP/2 too.
func TestHTTP2SentCountsRequests(t *testing.T) {
	t.Parallel()
	srv, s := newSecure(t, true, nil, hello)
	tt := srv.target(t, 5*time.Second)
	mustSucceed(t, s, tt)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := s.Send(ctx, tt, wireEvent()); r.Sent || r.Class != ClassCancelled {
		t.Errorf("Send on an ended context = %+v, want cancelled, not sent", r)
	}
	if n := srv.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A receiver that pours out a body that nobody reads is stopped by flow control long before megabytes.
func TestHTTP2ReceiveBufferIsBounded(t *testing.T) {
	t.Parallel()
	var poured atomic.Int64
	over := make(chan struct{}) // closed by the receiver
	srv, s := newSecure(t, true, nil, func(w http.ResponseWriter, r *http.Request) {
		defer close(over)
		for b := make([]byte, 16<<10); ; poured.Add(int64(len(b))) {
			if _, err := w.Write(b); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	})
	r := mustSucceed(t, s, srv.target(t, 5*time.Second))
	<-over
	if n := poured.Load(); len(r.Response) != MaxKept || n > 512<<10 {
		t.Errorf("kept %d bytes of %d poured out, want %d of at most 512 KiB", len(r.Response), n, MaxKept)
	}
}

func TestHTTP2ConnectionsEnd(t *testing.T) {
	wait := func(t *testing.T, srv *secure) {
		t.Helper()
		select {
		case <-srv.closed:
		case <-time.After(5 * time.Second):
			t.Fatal("the connection is still open")
		}
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		srv, s := newSecure(t, true, nil, hello)
		s.pools.idleLimit = 100 * time.Millisecond
		mustSucceed(t, s, srv.target(t, 5*time.Second))
		wait(t, srv)
		s.pools.sweep()
		if n := origins(s); n != 0 {
			t.Errorf("%d origins are kept without a connection, want 0", n)
		}
	})
	t.Run("in use at CloseIdle", func(t *testing.T) {
		t.Parallel()
		busy, finish := make(chan struct{}), make(chan struct{}) // closed by the receiver; by the test
		srv, s := newSecure(t, true, nil, func(w http.ResponseWriter, r *http.Request) {
			close(busy)
			<-finish
			hello(w, r)
		})
		tt, done := srv.target(t, 5*time.Second), make(chan Result, 1)
		go func() { done <- s.Send(context.Background(), tt, wireEvent()) }()
		<-busy
		s.CloseIdle()
		close(finish)
		if r := <-done; r.Verdict != Success || string(r.Response) != "hello" {
			t.Errorf("Send = %+v, want success: CloseIdle leaves requests alone", r)
		}
		wait(t, srv)
	})
}

// joined hands the writes of TLS on as one when told, so that several records come in one segment.
type joined struct {
	net.Conn
	hold bool
	held []byte
}

func (j *joined) Write(b []byte) (int, error) {
	if !j.hold {
		return j.Conn.Write(b)
	}
	j.held = append(j.held, b...)
	return len(b), nil
}

func (j *joined) release() error {
	j.hold = false
	_, err := j.Conn.Write(j.held)
	return err
}
