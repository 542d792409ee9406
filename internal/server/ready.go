package server

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// readyTimeout bounds the answer to whether the server is ready, so that health tells the truth within a second.
const readyTimeout = 800 * time.Millisecond

// probe asks whether the server is ready, once for all who want to know at the same time. What it asks may hang: then
// the answer is no, and it is not asked again before it has answered.
type probe struct {
	ask func(ctx context.Context) error

	mu  sync.Mutex
	now *asking // nil: nobody asks
}

type asking struct {
	done chan struct{} // closed once err is set
	err  error
}

// ready returns within readyTimeout.
func (p *probe) ready() error {
	p.mu.Lock()
	if p.now == nil {
		p.now = &asking{done: make(chan struct{})}
		go p.run(p.now)
	}
	a := p.now
	p.mu.Unlock()
	t := time.NewTimer(readyTimeout)
	defer t.Stop()
	select {
	case <-a.done:
		return a.err
	case <-t.C:
		return fmt.Errorf("no answer within %v", readyTimeout)
	}
}

func (p *probe) run(a *asking) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	defer func() {
		if x := recover(); x != nil {
			a.err = fmt.Errorf("panic: %v", x)
		}
		p.mu.Lock()
		p.now = nil
		p.mu.Unlock()
		close(a.done)
	}()
	a.err = p.ask(ctx)
}
