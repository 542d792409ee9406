package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"testing"
)

// withoutDescriptors runs f while this process can open nothing; what is open goes on. A test that calls it must not be
// parallel.
func withoutDescriptors(t *testing.T, f func()) {
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
	set(syscall.Rlimit{Max: had.Max})
	defer set(had)
	f()
}

// What fails without descriptors is never told as the target's failure.
func TestShortage(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:3128"}
	for _, c := range []struct {
		name, host string
		cfg        Config
	}{
		{"an address", "127.0.0.1", Config{Allow: loopback}},
		{"a name", "hook.example.", Config{}},
		{"by a proxy", "127.0.0.1", Config{Allow: loopback, EgressProxy: proxy}},
		{"an own port", "93.184.216.34", Config{SelfPorts: []uint16{8443}}},
	} {
		g := mustGuard(t, c.cfg)
		withoutDescriptors(t, func() {
			if _, _, err := g.Dial(t.Context(), c.host, 8443, false); !Shortage(err) ||
				errors.As(err, new(*RefusedError)) ||
				errors.As(err, new(*ResolveError)) {
				t.Errorf("%s: Dial = %v, want a shortage", c.name, err)
			}
			if err := g.CheckTarget(c.host, 8443, false); err != nil {
				t.Errorf("%s: CheckTarget = %v, want nil: every dial judges again", c.name, err)
			}
		})
	}
}

func TestShortageOfErrors(t *testing.T) {
	wrapped := func(err error) error {
		return errors.Join(errors.New("another address"), &net.OpError{Op: "dial", Net: "tcp",
			Err: os.NewSyscallError("socket", err)})
	}
	for err, want := range map[error]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.ENOMEM: true, syscall.EADDRNOTAVAIL: true, syscall.EAGAIN: true,
		syscall.ECONNREFUSED: false, syscall.ENETUNREACH: false, syscall.ETIMEDOUT: false, syscall.ECONNRESET: false, syscall.EPIPE: false,
		os.ErrDeadlineExceeded: false, context.DeadlineExceeded: false, context.Canceled: false, &RefusedError{}: false,
	} {
		if got := Shortage(wrapped(err)); got != want {
			t.Errorf("Shortage(%v) = %v, want %v", err, got, want)
		}
	}
	if Shortage(nil) {
		t.Error("Shortage(nil) = true, want false")
	}
}

// A machine without an address of the target's family has no shortage: that does not pass.
func TestNoAddressOfTheFamily(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
	if lacksFamily(t.Context(), netip.MustParseAddrPort("127.0.0.1:443"), err) {
		t.Error("lacksFamily(127.0.0.1) = true, want false: it is the ports that are short")
	}
	to := netip.MustParseAddrPort("[2001:db8::1]:443")
	c, udp := net.Dial("udp", to.String())
	if udp == nil {
		c.Close()
	}
	if got, want := lacksFamily(t.Context(), to, err), errors.Is(udp, syscall.EADDRNOTAVAIL); got != want {
		t.Errorf("lacksFamily(%v) = %v, want %v", to, got, want)
	}
	if lacksFamily(t.Context(), to, syscall.ECONNREFUSED) {
		t.Error("lacksFamily of a refused connection = true, want false")
	}
}
