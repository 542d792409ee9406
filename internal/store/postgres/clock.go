package postgres

import (
	"sync"
	"time"
)

// clock is the database's time as this process follows it: what the first answer said, and from then on monotonic time.
// Neither a step of this machine's clock nor one of the database's moves it at once. The zero value is not usable: tell
// comes first.
type clock struct {
	mu   sync.Mutex
	now  time.Time     // as last told, without a monotonic reading
	read time.Time     // by this machine's clock then, with one
	off  time.Duration // of the database's clock from now, still to be followed
}

// followed is how much of the time that passes may go into following the database's clock: a tenth.
const followed = 10

// Now is the time, UTC, no earlier than what it told before.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass()
	return c.now
}

// pass moves the clock on; c.mu is held.
func (c *clock) pass() {
	t := time.Now()
	passed := t.Sub(c.read)
	step := min(max(c.off, -passed/followed), passed/followed)
	c.now, c.read, c.off = c.now.Add(passed+step), t, c.off-step
}

// tell takes the database's answer to a question that was asked (by this machine's clock) a moment ago. The first one
// sets the clock. Differences that are small, or that the way of the question and the answer explains, are left alone.
func (c *clock) tell(asked, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	half := time.Since(asked) / 2
	now = now.Add(half).UTC()
	if c.read.IsZero() {
		c.now, c.read = now, time.Now()
		return
	}
	c.pass()
	if c.off = now.Sub(c.now); c.off.Abs() <= half+20*time.Millisecond {
		c.off = 0
	}
}
