package store

import (
	"sync"
	"time"
)

// Clock is a process's time: the machine's time when it was first read, and from then on monotonic time. A step of the
// machine's clock, in whatever direction, moves it by nothing at once; it follows slowly, so that it is right again
// after a while and never goes back. The zero value reads the machine's clock; it must not be copied.
type Clock struct {
	// Step is for tests: how far the machine's clock was set since the start, as if by hand; nil: it was not.
	Step func() time.Duration

	mu   sync.Mutex
	now  time.Time // as last told, without a monotonic reading
	read time.Time // by the machine's clock then, with one
}

// follow is how much of the time that passes may go into catching up with the machine's clock: a tenth.
const follow = 10

// Now is the time, UTC, no earlier than what it told before.
func (c *Clock) Now() time.Time {
	now, _ := c.look()
	return now
}

// Off is how far the machine's clock is ahead of this one; negative: behind. It is 0 unless the machine's was set.
func (c *Clock) Off() time.Duration {
	now, wall := c.look()
	return wall.Sub(now)
}

func (c *Clock) look() (now, wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now()
	wall = t.Round(0).UTC()
	if c.Step != nil {
		wall = wall.Add(c.Step())
	}
	if c.read.IsZero() {
		c.now, c.read = wall, t
		return wall, wall
	}
	passed := t.Sub(c.read)
	behind := wall.Sub(c.now.Add(passed)) // negative: ahead
	c.now, c.read = c.now.Add(passed+min(max(behind, -passed/follow), passed/follow)), t
	return c.now, wall
}

// LongestWait is more than any delivery waits for its next attempt: a longest wait that a receiver may ask for, and
// some. What is due later was written by a clock that was ahead.
const LongestWait = 26 * time.Hour
