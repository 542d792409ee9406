package attempt

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
)

// withoutDescriptors runs f while this process can open nothing; what is open goes on. A test that calls it must not be
// parallel.
func withoutDescriptors(t *testing.T, f func()) { t.Helper(); underLimit(t, 0, f) }

// underLimit runs f while the numbers of descriptors that are opened are below most.
func underLimit(t *testing.T, most uint64, f func()) {
	t.Helper()
	var had syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: most, Max: had.Max})
	defer set(had)
	f()
}

func mustSender(t *testing.T, cfg netguard.Config) *Sender {
	t.Helper()
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	g, err := netguard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Guard: g})
	t.Cleanup(s.Close)
	return s
}

// What this machine has no resources for is local, whatever the way to the receiver.
func TestShortageIsLocal(t *testing.T) {
	w := newWire(t, say(ok204))
	secure, secureSender := newSecure(t, true, nil, func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	for _, c := range []struct {
		name   string
		sender *Sender
		target *Target
	}{
		{"an address", mustSender(t, netguard.Config{}), w.target(t, webhook.POST, nil)},
		{"a name", mustSender(t, netguard.Config{}), w.target(t, webhook.GET,
			func(h *webhook.Webhook) { h.URL = "http://hook.example/" })},
		{"a proxy", mustSender(t, netguard.Config{EgressProxy: &url.URL{Scheme: "http", Host: w.Addr().String()}}),
			w.target(t, webhook.POST, nil)},
		{"HTTP/2", secureSender, secure.target(t, 5*time.Second)},
	} {
		withoutDescriptors(t, func() {
			if r := c.sender.Send(t.Context(), c.target, wireEvent()); r.Verdict != Local ||
				r.Class != ClassLocal || r.Sent ||
				r.Err == nil {
				t.Errorf("%s: Send without descriptors = %+v, want local, not sent", c.name, r)
			}
		})
	}
	if r := mustSender(t, netguard.Config{}).Send(t.Context(), w.target(t, webhook.POST, nil),
		wireEvent()); r.Verdict != Success {
		t.Errorf("Send with descriptors again = %+v, want a success", r)
	}
}

// A connection that is kept needs no descriptor.
func TestKeptConnectionNeedsNoDescriptor(t *testing.T) {
	w := newWire(t, say(ok204))
	s, tt := mustSender(t, netguard.Config{}), w.target(t, webhook.POST, nil)
	mustSucceed(t, s, tt)
	withoutDescriptors(t, func() { mustSucceed(t, s, tt) })
}

// When all places for kept connections are taken, the one that was not used for longest goes, whosever it is.
func TestMostIdleConnectionsInAll(t *testing.T) {
	t.Parallel()
	const most = 3
	s := wireSender(t)
	s.pools.maxKept = most
	var at []*wire
	var to []*Target
	for range most + 1 {
		w := newWire(t, say(ok204))
		at, to = append(at, w), append(to, w.target(t, webhook.POST, nil))
	}
	for i := range most {
		mustSucceed(t, s, to[i])
	}
	mustSucceed(t, s, to[0])    // now the second was not used for longest
	mustSucceed(t, s, to[most]) // and has to make room
	if n := idle(s); n != most {
		t.Errorf("%d connections are kept, want %d", n, most)
	}
	if n := origins(s); n != most {
		t.Errorf("%d origins are kept, want %d", n, most)
	}
	for _, i := range []int{0, 2, 3, 1} {
		mustSucceed(t, s, to[i])
	}
	for i, want := range []int64{1, 2, 1, 1} {
		if n := at[i].conns.Load(); n != want {
			t.Errorf("receiver %d saw %d connections, want %d", i, n, want)
		}
	}
}

// HTTP/2 connections count too, and one that has to go ends.
func TestMostIdleConnectionsHTTP2(t *testing.T) {
	t.Parallel()
	srv, s := newSecure(t, true, nil, hello)
	s.pools.maxKept = 1
	mustSucceed(t, s, srv.target(t, 5*time.Second))
	w := newWire(t, say(ok204))
	mustSucceed(t, s, w.target(t, webhook.POST, nil))
	select {
	case <-srv.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the connection is still open")
	}
	if n := idle(s); n != 1 {
		t.Errorf("%d connections are kept, want 1", n)
	}
}

// A dial that finds no descriptor takes those of kept connections.
func TestDialTakesDescriptorsOfKeptConnections(t *testing.T) {
	s := mustSender(t, netguard.Config{})
	for range 2 * relieved {
		mustSucceed(t, s, newWire(t, say(ok204)).target(t, webhook.POST, nil))
	}
	to := newWire(t, say(ok204)).target(t, webhook.POST, nil)
	last, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	underLimit(t, uint64(last.Fd()), func() {
		for { // what others closed meanwhile
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			defer f.Close()
		}
		mustSucceed(t, s, to) // its receiver takes a descriptor as well
	})
	if n := idle(s); n != relieved+1 {
		t.Errorf("%d connections are kept, want %d", n, relieved+1)
	}
}
