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

// withoutDescriptors runs f while this process can open nothing. A test that calls it must not be parallel.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	next, err := os.Open(os.DevNull) // gets the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	fd := next.Fd()
	next.Close()
	var had syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(fd), Max: had.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &had); err != nil {
			t.Fatal(err)
		}
	}()
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
	secure, secureSender := newSecure(t, true, nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, c := range []struct {
		name   string
		sender *Sender
		target *Target
	}{
		{"an address", mustSender(t, netguard.Config{}), w.target(t, webhook.POST, nil)},
		{"a name", mustSender(t, netguard.Config{}), w.target(t, webhook.GET, func(h *webhook.Webhook) { h.URL = "http://hook.example/" })},
		{"a proxy", mustSender(t, netguard.Config{EgressProxy: &url.URL{Scheme: "http", Host: w.Addr().String()}}), w.target(t, webhook.POST, nil)},
		{"HTTP/2", secureSender, secure.target(t, 5*time.Second)},
	} {
		withoutDescriptors(t, func() {
			if r := c.sender.Send(t.Context(), c.target, wireEvent()); r.Verdict != Local || r.Class != ClassLocal || r.Sent || r.Err == nil {
				t.Errorf("%s: Send without descriptors = %+v, want local, not sent", c.name, r)
			}
		})
	}
	if r := mustSender(t, netguard.Config{}).Send(t.Context(), w.target(t, webhook.POST, nil), wireEvent()); r.Verdict != Success {
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
