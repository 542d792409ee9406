package netguard

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// behindProxy is a guard for hook.example, which has as many addresses as told, behind a proxy: answer gets the number
// of each CONNECT, from 1, and its connection.
func behindProxy(t *testing.T, addresses int, answer func(n int64, c net.Conn)) *Guard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var asked atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					answer(asked.Add(1), c)
				}
			}()
		}
	}()
	list := slices.Repeat([]string{"93.184.216.34"}, addresses)
	proxy := &url.URL{Scheme: "http", Host: l.Addr().String()}
	return mustGuard(t, Config{EgressProxy: proxy, Resolver: &answers{[][]string{list}}})
}

func TestAnswersOfTheProxy(t *testing.T) {
	head := func(n int) string { // of n bytes
		const begin, end = "HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n"
		return begin + strings.Repeat("x", n-len(begin)-len(end)) + end
	}
	for _, c := range []struct {
		name, answer string
		ok           bool
	}{
		{"200", "HTTP/1.1 200 OK\r\n\r\n", true},
		{"no reason", "HTTP/1.1 200\r\n\r\n", true},
		{"HTTP/1.0, another 2xx", "HTTP/1.0 299 Fine\r\nX: y\r\n\r\n", true},
		{"line feeds alone", "HTTP/1.1 200 OK\nX: y\n\n", true},
		{"a head below the limit", head(maxProxyAnswer - 1), true},
		{"a head at the limit", head(maxProxyAnswer), true},
		{"a head over the limit", head(maxProxyAnswer + 1), false},
		{"no status", "HTTP/1.1\r\n\r\n", false},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", false},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", false},
		{"199", "HTTP/1.1 199 OK\r\n\r\n", false},
		{"300", "HTTP/1.1 300 OK\r\n\r\n", false},
		{"wants a password", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false},
		{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", false},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2 200\r\n\r\n", false},
		{"half a head", "HTTP/1.1 200 OK\r\nX: y\r\n", false},
		{"half a status line", "HTTP/1.1 200", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rest := ""
			if c.ok {
				rest = "rest"
			}
			g := behindProxy(t, 1, func(_ int64, p net.Conn) { _, _ = io.WriteString(p, c.answer+rest) })
			conn, _, err := g.Dial(t.Context(), "hook.example", 443, false)
			if (err == nil) != c.ok {
				t.Fatalf("Dial = %v, want a connection: %v", err, c.ok)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			if got, err := io.ReadAll(conn); err != nil || string(got) != rest {
				t.Errorf("the target's first bytes are %q, %v, want %s", got, err, rest)
			}
		})
	}
}

