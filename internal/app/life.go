package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var errStopped = errors.New("the node is stopped")

// life is where a node stands between its start and its end.
type life struct {
	startM   sync.Mutex   // held while Start runs
	listener net.Listener // set by Start
	serving  atomic.Bool  // the API answers

	running context.Context // ends when Stop begins
	halt    context.CancelFunc
	stopped context.Context // ends when Stop has drained
	stop    context.CancelFunc
	ended   chan struct{} // closed when Stop is done, once stopErr is set
	once    sync.Once     // of Stop
	stopErr error

	fatal chan error    // capacity 1: sent to by whatever must end the process, the first one stays; never closed
	dead  chan struct{} // closed with the first one
	die   func()        // closes dead

	backgroundM sync.Mutex // held while one is added, so that none is once stopped has ended
	background  sync.WaitGroup
}

func newLife() *life {
	l := &life{ended: make(chan struct{}), fatal: make(chan error, 1), dead: make(chan struct{})}
	l.running, l.halt = context.WithCancel(context.Background())
	l.stopped, l.stop = context.WithCancel(context.Background())
	l.die = sync.OnceFunc(func() { close(l.dead) })
	return l
}

// Start listens, recovers and begins to deliver. Call it once, and Stop also after an error. After Stop it fails.
func (a *App) Start(ctx context.Context) error {
	a.startM.Lock()
	defer a.startM.Unlock()
	if a.running.Err() != nil {
		return errStopped
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.running, cancel)()
	if err := a.listen(); err != nil {
		return err
	}
	err := a.startEngine(ctx, a.engine.Load())
	if a.running.Err() != nil {
		return errStopped
	} else if err != nil {
		return err
	}
	if a.shared != nil {
		a.watch()
	}
	if a.advisory != nil {
		a.advisory.Start()
	}
	a.goBackground(a.keepTenantsLoop)
	a.serving.Store(true)
	a.log.Info("started", "url", a.URL(), "version", Version)
	return nil
}

// keepTenantsLoop has the ends of tenants finished.
func (a *App) keepTenantsLoop() {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := a.keepTenants(a.stopped); err != nil && a.stopped.Err() == nil {
			a.log.Warn("the ends of tenants could not be looked after; it is tried again", "error", err)
		}
		select {
		case <-a.stopped.Done():
			return
		case <-t.C:
		}
	}
}

// listen begins to answer. Until the engine has started only health is told: that may take long.
func (a *App) listen() error {
	l, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ports := []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}
	var ml net.Listener
	if a.metrics != nil {
		if ml, err = net.Listen("tcp", a.cfg.MetricsListen); err != nil {
			return errors.Join(fmt.Errorf("listen for metrics: %w", err), l.Close())
		}
		ports = append(ports, uint16(ml.Addr().(*net.TCPAddr).Port))
	}
	a.guard.SetSelfPorts(ports...)
	a.listener = l
	a.serve(l, func() error { return a.conns.Serve(a.api, l, a.secure) })
	if ml != nil {
		a.serve(ml, func() error { return a.metrics.Serve(ml) })
	}
	return nil
}

func (a *App) serve(l net.Listener, serve func() error) {
	if !a.goBackground(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve: %w", err))
		}
	}) {
		_ = l.Close()
	}
}

// goBackground runs f beside the rest; Stop waits for it. false: Stop has come that far already, and f does not run.
func (l *life) goBackground(f func()) bool {
	l.backgroundM.Lock()
	defer l.backgroundM.Unlock()
	if l.stopped.Err() != nil {
		return false
	}
	l.background.Go(f)
	return true
}

// URL is where the HTTP API is, once started.
func (a *App) URL() string {
	if a.secure != nil {
		return "https://" + a.listener.Addr().String()
	}
	return "http://" + a.listener.Addr().String()
}

// PublicURL is where people reach it.
func (a *App) PublicURL() string { return cmp.Or(strings.TrimRight(a.cfg.PublicURL, "/"), a.URL()) }

// ready tells whether the node wants requests.
func (a *App) ready(ctx context.Context) error {
	switch {
	case a.running.Err() != nil:
		return errors.New("the node is stopping")
	case !a.serving.Load():
		return errors.New("the node is starting")
	}
	if err := a.engine.Load().Ready(); err != nil {
		return err
	}
	return a.store.Ping(ctx)
}

// closing tells whether clients are to connect anew: to another node, or since there are too many connections.
func (a *App) closing() bool { return a.running.Err() != nil || a.conns.Crowded() }

// fail ends Wait; the first error stays.
func (a *App) fail(err error) {
	select {
	case a.fatal <- err:
	default:
	}
	a.die()
}

// Wait blocks until Stop (nil) or until something happens that must end the process.
func (a *App) Wait() error {
	select {
	case <-a.stopped.Done():
		return nil
	case err := <-a.fatal:
		return err
	}
}
