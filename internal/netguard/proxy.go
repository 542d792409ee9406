package netguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ProxyError says that the operator's egress proxy gave no connection. It tells nothing of the target, unless the proxy
// reaches others.
type ProxyError struct {
	Err    error
	Status int  // that it answered; 0: nothing, or no HTTP
	Outage bool // it serves nobody now, as far as can be told
}

// Error is for the operator's log.
func (e *ProxyError) Error() string { return "egress proxy: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// outageAfter is how long the proxy has to serve nobody, and more than one target, before what it says of targets is no
// longer believed.
const outageAfter = time.Minute

// proxyHealth is what is known of the proxy.
type proxyHealth struct {
	mu       sync.Mutex
	since    time.Time // when it first gave none, since it gave one last
	failing  [2]string // different hosts since then; empty: none
	down     bool      // the last answer was an outage
	failures int64
	told     func(down bool) // of each change; may be nil
}

// served notes that it gave a connection.
func (p *proxyHealth) served() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing = [2]string{}
	p.turn(false)
}

// failed notes that it gave none for a target, and tells whether that is an outage of its own; surely: it did not even
// take the question.
func (p *proxyHealth) failed(target string, surely bool) (outage bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures++
	now := time.Now()
	if p.failing[0] == "" {
		p.since, p.failing[0] = now, target
	} else if p.failing[0] != target {
		p.failing[1] = target
	}
	outage = surely || p.failing[1] != "" && now.Sub(p.since) >= outageAfter
	if outage {
		p.turn(true)
	}
	return outage
}

func (p *proxyHealth) turn(down bool) {
	if p.down != down {
		p.down = down
		if p.told != nil {
			p.told(down)
		}
	}
}

// ProxyState is how the egress proxy is: whether it serves, and how often it gave no connection.
func (g *Guard) ProxyState() (down bool, failures int64) {
	g.proxy.mu.Lock()
	defer g.proxy.mu.Unlock()
	return g.proxy.down, g.proxy.failures
}

// proxyFailed is the error of a connection that the proxy did not give. A dial that was given up tells nothing of it.
func (g *Guard) proxyFailed(ctx context.Context, target string, status int, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) || Shortage(err) {
		return err
	}
	surely := status == statusProxyAuth || errors.Is(err, errNoProxy)
	return &ProxyError{Err: err, Status: status, Outage: g.proxy.failed(target, surely)}
}

const statusProxyAuth = 407 // RFC 9110, section 15.5.8

// errNoProxy says that nobody answers at the proxy's address.
var errNoProxy = errors.New("no connection to it")

// refusal is what a status of the proxy's means, for the operator.
func refusal(status int) error {
	switch status {
	case statusProxyAuth:
		return errors.New("it asks for another user or password (407); see --egress-proxy")
	case 403:
		return errors.New("it does not allow this target (403)")
	case 502, 503, 504:
		return fmt.Errorf("it did not reach the target (%d)", status)
	}
	return fmt.Errorf("it answered %d", status)
}
