package attempt

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
)

// inParallel sends n requests by so many at once and tells how many were no success.
func inParallel(t *testing.T, s *Sender, tt *Target, n, at int) (lost int64) {
	t.Helper()
	var left, failed atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return failed.Load()
}

// TestDeadPool: all connections of an origin die without a word, as in a firewall that forgot them. One attempt is lost
// to it, and the next is made anew.
func TestDeadPool(t *testing.T) {
	t.Parallel()
	const many, patience = 8, 3 * time.Second // enough for a handshake on a busy machine
	var dead sync.Map                         // addresses of the sender's side
	var seen sync.Map
	forgotten := func(c string) bool { _, is := dead.Load(c); return is }
	wait := func(ctx context.Context) { <-ctx.Done() }
	var together sync.WaitGroup
	together.Add(many)
	w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		at := c.RemoteAddr().String()
		if _, known := seen.LoadOrStore(at, true); !known && !forgotten("all") {
			together.Done()
			together.Wait()
		}
		if forgotten(at) {
			_, _ = io.Copy(io.Discard, c)
			return false
		}
		_, err := io.WriteString(c, ok204)
		return err == nil
	})
	srv, s2 := newSecure(t, true, nil, func(_ http.ResponseWriter, r *http.Request) {
		if seen.Store(r.RemoteAddr, true); forgotten(r.RemoteAddr) {
			wait(r.Context())
		}
	})
	s1, one := wireSender(t), w.target(t, webhook.POST, func(h *webhook.Webhook) { h.Timeout = patience })
	if lost := inParallel(t, s1, one, many, many); lost != 0 || idle(s1) != many {
		t.Fatalf("%d lost, %d connections are kept, want 0, %d", lost, idle(s1), many)
	}
	two := srv.target(t, patience)
	mustSucceed(t, s2, two)
	dead.Store("all", true)
	seen.Range(func(k, _ any) bool { dead.Store(k, true); return true })
	for what, x := range map[string]struct {
		s *Sender
		t *Target
	}{"HTTP/1.1": {s1, one}, "HTTP/2": {s2, two}} {
		var classes []string
		for range 3 {
			classes = append(classes, x.s.Send(t.Context(), x.t, wireEvent()).Class)
		}
		if classes[0] != ClassTimeout || classes[1] != "" || classes[2] != "" {
			t.Errorf("%s: attempts on a dead pool came to %q, want one time-out, then successes", what, classes)
		}
	}
}

// TestClosingReceivers: a receiver that closes connections at its own time costs next to no attempts.
func TestClosingReceivers(t *testing.T) {
	t.Parallel()
	const all = 10_000
	for name, r := range map[string]struct {
		close func(n int, c net.Conn) bool // after the n-th answer on a connection; false: it goes on
		most  int64
	}{
		"at once": {func(int, net.Conn) bool { return false }, all / 1000},
		"a moment later": {func(_ int, c net.Conn) bool {
			time.AfterFunc(200*time.Microsecond, func() { c.Close() })
			return true
		}, all / 1000},
		"instead of the third": {func(n int, _ net.Conn) bool { return n < 2 }, all / 1000},
	} {
		t.Run(name, func(t *testing.T) {
			var counts sync.Map
			w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
				v, _ := counts.LoadOrStore(c, new(int))
				*v.(*int)++
				if n := *v.(*int); name == "instead of the third" && n == 3 {
					return false
				}
				_, err := io.WriteString(c, ok204)
				return err == nil && (name == "instead of the third" || r.close(*v.(*int), c))
			})
			s := wireSender(t)
			lost := inParallel(t, s, w.target(t, webhook.POST, nil), all, 2)
			t.Logf("%d of %d lost", lost, all)
			if lost > r.most {
				t.Errorf("%d of %d attempts are lost, want at most %d", lost, all, r.most)
			}
		})
	}
}

// TestKeepAliveIsObeyed: a connection is not used when the other side has said that it closes it by then.
func TestKeepAliveIsObeyed(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": quietLimit, "Keep-Alive: timeout=5\r\n": 4 * time.Second, "keep-alive: max=100, Timeout=\"20\"\r\n": 19 * time.Second,
		"Keep-Alive: timeout=2\r\n": time.Second, "Keep-Alive: timeout=1\r\n": 0, "Keep-Alive: timeout=0\r\n": 0,
		"Keep-Alive: timeout=x\r\n": quietLimit, "Keep-Alive: 300\r\n": quietLimit,
		"Keep-Alive: timeout=99999\r\n": idleLimit,
	} {
		w := newWire(t, say("HTTP/1.1 204 No Content\r\n"+header+"\r\n"))
		s := wireSender(t)
		s.pools.ageLimit = time.Hour
		mustSucceed(t, s, w.target(t, webhook.POST, nil))
		if want == 0 {
			if n := idle(s); n != 0 {
				t.Errorf("%q: the connection is kept", header)
			}
			continue
		}
		c := s.pools.kept.Front().Value.(*conn)
		before, after := c.usedAt.Add(want-time.Millisecond), c.usedAt.Add(want)
		if !s.pools.fresh(c, before) || s.pools.fresh(c, after) {
			t.Errorf("%q: the connection is not given up after %v", header, want)
		}
	}
}

// moving is a resolver whose answer a test changes.
type moving struct{ to atomic.Pointer[netip.Addr] }

func (m *moving) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return []netip.Addr{*m.to.Load()}, nil
}

// TestAddressesMove: under a load without a pause, a changed address takes hold when connections are of age, over
// HTTP/1.1 and HTTP/2.
func TestAddressesMove(t *testing.T) {
	t.Parallel()
	const age = 500 * time.Millisecond
	port := ""
	var at [2]atomic.Int64
	for i, host := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Skipf("SKIPPED: the second address of the loopback cannot be listened at: %v", err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { at[i].Add(1) })}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { srv.Close() })
	}
	var names moving
	first, second := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	names.to.Store(&first)
	g, err := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Resolver: &names})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Guard: g})
	defer s.Close()
	s.pools.ageLimit = age
	tt, err := NewTarget(&webhook.Webhook{URL: "http://hook.example:" + port + "/", Method: webhook.POST, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	mustSucceed(t, s, tt)
	names.to.Store(&second)
	began := time.Now()
	for at[1].Load() == 0 {
		mustSucceed(t, s, tt)
		if d := time.Since(began); d > 20*age {
			t.Fatalf("%v after the address changed all requests still go to the old one", d)
		}
	}
	old := at[0].Load()
	for range 20 {
		mustSucceed(t, s, tt)
	}
	if at[0].Load() != old {
		t.Error("requests go to the old address after one went to the new one")
	}
}
