package engine

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	paceAfter = 5                    // attempts in a row that came to nothing, from which on a webhook is paced
	downAfter = 64                   // attempts in a row that did not reach an origin; then one is enough
	paceEach  = 2 * time.Millisecond // of a pause for each paced webhook: all of them make 500 attempts a second at most
	paceLeast = 10 * time.Millisecond
	paceMost  = 5 * time.Second
)

// pace slows a webhook down whose attempts all come to nothing, so that thousands of them cost others next to nothing:
// one attempt at a time, with a pause between two that grows with the number of such webhooks. The first success ends
// it. It also holds a webhook whose receiver asked for a wait (RFC 9110, section 10.2.3), whatever else it answers. The
// hook's lock guards it.
type pace struct {
	failures int       // in a row
	until    time.Time // no attempt begins before
	held     time.Time // nor before this, which the receiver asked for; zero: it did not
	timer    *time.Timer
	set      bool // the timer will ask for a worker
}

// slow tells whether the webhook is paced.
func (p *pace) slow() bool { return p.failures >= paceAfter }

// workers is how many may be at work.
func (p *pace) workers(most int) int {
	if p.slow() {
		return 1
	}
	return most
}

// hold keeps attempts from beginning for as long as the receiver asked for, and tells how much longer that is than it
// was.
func (p *pace) hold(wait time.Duration) (longer time.Duration) {
	wait = min(wait, MaxRetryAfter)
	if longer = wait - max(p.holding(), 0); longer > 0 {
		p.held = time.Now().Add(wait)
	}
	return longer
}

// holding is how long the receiver's wait still is.
func (p *pace) holding() time.Duration {
	if p.held.IsZero() {
		return 0
	}
	wait := time.Until(p.held)
	if wait <= 0 {
		p.held = time.Time{}
	}
	return wait
}

// resting tells whether the webhook has a pause now, and has a worker asked for at its end. One that is deleted or
// disabled has none: what it has is put away, and nothing is sent.
func (p *pace) resting(h *hook) bool {
	wait := p.holding()
	if p.slow() {
		wait = max(wait, time.Until(p.until))
	}
	if wait <= 0 || !h.conf.Load().open() {
		return false
	}
	if p.set {
		return true
	}
	p.set = true
	if p.timer != nil {
		p.timer.Reset(wait)
		return true
	}
	p.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		h.pace.set = false
		h.mu.Unlock()
		h.kick()
	})
	return true
}

// note takes in how an attempt ended; down: nobody reaches the origin. paced counts the webhooks that are paced.
func (p *pace) note(ok, down bool, paced *atomic.Int64) {
	if ok {
		p.reset(paced)
		return
	}
	was := p.slow()
	if p.failures++; down {
		p.failures = max(p.failures, paceAfter)
	}
	if !was && p.slow() {
		paced.Add(1)
	}
	if p.slow() {
		pause := min(max(time.Duration(paced.Load())*paceEach, paceLeast), paceMost)
		// Those that failed together do not come back together.
		p.until = time.Now().Add(pause/2 + time.Duration(rand.Int64N(int64(pause))))
	}
}

// reset forgets what was noted.
func (p *pace) reset(paced *atomic.Int64) {
	if p.slow() {
		paced.Add(-1)
	}
	p.failures, p.until = 0, time.Time{}
}

func (p *pace) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
