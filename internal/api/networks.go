package api

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxNetworks is how many prefixes a key may name.
const maxNetworks = 32

// networks are the prefixes from which a key is good; none: from anywhere.
type networks []netip.Prefix

// parseNetworks reads prefixes (RFC 4632, section 3.1; RFC 4291, section 2.3); a single address is one of full length.
// The error is the end of a sentence.
func parseNetworks(list []string) (networks, error) {
	if len(list) > maxNetworks {
		return nil, fmt.Errorf("has %d prefixes; at most %d are taken", len(list), maxNetworks)
	}
	var n networks
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, errors.New("must be prefixes such as 192.0.2.0/24 or 2001:db8::/32")
		}
		n = append(n, p.Masked())
	}
	return n, nil
}

// networksOf are those that a store keeps.
func networksOf(kept string) (n networks) {
	for s := range strings.SplitSeq(kept, ",") {
		if p, err := netip.ParsePrefix(s); err == nil {
			n = append(n, p)
		}
	}
	return n
}

// String is how a store keeps them.
func (n networks) String() string { return strings.Join(n.list(), ",") }

func (n networks) list() []string {
	var out []string
	for _, p := range n {
		out = append(out, p.String())
	}
	return out
}

// has tells whether a key with these is good from an address, as in http.Request.RemoteAddr.
func (n networks) has(remote string) bool {
	if len(n) == 0 {
		return true
	}
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	a := at.Addr().Unmap().WithZone("")
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// within tells whether n is good nowhere that outer is not.
func (n networks) within(outer networks) bool {
	if len(outer) == 0 {
		return true
	}
	for _, p := range n {
		inside := false
		for _, o := range outer {
			inside = inside || o.Bits() <= p.Bits() && o.Contains(p.Addr())
		}
		if !inside {
			return false
		}
	}
	return len(n) > 0
}
