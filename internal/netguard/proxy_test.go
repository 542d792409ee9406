package netguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatTheProxySays: each refusal is the proxy's, with its status; that nobody answers there, and that it wants
// another password, is an outage at once.
func TestWhatTheProxySays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer string
		status int
		outage bool
	}{
		{"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 407, true}, {"HTTP/1.1 403 Forbidden\r\n\r\n", 403, false},
		{"HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, false}, {"HTTP/1.1 504 Gateway Timeout\r\n\r\n", 504, false},
		{"HTTP/1.1 418 X\r\n\r\n", 418, false}, {"nonsense\r\n\r\n", 0, false}, {"", 0, false},
	} {
		g := behindProxy(t, 1, func(_ int64, p net.Conn) { _, _ = io.WriteString(p, c.answer) })
		_, _, err := g.Dial(t.Context(), "hook.example", 443, false)
		var pe *ProxyError
		if !errors.As(err, &pe) || pe.Status != c.status || pe.Outage != c.outage {
			t.Errorf("%q: Dial = %v, want a ProxyError with status %d, outage %v", c.answer, err, c.status, c.outage)
		}
		if down, n := g.ProxyState(); down != c.outage || n != 1 {
			t.Errorf("%q: ProxyState = %v, %d, want %v, 1", c.answer, down, n, c.outage)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	g := mustGuard(t, Config{EgressProxy: &url.URL{Scheme: "http", Host: l.Addr().String()},
		Resolver: &answers{[][]string{{"93.184.216.34"}}}})
	_, _, err = g.Dial(t.Context(), "hook.example", 443, false)
	var pe *ProxyError
	if !errors.As(err, &pe) || !pe.Outage {
		t.Errorf("Dial by a proxy that is not there = %v, want an outage", err)
	}
}

// TestProxyOutage: what a proxy says of one target, or of several for less than a minute, is of the targets; beyond that
// it is its own fault, until it serves somebody.
func TestProxyOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		bad := errors.New("x")
		g := &Guard{}
		g.proxy.told = func(down bool) { told = append(told, down) }
		ask := func(target string) bool {
			var pe *ProxyError
			return errors.As(g.proxyFailed(t.Context(), target, 502, bad), &pe) && pe.Outage
		}
		step := func(want bool, targets ...string) {
			t.Helper()
			for _, x := range targets {
				if got := ask(x); got != want {
					t.Errorf("at %v a failure for %s is an outage: %v, want %v", time.Now(), x, got, want)
				}
			}
		}
		step(false, "a", "b")
		time.Sleep(outageAfter - time.Second)
		step(false, "a", "b")
		time.Sleep(time.Second)
		step(true, "a", "b")
		g.proxy.served()
		step(false, "a")
		time.Sleep(time.Hour)
		step(false, "a", "a")
		step(true, "b")
		g.proxy.served()
		time.Sleep(time.Hour) // in which nothing was asked for
		step(false, "a", "b")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.proxyFailed(ended, "a", 0, bad); !errors.Is(err, bad) || errors.As(err, new(*ProxyError)) {
			t.Errorf("a dial that was given up = %v, want its own error", err)
		}
		if fmt.Sprint(told) != "[true false true false]" {
			t.Errorf("told %v, want down, up, down and up", told)
		}
	})
}

// TestAddressesOfOneHost: that a host has several addresses makes it no several targets, of which none is reached.
func TestAddressesOfOneHost(t *testing.T) {
	t.Parallel()
	g := behindProxy(t, 1, func(_ int64, p net.Conn) { _, _ = io.WriteString(p, "HTTP/1.1 502 Bad Gateway\r\n\r\n") })
	g.cfg.Resolver = &answers{[][]string{{"93.184.216.34", "93.184.216.35"}}}
	for range 2 {
		_, _, err := g.Dial(t.Context(), "hook.example", 443, false)
		var pe *ProxyError
		if !errors.As(err, &pe) || pe.Outage {
			t.Fatalf("Dial = %v, want a failure that is no outage", err)
		}
		g.proxy.since = g.proxy.since.Add(-outageAfter)
	}
	if _, n := g.ProxyState(); n != 4 {
		t.Errorf("the proxy failed %d times, want for each address twice", n)
	}
}
