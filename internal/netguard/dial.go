package netguard

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dial connects to a target: its name is resolved, every answer is judged, and the address is judged once more when it
// is dialled. It also tells how long the resolving took. Errors: *RefusedError, *ResolveError, or the dialer's; one for
// which Shortage holds tells nothing of the target.
func (g *Guard) Dial(ctx context.Context, host string, port uint16, plainHTTP bool) (net.Conn, time.Duration, error) {
	if host == "" {
		return nil, 0, &RefusedError{Reason: "no host"}
	}
	began := time.Now()
	addrs, err := g.resolve(ctx, host, port, plainHTTP)
	resolving := time.Since(began)
	if err != nil {
		return nil, resolving, err
	}
	c, err := g.dialFirst(ctx, host, addrs, plainHTTP)
	return c, resolving, err
}

// attemptDelay is how long an address may take before the next one is tried beside it (RFC 8305, sections 5 and 8).
const attemptDelay = 250 * time.Millisecond

// dialFirst connects to the first of the addresses that answers: each is tried when the one before has failed, or has
// not answered for a while. It returns when no dial is under way.
func (g *Guard) dialFirst(ctx context.Context, host string, addrs []netip.AddrPort, plainHTTP bool) (net.Conn, error) {
	if len(addrs) == 1 {
		return g.dialOne(ctx, host, addrs[0], plainHTTP)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type dialled struct {
		c   net.Conn
		err error
	}
	results := make(chan dialled, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	var found net.Conn
	var errs []error
	for begun, ended := 0, 0; begun == 0 || ended < begun || begun < len(addrs) && found == nil && ctx.Err() == nil; {
		start := next.C
		if begun == len(addrs) || found != nil {
			start = nil
		}
		select {
		case <-start:
			to := addrs[begun]
			begun++
			next.Reset(attemptDelay)
			go func() {
				c, err := g.dialOne(ctx, host, to, plainHTTP)
				results <- dialled{c, err}
			}()
		case d := <-results:
			switch ended++; {
			case d.err != nil:
				errs = append(errs, d.err)
				next.Reset(0)
			case found != nil:
				_ = d.c.Close()
			default:
				found = d.c
				cancel()
			}
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, errors.Join(errs...)
}

// dialOne tries one address of a host.
func (g *Guard) dialOne(ctx context.Context, host string, to netip.AddrPort, plainHTTP bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if g.cfg.EgressProxy != nil {
		return g.dialProxy(ctx, host, to)
	}
	d := net.Dialer{KeepAlive: keepAlive,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return g.control(network, address, plainHTTP)
		}}
	c, err := d.DialContext(ctx, networkOf(to), to.String())
	if lacksFamily(ctx, to, err) {
		return nil, errors.New("this machine has no address of the target's family")
	}
	return c, err
}

func networkOf(to netip.AddrPort) string {
	if to.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// control judges the address that the system is about to connect to.
func (g *Guard) control(network, address string, plainHTTP bool) error {
	if network != "tcp4" && network != "tcp6" {
		return &RefusedError{Reason: "network " + network}
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &RefusedError{Reason: "not an address and port"}
	}
	return g.Judge(to, plainHTTP)
}

// dialProxy asks the operator's proxy for a connection to an address of a host that was judged.
func (g *Guard) dialProxy(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
	p := g.cfg.EgressProxy
	proxy := p.Host
	if p.Port() == "" {
		proxy = net.JoinHostPort(p.Hostname(), "80")
	}
	d := net.Dialer{KeepAlive: keepAlive}
	c, err := d.DialContext(ctx, "tcp", proxy)
	if err != nil {
		return nil, g.proxyFailed(ctx, host, 0, fmt.Errorf("%w: %w", errNoProxy, err))
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	status, err := g.connect(c, to)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, g.proxyFailed(ctx, host, status, err)
	}
	g.proxy.served()
	return c, nil
}

// maxProxyAnswer bounds the head of the proxy's answer, bytes.
const maxProxyAnswer = 16 << 10

// connect is RFC 9110, section 9.3.6. It gives the proxy's status, if there is one.
func (g *Guard) connect(c net.Conn, to netip.AddrPort) (int, error) {
	auth := ""
	if u := g.cfg.EgressProxy.User; u != nil {
		pass, _ := u.Password()
		auth = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+pass)) + "\r\n"
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", to, to, auth); err != nil {
		return 0, err
	}
	// Read byte by byte: what follows the head belongs to the target.
	r := bufio.NewReaderSize(&oneByte{io.LimitReader(c, maxProxyAnswer)}, 16)
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("no answer: %w", err)
	}
	f := strings.Fields(line)
	if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/1.") || len(f[1]) != 3 {
		return 0, errors.New("its answer is not HTTP")
	}
	status, err := strconv.Atoi(f[1])
	if err != nil {
		return 0, errors.New("its answer is not HTTP")
	}
	if status < 200 || status > 299 {
		return status, refusal(status)
	}
	for strings.TrimRight(line, "\r\n") != "" {
		if line, err = r.ReadString('\n'); err != nil {
			return 0, fmt.Errorf("its answer breaks off: %w", err)
		}
	}
	return status, nil
}

// oneByte never reads ahead.
type oneByte struct{ r io.Reader }

func (o *oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}