// An address that fails leaves its turn to the next, an address that hangs has its share of the time only, and the last
// one has all that is left.
func TestAddressesShareTheTime(t *testing.T) {
	t.Run("the first refuses", func(t *testing.T) {
		t.Parallel()
		g := behindProxy(t, 2, func(n int64, p net.Conn) {
			if n == 2 {
				_, _ = io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n")
			}
		})
		c, _, err := g.Dial(t.Context(), "hook.example", 443, false)
		if err != nil {
			t.Fatalf("Dial = %v, want a connection to the second address", err)
		}
		c.Close()
	})
	t.Run("all hang", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Int64
		g := behindProxy(t, 3, func(n int64, p net.Conn) {
			asked.Store(n)
			_, _ = io.Copy(io.Discard, p)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		_, _, err := g.Dial(ctx, "hook.example", 443, false)
		if n := asked.Load(); err == nil || ctx.Err() == nil || n != 3 {
			t.Errorf("Dial = %v after %d addresses, the time over: %v, want an error after 3", err, n, ctx.Err())
		}
	})
}

// deadlines is a resolver that tells how long it may take.
type deadlines struct{ left time.Duration }

func (d *deadlines) LookupNetIP(ctx context.Context, network, _ string) ([]netip.Addr, error) {
	if network == "ip6" {
		return nil, &net.DNSError{IsNotFound: true}
	}
	t, _ := ctx.Deadline()
	d.left = time.Until(t)
	return nil, ctx.Err()
}

func TestTimeForNames(t *testing.T) {
	const usual = 5 * time.Second
	for set, want := range map[time.Duration]time.Duration{-1: usual, 0: usual, time.Minute: time.Minute} {
		var d deadlines
		g := mustGuard(t, Config{Resolver: &d, DNSTimeout: set})
		_, err := g.resolve(t.Context(), "hook.example", 443, false)
		if !errors.As(err, new(*ResolveError)) || d.left > want || d.left < want-4*time.Second {
			t.Errorf("DNSTimeout %v: resolve = %v with %v for the name, want no answer and %v", set, err, d.left, want)
		}
	}
}

func TestNumberOfAnswers(t *testing.T) {
	for n, want := range map[int]bool{1: true, maxAnswers - 1: true, maxAnswers: true, maxAnswers + 1: false} {
		g := mustGuard(t, Config{Resolver: &answers{[][]string{slices.Repeat([]string{"93.184.216.34"}, n)}}})
		if _, err := g.resolve(t.Context(), "hook.example", 443, false); (err == nil) != want {
			t.Errorf("resolve of a name with %d addresses = %v, want it allowed: %v", n, err, want)
		}
	}
	none := mustGuard(t, Config{Resolver: &answers{[][]string{{}}}})
	if _, _, err := none.Dial(t.Context(), "hook.example", 443, false); !errors.As(err, new(*ResolveError)) {
		t.Errorf("Dial of a name without addresses = %v, want a ResolveError", err)
	}
}

// Around each network that has a rule of its own, the addresses beside it have not.
func TestEdgesOfNetworks(t *testing.T) {
	everything := mustPrefixes("0.0.0.0/0", "::/0")
	for _, p := range append(slices.Clone(metadata), nat64own) {
		first, last := p.Masked().Addr(), lastOf(p)
		for a, want := range map[netip.Addr]bool{first.Prev(): true, first: false, last: false, last.Next(): true} {
			g := mustGuard(t, Config{Allow: everything})
			if err := g.Judge(netip.AddrPortFrom(a, 443), false); (err == nil) != want {
				t.Errorf("Judge(%v) beside %v = %v, want it allowed: %v", a, p, err, want)
			}
		}
	}
	first, last := nat64.Addr(), lastOf(nat64)
	for a, hint := range map[netip.Addr]string{
		first.Prev(): hintNetwork, first: hintNAT64, last: hintNAT64, last.Next(): hintNetwork,
	} {
		var r *RefusedError
		if err := mustGuard(t, Config{}).Judge(netip.AddrPortFrom(a, 443), false); !errors.As(err, &r) ||
			r.Hint != hint {
			t.Errorf("Judge(%v) = %v, want the hint %s", a, err, hint)
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Every bad port is refused, and those beside it are not, unless they are bad too.
func TestEdgesOfPorts(t *testing.T) {
	g := mustGuard(t, Config{AllowHTTP: true})
	ports := []uint16{65535}
	for _, p := range slices.Concat(badPorts, dataPorts) {
		ports = append(ports, max(p, 1)-1, p, p+1)
	}
	for _, port := range ports {
		for _, plain := range []bool{false, true} {
			to := netip.AddrPortFrom(netip.MustParseAddr("93.184.216.34"), port)
			want := !slices.Contains(badPorts, port) && !(plain && slices.Contains(dataPorts, port))
			if err := g.Judge(to, plain); (err == nil) != want {
				t.Errorf("Judge(%v, %v) = %v, want it allowed: %v", to, plain, err, want)
			}
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	g := mustGuard(t, Config{Allow: mustPrefixes("0.0.0.0/0", "::/0"), SelfPorts: []uint16{8080}})
	for _, x := range list {
		a := netip.MustParsePrefix(x.String()).Addr()
		if a.Is6() && a.IsLinkLocalUnicast() {
			continue // has a zone
		}
		if err := g.Judge(netip.AddrPortFrom(a, 8080), false); err == nil {
			t.Errorf("Judge(%v:8080) = nil, want it refused: it is our own listener", a)
		}
		if err := g.Judge(netip.AddrPortFrom(a, 8081), false); err != nil {
			t.Errorf("Judge(%v:8081) = %v, want nil", a, err)
		}
	}
}

func TestRefusalsAreSentences(t *testing.T) {
	for want, e := range map[string]*RefusedError{
		"refused: r": {Reason: "r"}, "refused: r (h would allow it)": {Reason: "r", Hint: "h"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("Error() = %q, want %q", got, want)
		}
	}
}

// Whether the machine has the family is looked at; a look that fails for another reason says no.
func TestFamilyThatCannotBeTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lacksFamily(ctx, netip.MustParseAddrPort("127.0.0.1:443"), syscall.EADDRNOTAVAIL) {
		t.Error("lacksFamily on an ended context = true, want false")
	}
}
