package attempt

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// idleLimit is how long a connection is kept without use; the sweep comes up to a tenth later.
const idleLimit = 60 * time.Second

// pools has the connections by origin. Connections have no goroutine of their own: whoever takes one looks whether it is
// still good, and a timer that runs while there are any closes those that were not used for long.
type pools struct {
	idleLimit time.Duration
	maxIdle   int // by origin
	timer     *time.Timer

	mu    sync.Mutex
	gen   uint64 // connections of an earlier one are not kept
	byKey map[string]*pool
}

// pool has the connections to one origin that requests can take; it goes when it has none.
type pool struct {
	idle []*conn // HTTP/1.1, not in use; the one used last at the end
	two  []*conn // HTTP/2, shared; they close themselves when they are idle for long
}

// take gives the HTTP/2 connection with room for a request, or else the connection used last that is still good; nil:
// none. gen is the generation of a connection that is made instead.
func (p *pools) take(key string) (c *conn, gen uint64) {
	for {
		if c, gen = p.next(key); c == nil || c.h2 != nil || time.Since(c.usedAt) < p.idleLimit && c.alive() {
			return c, gen
		}
		c.Close()
	}
}

func (p *pools) next(key string) (c *conn, gen uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if q == nil {
		return nil, p.gen
	}
	for _, c := range q.two {
		if c.h2.Reserve() == nil {
			return c, p.gen
		}
	}
	if n := len(q.idle) - 1; n >= 0 {
		c, q.idle[n] = q.idle[n], nil
		q.idle = q.idle[:n]
	}
	return c, p.gen
}

// put keeps a connection for other requests; false: there is no place for it.
func (p *pools) put(key string, c *conn) bool {
	c.usedAt = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if c.gen != p.gen || c.h2 == nil && q != nil && len(q.idle) >= p.maxIdle {
		return false
	}
	if q == nil {
		if len(p.byKey) == 0 {
			p.timer.Reset(p.idleLimit / 10)
		}
		q = &pool{}
		p.byKey[key] = q
	}
	if c.h2 != nil {
		q.two = append(q.two, c)
	} else {
		q.idle = append(q.idle, c)
	}
	return true
}

// sweep closes the connections that were not used for long.
func (p *pools) sweep() {
	var old []*conn
	p.mu.Lock()
	for key, q := range p.byKey {
		n := 0
		for n < len(q.idle) && time.Since(q.idle[n].usedAt) >= p.idleLimit {
			n++
		}
		old = append(old, q.idle[:n]...)
		q.idle = slices.Delete(q.idle, 0, n)
		q.two = slices.DeleteFunc(q.two, func(c *conn) bool { return c.h2.Err() != nil })
		if len(q.idle)+len(q.two) == 0 {
			delete(p.byKey, key)
		}
	}
	if len(p.byKey) > 0 {
		p.timer.Reset(p.idleLimit / 10)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// closeIdle closes the connections that are not in use now, and the others when they no longer are.
func (p *pools) closeIdle() {
	p.mu.Lock()
	old := p.byKey
	p.byKey = map[string]*pool{}
	p.gen++
	p.timer.Stop()
	p.mu.Unlock()
	for _, q := range old {
		for _, c := range q.idle {
			c.Close()
		}
		for _, c := range q.two {
			closeUnused(c.h2)
		}
	}
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

// conn is a connection for one request at a time.
type conn struct {
	net.Conn
	raw    syscall.RawConn // of the TCP connection below; nil: not known
	r      *bufio.Reader
	h2     *http.ClientConn // set when the other side chose HTTP/2; then only it is used
	gen    uint64           // of pools, from before it was dialled
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
	err := c.raw.Control(func(fd uintptr) { // Read would fail after the last request's deadline
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN
	})
	return err == nil && ok
}

// unread tells whether TLS took in more than was read from it, which alive cannot see. After its deadline a read gives
// what is there and leaves the socket alone.
func (c *conn) unread() bool {
	tc, ok := c.Conn.(*tls.Conn)
	if !ok {
		return false
	}
	_ = tc.SetReadDeadline(time.Unix(1, 0))
	_, err := tc.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
