package crashtest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// proxy is a TCP proxy between a node and its database, or (egress) between a node and its receivers.
type proxy struct {
	net.Listener
	target string // empty: what the CONNECT of each connection asks for

	mu     sync.Mutex
	moved  *sync.Cond
	stalls bool            // nothing moves
	legs   map[leg]bool    // true: nothing moves on it any more, and neither side is told
	ports  map[string]bool // the addresses that targets see
	closed bool
}

// leg is a connection and its other end.
type leg struct{ a, b net.Conn }

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: target, legs: map[leg]bool{}, ports: map[string]bool{}}
	p.moved = sync.NewCond(&p.mu)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			done.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		for x := range p.legs {
			x.a.Close()
			x.b.Close()
		}
		p.mu.Unlock()
		p.moved.Broadcast()
		done.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.Listener.Addr().String() }

// serve joins c and the target until either is closed.
func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	target := p.target
	if target == "" {
		req, err := http.ReadRequest(bufio.NewReader(c)) // nothing follows before the answer
		if err != nil {
			return
		}
		target = req.Host
	}
	if !p.wait(leg{}) {
		return
	}
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	x := leg{c, up}
	p.mu.Lock()
	p.legs[x], p.ports[up.LocalAddr().String()] = false, true
	p.mu.Unlock()
	if p.target == "" {
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(x, up, c) })
	both.Go(func() { p.copy(x, c, up) })
	both.Wait()
	p.mu.Lock()
	delete(p.legs, x)
	p.mu.Unlock()
}

// copy moves what src sends to dst.
func (p *proxy) copy(x leg, dst, src net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := src.Read(b)
		if !p.wait(x) {
			return
		}
		if _, e := dst.Write(b[:n]); errors.Join(err, e) != nil {
			dst.Close()
			src.Close()
			return
		}
	}
}

// wait returns when something may move on x; false: the proxy is closed.
func (p *proxy) wait(x leg) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.stalls || p.legs[x]) && !p.closed {
		p.moved.Wait()
	}
	return !p.closed
}

// stall lets nothing move, or lets everything go on.
func (p *proxy) stall(on bool) {
	p.mu.Lock()
	p.stalls = on
	p.mu.Unlock()
	p.moved.Broadcast()
}

// forget lets nothing move on the connections of now, for good, like a firewall that has lost its table; new ones work.
// The target, unlike the node, notices after a while, as the keep-alive of TCP makes it.
func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.legs {
		p.legs[x] = true
		time.AfterFunc(keepAlive, func() { x.b.Close() })
	}
}

const keepAlive = 5 * time.Second

// has tells whether a target's peer is this proxy.
func (p *proxy) has(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ports[addr]
}
