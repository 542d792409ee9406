package attempt

import (
	"bufio"
	"container/list"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a connection for one request at a time.
type conn struct {
	net.Conn
	raw    syscall.RawConn // of the TCP connection below; nil: not known
	r      *bufio.Reader
	h2     *h2Conn // set when the other side chose HTTP/2; then only it is used
	gen    uint64  // of pools, from before it was dialled
	made   time.Time
	usedAt time.Time     // when it was put back last; over HTTP/2, when a request took it last
	keep   time.Duration // how long the other side keeps it without use, less a margin; 0: it did not say
	key    string        // of pools
	asked  atomic.Bool   // for a certificate, in TLS
	noted  []byte        // what came since noting began, up to MaxKept
	noting bool
	place  *list.Element // in pools.kept; nil: it is not kept
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, made: time.Now()}
	c.r = bufio.NewReaderSize(c, 4<<10)
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	return c
}

// Read notes what comes, so that an answer that is refused is on record.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.noting {
		c.noted = append(c.noted, p[:min(n, MaxKept-len(c.noted))]...)
	}
	return n, err
}

// heardSince tells whether the other side was there since a time: it answered, or over HTTP/2 gave any sign of life.
func (c *conn) heardSince(t time.Time) bool {
	if c.h2 != nil {
		return int64(t.Sub(epoch)) <= c.h2.frames.heard.Load() || !c.made.Before(t)
	}
	return !c.usedAt.Before(t)
}

// end closes a connection that is not in use, and one of HTTP/2 when its last request has ended.
func (c *conn) end() {
	if c.h2 != nil {
		closeUnused(c.h2.ClientConn)
		return
	}
	c.Close()
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
