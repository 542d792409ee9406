// Package netguard decides whether an address may be dialled, and dials it: the verdict is a pure function, and a
// dialer applies it to the address actually dialled, after DNS. It never sends anything but a CONNECT to the operator's
// own proxy, and knows nothing of HTTP. Start at Guard.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"code.dny.dev/ssrf"
)

// OutsideText is all that is said to the outside of a target that is refused or cannot be resolved, so that nobody can
// scan with it.
const OutsideText = "the target address cannot be used"

// RefusedError says that a target must not be dialled. Its text is for the operator; the outside gets OutsideText.
type RefusedError struct {
	Reason string
	Hint   string // which setting would allow it, in general words; empty: none does
}

// Error is for the operator's log.
func (e *RefusedError) Error() string {
	if e.Hint == "" {
		return "refused: " + e.Reason
	}
	return "refused: " + e.Reason + " (" + e.Hint + " would allow it)"
}

// ErrPlainHTTP is a plain http target where none is ever dialled, whatever its address.
var ErrPlainHTTP = &RefusedError{Reason: "plain http", Hint: hintHTTP}

var errDenied = &RefusedError{Reason: "a network that the operator denies"}

// ResolveError says that a name has no usable answer now.
type ResolveError struct{ Err error }

// Error is for the operator's log.
func (e *ResolveError) Error() string { return "resolve the target: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ResolveError) Unwrap() error { return e.Err }

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	// LookupNetIP is that of net.Resolver, with its errors.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a guard is made of; all fields work as zero.
type Config struct {
	Allow, Deny []netip.Prefix
	AllowHTTP   bool
	NAT64       bool // allow 64:ff9b::/96 and judge the embedded address
	SelfPorts   []uint16
	Resolver    Resolver // nil: the pure Go one
	EgressProxy *url.URL // http://[user:password@]host:port
	DNSTimeout  time.Duration
	ProxyTold   func(down bool) // of each time that the egress proxy stops to serve, or begins again; may be nil
}

// Guard judges and dials. Its methods may be called by any number of goroutines.
type Guard struct {
	cfg   Config
	rules *ssrf.Guardian
	self  atomic.Pointer[[]uint16]
	proxy proxyHealth
}

const (
	maxAnswers  = 16
	dialTimeout = 10 * time.Second
	hintNetwork = "--allow-network"
	hintHTTP    = "--allow-http, or --allow-network with the target's network,"
	hintNAT64   = "--nat64"
	keepAlive   = 30 * time.Second
)

// New makes a guard.
func New(cfg Config) (*Guard, error) {
	if cfg.Resolver == nil {
		cfg.Resolver = newResolver()
	}
	if cfg.DNSTimeout <= 0 {
		cfg.DNSTimeout = 5 * time.Second
	}
	if p := cfg.EgressProxy; p != nil && (p.Scheme != "http" || p.Host == "") {
		return nil, errors.New("the egress proxy must be of the form http://host:port")
	}
	g := &Guard{cfg: cfg, rules: ssrf.New(ssrf.WithAnyPort())}
	g.proxy.told = cfg.ProxyTold
	g.SetSelfPorts(cfg.SelfPorts...)
	return g, nil
}

// SetSelfPorts names the ports that this program listens on; with a local address they are never dialled.
func (g *Guard) SetSelfPorts(ports ...uint16) {
	p := slices.Clone(ports)
	g.self.Store(&p)
}

// mustPrefixes are written in this file.
func mustPrefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

var (
	// Cloud metadata: AWS, GCP and Azure (link-local), ECS and EKS, AWS on IPv6, Alibaba, Azure's wire server.
	metadata = mustPrefixes("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "fd00:ec2::/32",
		"100.100.100.200/32", "168.63.129.16/32")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	nat64own = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
)

// badPorts are those of the Fetch standard, section 2.9 "port blocking".
var badPorts = []uint16{0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
	102, 103, 104, 109,
	110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
	548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
	6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}

// dataPorts are data stores that a plain http request can talk to.
var dataPorts = []uint16{3306, 5432, 6379, 9200, 11211, 27017}

// Judge is the verdict on one address: nil, a *RefusedError, or a *ShortageError when it cannot be told now. The first
// rule that matches wins.
func (g *Guard) Judge(to netip.AddrPort, plainHTTP bool) error {
	a := to.Addr().Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return &RefusedError{Reason: "not a plain address"}
	}
	if err := g.judgePort(to.Port(), plainHTTP); err != nil {
		return err
	}
	if within(metadata, a) {
		return &RefusedError{Reason: "cloud metadata"}
	}
	if slices.Contains(*g.self.Load(), to.Port()) {
		if is, err := local(a); err != nil {
			return &ShortageError{err}
		} else if is {
			return &RefusedError{Reason: "this program's own listener"}
		}
	}
	if nat64own.Contains(a) {
		return &RefusedError{Reason: "a local translation prefix (NAT64)"}
	}
	if nat64.Contains(a) {
		if !g.cfg.NAT64 {
			return &RefusedError{Reason: "a translated address (NAT64)", Hint: hintNAT64}
		}
		b := a.As16()
		return g.Judge(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), to.Port()), plainHTTP)
	}
	if within(g.cfg.Allow, a) {
		return nil
	}
	if plainHTTP && !g.cfg.AllowHTTP {
		return &RefusedError{Reason: "plain http", Hint: hintHTTP}
	}
	if within(g.cfg.Deny, a) {
		return errDenied
	}
	if err := g.rules.SafeAddr(a); err != nil {
		return &RefusedError{Reason: "not a public address", Hint: hintNetwork}
	}
	return nil
}

