package bench

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// flow publishes to a node from several goroutines until it is stopped or has published most.
type flow struct {
	size, workers int
	eventType     string
	window        int64  // most events that were published and have not arrived; 0: unbounded
	most          int64  // 0: unbounded
	more          int    // bytes that an event has besides the usual
	tenant        string // that publishes; empty: the default one
	each          int64  // deliveries of an event; 0: one
	// next, if set, makes the requests, each of which triggers size events; n is how many there are with it.
	next func(n int64) call
}

// running is a flow under way.
type running struct {
	published atomic.Int64
	claimed   atomic.Int64
	ending    atomic.Bool
	base      int64 // the receiver's count when it began
	each      int64
	wg        sync.WaitGroup
	once      sync.Once
	err       error
}

func (g *rig) start(ctx context.Context, n *node, f flow) (*running, error) {
	var base int64 // asked for, since the gauge may be a little behind
	if err := g.control(ctx, "/ctl/count", &base); err != nil {
		return nil, err
	}
	r := &running{base: base, each: f.each}
	if f.next == nil {
		path, body := benchBody(f.eventType, f.size, f.more)
		f.next = func(int64) call {
			return call{method: http.MethodPost, path: path, tenant: f.tenant, body: body, status: http.StatusAccepted}
		}
	}
	for range f.workers {
		r.wg.Go(func() {
			for !r.ending.Load() && ctx.Err() == nil {
				mine := r.claimed.Add(int64(f.size))
				if f.most > 0 && mine > f.most {
					return
				}
				if f.window > 0 && !g.arrived.await(ctx, r.base+mine*max(f.each, 1)-f.window, r.ending.Load) {
					return
				}
				if err := g.send(ctx, n.url, n.key, f.next(mine)); err != nil {
					r.once.Do(func() { r.err = err })
					r.ending.Store(true)
					return
				}
				r.published.Add(int64(f.size))
			}
		})
	}
	return r, nil
}

// stop ends the flow and waits for its goroutines.
func (r *running) stop(g *rig) error {
	r.ending.Store(true)
	g.arrived.wake()
	return r.wait()
}

func (r *running) wait() error {
	r.wg.Wait()
	return r.err
}

// drain waits until everything published has arrived.
func (r *running) drain(ctx context.Context, g *rig) error {
	return g.awaitAll(ctx, r.base, r.published.Load()*max(r.each, 1), 90*time.Second)
}

// gauge is the receiver's count, with waiting for it.
type gauge struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int64
	closed bool
}

func newGauge() *gauge {
	g := &gauge{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gauge) get() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

func (g *gauge) set(n int64) {
	g.mu.Lock()
	g.n = n
	g.mu.Unlock()
	g.cond.Broadcast()
}

// wake makes those who wait look again whether they are cancelled.
func (g *gauge) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cond.Broadcast()
}

func (g *gauge) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cond.Broadcast()
}

// await waits until the count is at least n; false when ctx ended, cancelled said so, or nobody counts any more.
func (g *gauge) await(ctx context.Context, n int64, cancelled func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n < n {
		if g.closed || ctx.Err() != nil || cancelled() {
			return false
		}
		g.cond.Wait()
	}
	return true
}

var errStopped = errors.New("stopped")

// sleep waits, or says that ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errStopped
	}
}
