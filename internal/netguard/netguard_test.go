package netguard

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

func mustGuard(t testing.TB, cfg Config) *Guard {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestJudge(t *testing.T) {
	loopback := mustPrefixes("127.0.0.0/8", "::1/128")
	for _, c := range []struct {
		name, addr string
		cfg        Config
		http       bool
		ok         bool
	}{
		{name: "public", addr: "93.184.216.34:443", ok: true},
		{name: "public, any port", addr: "93.184.216.34:8443", ok: true},
		{name: "public IPv6", addr: "[2606:2800:220:1:248:1893:25c8:1946]:443", ok: true},
		{name: "public, plain http", addr: "93.184.216.34:80", http: true},
		{name: "public, plain http allowed", addr: "93.184.216.34:80", http: true,
			cfg: Config{AllowHTTP: true}, ok: true},
		{name: "loopback", addr: "127.0.0.1:443"},
		{name: "loopback, other", addr: "127.255.1.2:443"},
		{name: "loopback IPv6", addr: "[::1]:443"},
		{name: "mapped loopback", addr: "[::ffff:127.0.0.1]:443"},
		{name: "compatible loopback", addr: "[::127.0.0.1]:443"},
		{name: "loopback allowed", addr: "127.0.0.1:443", cfg: Config{Allow: loopback}, ok: true},
		{name: "loopback allowed, plain http", addr: "127.0.0.1:8000", http: true,
			cfg: Config{Allow: loopback}, ok: true},
		{name: "mapped loopback allowed", addr: "[::ffff:127.0.0.1]:443", cfg: Config{Allow: loopback}, ok: true},
		{name: "allow goes before deny", addr: "10.1.2.3:443",
			cfg: Config{Allow: mustPrefixes("10.1.0.0/16"), Deny: mustPrefixes("10.0.0.0/8")}, ok: true},
		{name: "deny", addr: "93.184.216.34:443", cfg: Config{Deny: mustPrefixes("93.0.0.0/8")}},
		{name: "private 10", addr: "10.0.0.1:443"},
		{name: "private 172", addr: "172.16.0.1:443"},
		{name: "private 192", addr: "192.168.0.1:443"},
		{name: "shared (CGNAT)", addr: "100.64.0.1:443"},
		{name: "this network", addr: "0.0.0.0:443"},
		{name: "this network, other", addr: "0.1.2.3:443"},
		{name: "link-local", addr: "169.254.1.1:443"},
		{name: "link-local IPv6", addr: "[fe80::1]:443"},
		{name: "unique local", addr: "[fd12::1]:443"},
		{name: "multicast", addr: "224.0.0.1:443"},
		{name: "multicast IPv6", addr: "[ff02::1]:443"},
		{name: "broadcast", addr: "255.255.255.255:443"},
		{name: "reserved", addr: "240.0.0.1:443"},
		{name: "documentation", addr: "192.0.2.1:443"},
		{name: "documentation IPv6", addr: "[2001:db8::1]:443"},
		{name: "benchmarking", addr: "198.18.0.1:443"},
		{name: "6to4", addr: "[2002:7f00:1::]:443"},
		{name: "Teredo", addr: "[2001:0:7f00:1::]:443"},
		{name: "unspecified IPv6", addr: "[::]:443"},
		{name: "discard", addr: "[100::1]:443"},
		{name: "NAT64 off", addr: "[64:ff9b::5db8:d822]:443"},
		{name: "NAT64 on", addr: "[64:ff9b::5db8:d822]:443", cfg: Config{NAT64: true}, ok: true},
		{name: "NAT64 of loopback", addr: "[64:ff9b::7f00:1]:443", cfg: Config{NAT64: true}},
		{name: "NAT64 of metadata", addr: "[64:ff9b::a9fe:a9fe]:443",
			cfg: Config{NAT64: true, Allow: mustPrefixes("0.0.0.0/0")}},
		{name: "NAT64, local prefix", addr: "[64:ff9b:1::5db8:d822]:443",
			cfg: Config{NAT64: true, Allow: mustPrefixes("::/0")}},
		{name: "metadata, though allowed", addr: "169.254.169.254:80", cfg: Config{Allow: mustPrefixes("0.0.0.0/0")}},
		{name: "metadata ECS", addr: "169.254.170.2:443", cfg: Config{Allow: mustPrefixes("0.0.0.0/0")}},
		{name: "metadata EKS", addr: "169.254.170.23:443", cfg: Config{Allow: mustPrefixes("0.0.0.0/0")}},
		{name: "metadata IPv6", addr: "[fd00:ec2::254]:443", cfg: Config{Allow: mustPrefixes("::/0")}},
		{name: "metadata Alibaba", addr: "100.100.100.200:443", cfg: Config{Allow: mustPrefixes("0.0.0.0/0")}},
		{name: "metadata Azure", addr: "168.63.129.16:443"},
		{name: "mapped metadata", addr: "[::ffff:169.254.169.254]:443",
			cfg: Config{Allow: mustPrefixes("::/0", "0.0.0.0/0")}},
		{name: "own listener, though allowed", addr: "127.0.0.1:8080",
			cfg: Config{Allow: loopback, SelfPorts: []uint16{8080}}},
		{name: "own listener, other loopback", addr: "127.9.9.9:8080",
			cfg: Config{Allow: loopback, SelfPorts: []uint16{8080}}},
		{name: "own port elsewhere", addr: "93.184.216.34:8080", cfg: Config{SelfPorts: []uint16{8080}}, ok: true},
		{name: "mail port", addr: "93.184.216.34:25"},
		{name: "port 0", addr: "93.184.216.34:0"},
		{name: "mail port, though allowed", addr: "127.0.0.1:25", cfg: Config{Allow: loopback}},
		{name: "data store over http", addr: "127.0.0.1:6379", http: true, cfg: Config{Allow: loopback}},
		{name: "data store's port over https", addr: "127.0.0.1:6379", cfg: Config{Allow: loopback}, ok: true},
		{name: "zone", addr: "[fe80::1%eth0]:443", cfg: Config{Allow: mustPrefixes("fe80::/10")}},
	} {
		err := mustGuard(t, c.cfg).Judge(netip.MustParseAddrPort(c.addr), c.http)
		if (err == nil) != c.ok || err != nil && !errors.As(err, new(*RefusedError)) {
			t.Errorf("%s: Judge(%s, %v) = %v, want allowed %v", c.name, c.addr, c.http, err, c.ok)
		}
	}
	if err := mustGuard(t, Config{}).Judge(netip.AddrPort{}, false); err == nil {
		t.Error("Judge(no address) = nil, want an error")
	}
}

func TestRefusalSaysWhatWouldAllowIt(t *testing.T) {
	var r *RefusedError
	err := mustGuard(t, Config{}).Judge(netip.MustParseAddrPort("10.0.0.1:443"), false)
	if !errors.As(err, &r) || r.Hint != hintNetwork {
		t.Errorf("Judge(10.0.0.1) = %v, want the hint %s", err, hintNetwork)
	}
}

// answers is a resolver whose answers change with each look-up.
type answers struct{ list [][]string }

func (a *answers) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if host != "hook.example." {
		return nil, errors.New("not absolute: " + host)
	}
	if network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	now := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	var out []netip.Addr
	for _, s := range now {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

func TestNamesAreJudgedWhole(t *testing.T) {
	many := make([]string, maxAnswers+1)
	for i := range many {
		many[i] = "93.184.216.34"
	}
	for name, list := range map[string][]string{"mixed": {"93.184.216.34", "10.0.0.1"}, "private": {"127.0.0.1"},
		"too many": many} {
		g := mustGuard(t, Config{Resolver: &answers{[][]string{list}}})
		if _, _, err := g.Dial(t.Context(), "hook.example", 443, false); !errors.As(err, new(*RefusedError)) {
			t.Errorf("%s: Dial = %v, want a refusal", name, err)
		}
		if err := g.CheckTarget("hook.example", 443, false); err != nil {
			t.Errorf("%s: CheckTarget = %v, want nil: nobody learns by saving what a name is", name, err)
		}
	}
}

func TestNameThatTurnsPrivateIsRefusedAtDial(t *testing.T) {
	g := mustGuard(t, Config{Resolver: &answers{[][]string{{"93.184.216.34"}, {"127.0.0.1"}}}})
	if _, err := g.resolve(t.Context(), "hook.example", 443, false); err != nil {
		t.Fatalf("resolve = %v, want nil", err)
	}
	if _, _, err := g.Dial(t.Context(), "hook.example", 443, false); !errors.As(err, new(*RefusedError)) {
		t.Errorf("Dial = %v, want a refusal", err)
	}
	// And whatever was resolved, the hook judges what is dialled.
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "nonsense", "[fe80::1%lo]:443"} {
		if err := g.control("tcp4", address, false); !errors.As(err, new(*RefusedError)) {
			t.Errorf("control(%s) = %v, want a refusal", address, err)
		}
	}
	if err := g.control("udp4", "93.184.216.34:443", false); err == nil {
		t.Error("control(udp4) = nil, want a refusal")
	}
}

type stuck struct{}

func (stuck) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowNamesEnd(t *testing.T) {
	g := mustGuard(t, Config{Resolver: stuck{}, DNSTimeout: 20 * time.Millisecond})
	if _, _, err := g.Dial(t.Context(), "hook.example", 443, false); !errors.As(err, new(*ResolveError)) {
		t.Errorf("Dial = %v, want a ResolveError", err)
	}
	if err := g.CheckTarget("hook.example", 443, false); err != nil {
		t.Errorf("CheckTarget of a name that cannot be resolved = %v, want nil", err)
	}
}

func TestDialAllowedLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	g := mustGuard(t, Config{Allow: mustPrefixes("127.0.0.0/8"), Resolver: &answers{[][]string{{"127.0.0.1"}}}})
	c, _, err := g.Dial(t.Context(), "hook.example", port, true)
	if err != nil {
		t.Fatalf("Dial = %v, want a connection", err)
	}
	c.Close()
	g.SetSelfPorts(port)
	if _, _, err := g.Dial(t.Context(), "127.0.0.1", port, true); !errors.As(err, new(*RefusedError)) {
		t.Errorf("Dial of our own listener = %v, want a refusal", err)
	}
}

func TestEgressProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan *http.Request, 2) // sent to by the proxy below; never closed
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				c.Close()
				continue
			}
			asked <- req
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nVia: test\r\n\r\nhello"))
			c.Close()
		}
	}()
	p := &url.URL{Scheme: "http", Host: l.Addr().String(), User: url.UserPassword("u", "p")}
	g := mustGuard(t, Config{EgressProxy: p, Resolver: &answers{[][]string{{"93.184.216.34"}}}})
	c, _, err := g.Dial(t.Context(), "hook.example", 443, false)
	if err != nil {
		t.Fatalf("Dial = %v, want a connection", err)
	}
	defer c.Close()
	b := make([]byte, 5)
	if n, _ := c.Read(b); n == 0 || b[0] != 'h' {
		t.Errorf("the first byte of the target is %q, want h", b[:n])
	}
	req := <-asked
	if user, pass, ok := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth(); !ok || user != "u" || pass != "p" {
		t.Errorf("Proxy-Authorization = %q, %q, %v, want u, p", user, pass, ok)
	}
	if req.Method != "CONNECT" || req.Host != "93.184.216.34:443" {
		t.Errorf("the proxy was asked %s %s, want CONNECT 93.184.216.34:443", req.Method, req.Host)
	}
	if _, _, err := g.Dial(t.Context(), "10.0.0.1", 443, false); !errors.As(err, new(*RefusedError)) {
		t.Errorf("Dial of a private address through the proxy = %v, want a refusal", err)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1}, uint16(443), true)
	f.Add(netip.MustParseAddr("::ffff:10.0.0.1").AsSlice(), uint16(80), false)
	g := mustGuard(f, Config{})
	f.Fuzz(func(t *testing.T, b []byte, port uint16, plain bool) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		err := g.Judge(netip.AddrPortFrom(a, port), plain)
		u := a.Unmap()
		if err == nil && (plain || !u.IsGlobalUnicast() || u.IsPrivate() || u.IsLoopback()) {
			t.Fatalf("Judge(%v:%d, %v) = nil", a, port, plain)
		}
	})
}

// TestPlainHTTPIsRefusedWhenSaved: where no plain http is ever dialled, it is refused before the name is looked up.
func TestPlainHTTPIsRefusedWhenSaved(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want bool
	}{
		"default":                 {Config{}, true},
		"allowed":                 {Config{AllowHTTP: true}, false},
		"allowed for one network": {Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, false},
	} {
		c.cfg.Resolver = unknown{}
		g, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.CheckTarget("nowhere.example", 80, true); errors.Is(got, ErrPlainHTTP) != c.want {
			t.Errorf("%s: CheckTarget of plain http = %v, refused want %t", name, got, c.want)
		}
		if got := g.CheckTarget("nowhere.example", 443, false); got != nil {
			t.Errorf("%s: CheckTarget of https = %v, want nil", name, got)
		}
	}
}

// unknown knows no name.
type unknown struct{}

func (unknown) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{IsNotFound: true}
}