func (g *Guard) judgePort(port uint16, plainHTTP bool) error {
	if slices.Contains(badPorts, port) || plainHTTP && slices.Contains(dataPorts, port) {
		return &RefusedError{Reason: fmt.Sprintf("port %d belongs to another protocol", port)}
	}
	return nil
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// local tells whether an address is this machine's.
func local(a netip.Addr) (bool, error) {
	if a.IsLoopback() || a.IsUnspecified() {
		return true, nil
	}
	addrs, err := net.InterfaceAddrs() // takes a descriptor
	if err != nil {
		return false, fmt.Errorf("list this machine's addresses: %w", err)
	}
	return slices.ContainsFunc(addrs, func(x net.Addr) bool {
		p, err := netip.ParsePrefix(x.String())
		return err == nil && p.Addr().Unmap() == a
	}), nil
}

// CheckTarget judges a target when it is saved: *RefusedError, or nil. It looks up no name, so that nobody learns by
// saving what a name is here, and takes no notice of the networks that the operator denies; every dial judges again.
func (g *Guard) CheckTarget(host string, port uint16, plainHTTP bool) error {
	if plainHTTP && !g.cfg.AllowHTTP && len(g.cfg.Allow) == 0 {
		return ErrPlainHTTP
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return g.judgePort(port, plainHTTP)
	}
	if err = g.Judge(netip.AddrPortFrom(a, port), plainHTTP); Shortage(err) || errors.Is(err, errDenied) {
		return nil
	}
	return err
}

// resolutionDelay is how long one family's answer waits for the other's (RFC 8305, section 3).
const resolutionDelay = 50 * time.Millisecond

// lookUp asks for the addresses of both families at once, so that neither waits for a silent answer for the other, and
// gives those of IPv6 and IPv4 in turn (RFC 8305, section 4). Errors: *ResolveError, *ShortageError.
func (g *Guard) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.DNSTimeout)
	defer cancel()
	type answer struct {
		six   bool
		addrs []netip.Addr
		err   error
	}
	answers := make(chan answer, 2)
	ask := func(network string, six bool) {
		addrs, err := g.cfg.Resolver.LookupNetIP(ctx, network, host)
		of := func(a netip.Addr) bool { return a.Unmap().Is4() == six }
		answers <- answer{six, slices.DeleteFunc(addrs, of), err}
	}
	go ask("ip6", true)
	go ask("ip4", false)
	var found [2][]netip.Addr // IPv6 first
	var errs []error
	var wait <-chan time.Time // begins with the first addresses
	for left := 2; left > 0; {
		select {
		case a := <-answers:
			left--
			if a.err != nil {
				errs = append(errs, a.err)
			} else if len(a.addrs) > 0 {
				if a.six {
					found[0] = a.addrs
				} else {
					found[1] = a.addrs
				}
				wait = time.After(resolutionDelay)
			}
		case <-wait:
			cancel() // and see that it has ended
			wait = nil
		}
	}
	var list []netip.Addr
	for i := range max(len(found[0]), len(found[1])) {
		for _, family := range found {
			if i < len(family) {
				list = append(list, family[i])
			}
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	return nil, noAddress(errs)
}

// noAddress is why a name has none: that one family is not there tells less than what else went wrong.
func noAddress(errs []error) error {
	var err error
	for _, e := range errs {
		var de *net.DNSError
		if Shortage(e) {
			return e
		}
		if err == nil || !errors.As(e, &de) || !de.IsNotFound {
			err = e
		}
	}
	if err == nil {
		err = errors.New("no address")
	}
	return &ResolveError{err}
}

// resolve gives the addresses of a host if all of them may be dialled.
func (g *Guard) resolve(ctx context.Context, host string, port uint16, plainHTTP bool) ([]netip.AddrPort, error) {
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else {
		if host[len(host)-1] != '.' {
			host += "." // absolute: no search domains
		}
		if addrs, err = g.lookUp(ctx, host); err != nil {
			return nil, err
		}
		if len(addrs) > maxAnswers {
			return nil, &RefusedError{Reason: fmt.Sprintf("the name has %d addresses, more than %d", len(addrs),
				maxAnswers)}
		}
	}
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a.Unmap(), port)
		if a.Zone() != "" {
			return nil, &RefusedError{Reason: "an address with a zone"}
		}
		if err := g.Judge(out[i], plainHTTP); err != nil {
			return nil, err
		}
	}
	return out, nil
}
