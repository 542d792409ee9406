package attempt

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// idleLimit is how long a connection is kept without use.
const idleLimit = 60 * time.Second

// pools has the connections by origin.
type pools struct {
	mu    sync.Mutex
	byKey map[string]*pool
}

// pool has the connections to one origin that are not in use. Connections have no goroutine of their own: whoever takes
// one looks whether it is still good, and putting one back closes those that were not used for long.
type pool struct {
	mu   sync.Mutex
	idle []*conn // the one used last at the end
	two  []*http.ClientConn
}

func (p *pools) get(key string) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if q == nil {
		q = &pool{}
		p.byKey[key] = q
	}
	return q
}

func (p *pools) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.byKey {
		q.mu.Lock()
		for _, c := range q.idle {
			c.Close()
		}
		for _, cc := range q.two {
			closeUnused(cc)
		}
		q.idle, q.two = nil, nil
		q.mu.Unlock()
	}
}

// take gives the connection used last that is still good; nil: none.
func (p *pool) take() *conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if time.Since(c.usedAt) < idleLimit && c.alive() {
			return c
		}
		c.Close()
	}
}

func (p *pool) put(c *conn, limit int) {
	c.usedAt = time.Now()
	p.mu.Lock()
	p.idle = append(p.idle, c)
	drop := 0
	for drop < len(p.idle) && (len(p.idle)-drop > limit || time.Since(p.idle[drop].usedAt) >= idleLimit) {
		p.idle[drop].Close()
		drop++
	}
	if drop > 0 {
		n := copy(p.idle, p.idle[drop:])
		clear(p.idle[n:])
		p.idle = p.idle[:n]
	}
	p.mu.Unlock()
}

// h2 gives an HTTP/2 connection with room for a request; nil: none.
func (p *pool) h2() *http.ClientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.two[:0]
	var free *http.ClientConn
	for _, cc := range p.two {
		if cc.Err() != nil {
			continue
		}
		kept = append(kept, cc)
		if free == nil && cc.Reserve() == nil {
			free = cc
		}
	}
	clear(p.two[len(kept):])
	p.two = kept
	return free
}

// closeUnused closes a connection now, or when its last request has ended.
func closeUnused(cc *http.ClientConn) {
	cc.SetStateHook(func(cc *http.ClientConn) {
		if cc.InFlight() == 0 {
			_ = cc.Close()
		}
	})
	if cc.InFlight() == 0 {
		_ = cc.Close()
	}
}

// addH2 shares a connection on which the caller has a place reserved.
func (p *pool) addH2(cc *http.ClientConn) {
	p.mu.Lock()
	p.two = append(p.two, cc)
	p.mu.Unlock()
}

// conn is a connection for one request at a time.
type conn struct {
	net.Conn
	raw    syscall.RawConn // of the TCP connection below; nil: not known
	r      *bufio.Reader
	h2     *http.ClientConn // set when the other side chose HTTP/2; then nothing else is used
	usedAt time.Time
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, r: bufio.NewReaderSize(nc, 4<<10)}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	return c
}

// alive tells whether the other side has neither closed an idle connection nor sent anything on it. Looking before each
// use keeps almost all requests off connections that are about to fail.
func (c *conn) alive() bool {
	if c.raw == nil {
		return false
	}
	ok := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN
		return true
	})
	return err == nil && ok
}
