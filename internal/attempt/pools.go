package attempt

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// idleLimit is how long a connection is kept without use; the sweep comes up to a tenth later.
	idleLimit = 60 * time.Second
	// relieved is how many connections are closed for a dial that found no descriptor: others take of them too.
	relieved = 16
)

// pools has the connections by origin. Connections have no goroutine of their own: whoever takes one looks whether it
// is still good, and a timer that runs while there are any closes those that were not used for long.
type pools struct {
	idleLimit time.Duration
	maxIdle   int // by origin
	maxKept   int // of all origins together
	timer     *time.Timer

	mu    sync.Mutex
	gen   uint64 // connections of an earlier one are not kept
	byKey map[string]*pool
	kept  *list.List // of *conn, all that byKey has; the one used last at the back
}

// pool has the connections to one origin that requests can take; it goes when it has none.
type pool struct {
	idle []*conn // HTTP/1.1, not in use; the one used last at the end
	two  []*conn // HTTP/2, shared; they close themselves when they are idle for long
}

// take gives the HTTP/2 connection with room for a request, or else the connection used last that is still good; nil:
// none. gen is the generation of a connection that is made instead.
func (p *pools) take(key string) (c *conn, gen uint64) {
	for {
		if c, gen = p.next(key); c == nil || c.h2 != nil || time.Since(c.usedAt) < p.idleLimit && c.alive() {
			return c, gen
		}
		c.Close()
	}
}

func (p *pools) next(key string) (c *conn, gen uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if q == nil {
		return nil, p.gen
	}
	for _, c := range q.two {
		if c.h2.Reserve() == nil {
			c.usedAt = time.Now()
			p.kept.MoveToBack(c.place)
			return c, p.gen
		}
	}
	if n := len(q.idle) - 1; n >= 0 {
		c, q.idle[n] = q.idle[n], nil
		q.idle = q.idle[:n]
		p.kept.Remove(c.place)
		c.place = nil
	}
	return c, p.gen
}

// put keeps a connection for other requests; false: there is no place for it. When all places are taken, the connection
// that was not used for longest goes, whosever it is.
func (p *pools) put(key string, c *conn) bool {
	oldest, ok := p.keep(key, c)
	if oldest != nil {
		oldest.end()
	}
	return ok
}

func (p *pools) keep(key string, c *conn) (oldest *conn, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if c.gen != p.gen || c.h2 == nil && q != nil && len(q.idle) >= p.maxIdle {
		return nil, false
	}
	if p.kept.Len() >= p.maxKept {
		oldest = p.dropOldest()
		q = p.byKey[key]
	}
	if q == nil {
		if len(p.byKey) == 0 {
			p.timer.Reset(p.idleLimit / 10)
		}
		q = &pool{}
		p.byKey[key] = q
	}
	if c.h2 != nil {
		q.two = append(q.two, c)
	} else {
		q.idle = append(q.idle, c)
	}
	c.key, c.usedAt, c.place = key, time.Now(), p.kept.PushBack(c)
	return oldest, true
}

// dropOldest takes out the connection that was not used for longest; nil: there is none. The lock is held.
func (p *pools) dropOldest() *conn {
	front := p.kept.Front()
	if front == nil {
		return nil
	}
	c := front.Value.(*conn)
	q := p.byKey[c.key]
	same := func(x *conn) bool { return x == c }
	if c.h2 != nil {
		q.two = slices.DeleteFunc(q.two, same)
	} else {
		q.idle = slices.DeleteFunc(q.idle, same)
	}
	p.drop(c, q)
	return c
}

// drop forgets a connection that is no longer in its pool q. The lock is held.
func (p *pools) drop(c *conn, q *pool) {
	p.kept.Remove(c.place)
	c.place = nil
	if len(q.idle)+len(q.two) == 0 {
		delete(p.byKey, c.key)
	}
}

// relieve closes the connections that were not used for longest, so that others find descriptors; false: there were
// none.
func (p *pools) relieve() bool {
	var old []*conn
	p.mu.Lock()
	for range relieved {
		if c := p.dropOldest(); c != nil {
			old = append(old, c)
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		c.end()
	}
	return len(old) > 0
}

// sweep closes the connections that were not used for long, and forgets those of HTTP/2 that have ended.
func (p *pools) sweep() {
	var old []*conn
	p.mu.Lock()
	for key, q := range p.byKey {
		gone := func(c *conn) bool {
			if c.h2 != nil && c.h2.Err() == nil || c.h2 == nil && time.Since(c.usedAt) < p.idleLimit {
				return false
			}
			p.kept.Remove(c.place)
			c.place = nil
			if c.h2 == nil {
				old = append(old, c)
			}
			return true
		}
		q.idle, q.two = slices.DeleteFunc(q.idle, gone), slices.DeleteFunc(q.two, gone)
		if len(q.idle)+len(q.two) == 0 {
			delete(p.byKey, key)
		}
	}
	if len(p.byKey) > 0 {
		p.timer.Reset(p.idleLimit / 10)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// closeIdle closes the connections that are not in use now, and the others when they no longer are.
func (p *pools) closeIdle() {
	p.mu.Lock()
	old := p.kept
	p.kept = list.New()
	p.byKey = map[string]*pool{}
	p.gen++
	p.timer.Stop()
	p.mu.Unlock()
	for e := old.Front(); e != nil; e = e.Next() {
		e.Value.(*conn).end()
	}
}
