package api

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of failed authentications. A key that was found is never held up by them, so that who shares an address with
// somebody who guesses goes on.
const (
	guessEvery, guessBurst   = 100 * time.Millisecond, 100 // of one address
	guessesEvery, guessesAll = 5 * time.Millisecond, 500   // of all together
	guessAddresses           = 10_000                      // that are told apart
	unknownKeys              = 10_000                      // that are remembered, so that they cost no database read twice
	unknownFor               = 10 * time.Second
)

// guesses counts authentications that failed.
type guesses struct {
	mu      sync.Mutex
	byAddr  map[netip.Prefix]*rate.Limiter
	all     *rate.Limiter
	unknown map[[32]byte]time.Time // until when a key is believed to be unknown
}

func newGuesses() *guesses {
	return &guesses{byAddr: map[netip.Prefix]*rate.Limiter{},
		all:     rate.NewLimiter(rate.Every(guessesEvery), guessesAll),
		unknown: map[[32]byte]time.Time{}}
}

// from is what counts as one address: an IPv4 address, or the 64 bits of IPv6 that one customer has (RFC 6177).
func from(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a, bits := at.Addr().Unmap().WithZone(""), 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// try takes in that a key is looked up that was not found before; known: it is remembered as unknown. An error is a
// 429.
func (g *guesses) try(hash [32]byte, remote string, now time.Time) (known bool, err error) {
	addr := from(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	l, ok := g.byAddr[addr]
	if !ok {
		if len(g.byAddr) >= guessAddresses {
			g.forget(now)
		}
		l = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		g.byAddr[addr] = l
	}
	if l.TokensAt(now) < 1 {
		return false, tooManyGuesses(guessEvery)
	}
	if g.all.TokensAt(now) < 1 {
		return false, tooManyGuesses(time.Second)
	}
	return now.Before(g.unknown[hash]), nil
}

// forget makes room: what is as new goes, or else any. g.mu is held.
func (g *guesses) forget(now time.Time) {
	for addr, l := range g.byAddr {
		if l.TokensAt(now) >= guessBurst {
			delete(g.byAddr, addr)
		}
	}
	for addr := range g.byAddr {
		if len(g.byAddr) < guessAddresses {
			return
		}
		delete(g.byAddr, addr)
	}
}

// failed takes in that there is no such key.
func (g *guesses) failed(hash [32]byte, remote string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.byAddr[from(remote)]; l != nil {
		l.AllowN(now, 1)
	}
	g.all.AllowN(now, 1)
	if len(g.unknown) >= unknownKeys {
		clear(g.unknown)
	}
	g.unknown[hash] = now.Add(unknownFor)
}

func tooManyGuesses(wait time.Duration) error {
	return newProblem(http.StatusTooManyRequests,
		"There were too many requests with API keys that are not known here. Check the key, "+
			"and try again in a moment.").with("Retry-After", strconv.Itoa(max(1, int(wait/time.Second))))
}
