package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// ShortageError says that this machine had no resources for a connection: descriptors, ports or memory. It tells
// nothing of the target.
type ShortageError struct{ Err error }

// Error is for the operator's log.
func (e *ShortageError) Error() string { return "this machine is short of resources: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ShortageError) Unwrap() error { return e.Err }

// shortages are the system's errors that tell of this machine, not of the target.
var shortages = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN,
}

// Shortage tells whether an error, or any that it wraps, says that this machine had no resources for a connection.
func Shortage(err error) bool {
	if err == nil {
		return false
	}
	if errors.As(err, new(*ShortageError)) {
		return true
	}
	for _, e := range shortages {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lacksFamily tells whether a dial failed only since this machine has no address of the target's family, as many have
// none of IPv6: the system says EADDRNOTAVAIL then, as when no port is left. A datagram socket that connects sends
// nothing.
func lacksFamily(ctx context.Context, to netip.AddrPort, err error) bool {
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return false
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", to.String())
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.EADDRNOTAVAIL)
}

// resolver is the pure Go one. net.DNSError does not keep what failed, so the resolver's own sockets are watched.
type resolver struct {
	net.Resolver
	short atomic.Int64 // when a socket could last not be made for lack of resources, Unix nanoseconds
}

func newResolver() *resolver {
	r := new(resolver)
	r.PreferGo = true
	r.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if Shortage(err) {
			r.short.Store(time.Now().UnixNano())
		}
		if err != nil {
			return nil, err
		}
		return oldResolvers(c), nil
	}
	return r
}

// LookupNetIP is that of net.Resolver, with one more error: *ShortageError. Calls for one name share a look-up, which
// may have begun before this call did.
func (r *resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	began := time.Now()
	addrs, err := r.Resolver.LookupNetIP(ctx, network, host)
	if err != nil && r.short.Load() >= began.Add(-time.Second).UnixNano() {
		return nil, &ShortageError{fmt.Errorf("resolve the target: %w", err)}
	}
	return addrs, err
}
