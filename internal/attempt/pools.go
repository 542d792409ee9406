package attempt

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// idleLimit is how long a connection is kept without use at most; the sweep comes up to a tenth later.
	idleLimit = 60 * time.Second
	// quietLimit is the same where the other side does not say: the shortest in wide use are 5 s, and who closes just
	// when a request comes loses it.
	quietLimit = 4 * time.Second
	// ageLimit is how long a connection takes requests: then the name is looked up and judged again, and a new one made.
	ageLimit = 10 * time.Second
	// aloneLeast and aloneMost are how long an origin's connections have one request each after one was lost on a
	// connection that was used before: four times as long each time, until none was for forgiven.
	aloneLeast = time.Second
	aloneMost  = 5 * time.Minute
	forgiven   = 10 * time.Minute
	// relieved is how many connections are closed for a dial that found no descriptor: others take of them too.
	relieved = 16
)

// pools has the connections by origin. Connections have no goroutine of their own: whoever takes one looks whether it
// is still good, and a timer that runs while there are any closes those that were not used for long.
type pools struct {
	idleLimit time.Duration
	ageLimit  time.Duration
	maxIdle   int // by origin
	maxKept   int // of all origins together
	timer     *time.Timer

	mu    sync.Mutex
	gen   uint64 // connections of an earlier one are not kept
	byKey map[string]*pool
	kept  *list.List // of *conn, all that byKey has; the one used last at the back

	required map[string]time.Time // the origins that require HTTP/1.1, and since when
}

// pool has the connections to one origin that requests can take; it goes when it has none, and none was lost lately.
type pool struct {
	idle []*conn // HTTP/1.1, not in use; the one used last at the end
	two  []*conn // HTTP/2, shared; they close themselves when they are idle for long

	suspect time.Time     // connections that were not heard of since are not used again
	lostAt  time.Time     // when a request was lost last on a connection that was used before; zero: never
	alone   time.Duration // for how long since then each connection has one request
}

// forgettable tells whether nothing of the pool is needed.
func (q *pool) forgettable(now time.Time) bool {
	return len(q.idle)+len(q.two) == 0 && (q.lostAt.IsZero() || now.Sub(q.lostAt) > forgiven)
}

// take gives the HTTP/2 connection with room for a request, or else the connection used last that is still good; nil:
// none. gen is the generation of a connection that is made instead.
func (p *pools) take(key string) (c *conn, gen uint64) {
	for {
		if c, gen = p.next(key); c == nil || c.h2 != nil || p.fresh(c, time.Now()) && c.alive() {
			return c, gen
		}
		c.Close()
	}
}

// fresh tells whether a connection that is not in use may be used again, by the times.
func (p *pools) fresh(c *conn, now time.Time) bool {
	limit := c.keep
	if limit == 0 {
		limit = quietLimit
	}
	return now.Sub(c.usedAt) < min(limit, p.idleLimit) && now.Sub(c.made) < p.ageLimit
}

func (p *pools) next(key string) (c *conn, gen uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.byKey[key]
	if q == nil {
		return nil, p.gen
	}
	now := time.Now()
	for i := 0; i < len(q.two); i++ {
		c := q.two[i]
		if now.Sub(c.made) >= p.ageLimit || !c.heardSince(q.suspect) {
			q.two = slices.Delete(q.two, i, i+1)
			i--
			p.kept.Remove(c.place)
			c.place = nil
			c.end()
		} else if c.h2.Reserve() == nil {
			c.usedAt = now
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
	now := time.Now()
	if c.gen != p.gen || now.Sub(c.made) >= p.ageLimit || c.h2 != nil && p.requires(key) ||
		c.h2 == nil && q != nil && (len(q.idle) >= p.maxIdle || now.Sub(q.lostAt) < q.alone) {
		return nil, false
	}
	if p.kept.Len() >= p.maxKept {
		oldest = p.dropOldest()
		q = p.byKey[key]
	}
	if q == nil {
		q = p.add(key)
	}
	if c.h2 != nil {
		q.two = append(q.two, c)
	} else {
		q.idle = append(q.idle, c)
	}
	c.key, c.usedAt, c.place = key, now, p.kept.PushBack(c)
	return oldest, true
}

// distrust closes the origin's connections over which nothing came since a request began that failed on one that was
// used before: whatever ended that one, such as a firewall that forgot it, may have ended them too. lost: the other side
// closed it, so that for a while none is used twice.
func (p *pools) distrust(key string, began time.Time, lost bool) {
	var old []*conn
	p.mu.Lock()
	q := p.byKey[key]
	if q == nil {
		q = p.add(key)
	}
	now := time.Now()
	if q.suspect = began; lost && now.Sub(q.lostAt) >= q.alone {
		if q.alone = min(4*q.alone, aloneMost); now.Sub(q.lostAt) > forgiven {
			q.alone = aloneLeast
		}
		q.lostAt = now
	}
	bad := func(c *conn) bool {
		if c.heardSince(q.suspect) {
			return false
		}
		p.kept.Remove(c.place)
		c.place = nil
		old = append(old, c)
		return true
	}
	q.idle, q.two = slices.DeleteFunc(q.idle, bad), slices.DeleteFunc(q.two, bad)
	if q.forgettable(now) {
		delete(p.byKey, key)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.end()
	}
}

// add makes the pool of an origin. The lock is held.
func (p *pools) add(key string) *pool {
	if len(p.byKey) == 0 {
		p.timer.Reset(p.idleLimit / 10)
	}
	q := &pool{}
	p.byKey[key] = q
	return q
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
	if q.forgettable(time.Now()) {
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
	now := time.Now()
	for key, q := range p.byKey {
		gone := func(c *conn) bool {
			if c.h2 != nil && c.h2.Err() == nil && now.Sub(c.made) < p.ageLimit || c.h2 == nil && p.fresh(c, now) {
				return false
			}
			p.kept.Remove(c.place)
			c.place = nil
			old = append(old, c)
			return true
		}
		q.idle, q.two = slices.DeleteFunc(q.idle, gone), slices.DeleteFunc(q.two, gone)
		if q.forgettable(now) {
			delete(p.byKey, key)
		}
	}
	if len(p.byKey) > 0 {
		p.timer.Reset(p.idleLimit / 10)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.end()
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
