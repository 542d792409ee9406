package server

import (
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

// Serve is s.Serve within the bound; with s.ConnState for its own use.
func (c *Conns) Serve(s *http.Server, l net.Listener) error {
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			c.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			c.open.Add(-1)
		}
	}
	return s.Serve(netutil.LimitListener(l, c.most))
}

// Crowded tells that three of four places are taken: connections should end with their answers then, so that those who
// keep theirs without using it do not keep others out.
func (c *Conns) Crowded() bool { return c.open.Load()*4 > int64(c.most)*3 }
