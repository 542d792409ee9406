package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/netutil"
)

// Conns bounds the connections of a server. What is over the bound waits in the system's queue of the listener.
type Conns struct {
	most int
	open atomic.Int64
}

// NewConns allows so many connections at once.
func NewConns(most int) *Conns { return &Conns{most: most} }

// Serve is s.Serve within the bound, over TLS unless secure is nil; with s.ConnState for its own use.
func (c *Conns) Serve(s *http.Server, l net.Listener, secure *tls.Config) error {
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			c.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			c.open.Add(-1)
		}
	}
	l = netutil.LimitListener(l, c.most)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	return s.Serve(l)
}

// Crowded tells that three of four places are taken: connections should end with their answers then, so that those who
// keep theirs without using it do not keep others out.
func (c *Conns) Crowded() bool { return c.open.Load()*4 > int64(c.most)*3 }
