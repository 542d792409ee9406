package engine

import (
	"slices"
	"sync"
	"sync/atomic"
)

// places bounds the attempts under way: of all webhooks together, since each needs a descriptor, a stack and buffers,
// and of those with the same target, whosever they are, so that many webhooks are no hammer for one host. A worker
// needs both places, first the target's. Who gets none waits in line.
type places struct {
	share    *share
	atOrigin int64                // places of one origin
	start    func(*hook, *origin) // starts a worker; places' lock is held

	mu      sync.Mutex // guards what follows, and the origins; taken before any share's
	line    line       // who has a place at its origin
	waiting map[*hook]*origin
	origins map[string]*origin
	closed  bool

	waits atomic.Int64 // webhooks in line, for a look without the lock
}

// origin is a scheme, host and port that attempts go to.
type origin struct {
	key   string
	hooks int // whose target is there
	share *share
	line  line
	waits atomic.Int64 // webhooks in line, for a look without the lock
	lost  atomic.Int64 // attempts in a row that did not reach it, whosever
}

// note takes in whether an attempt reached the origin, and tells whether it is down: then a webhook there need not fail
// several times to be paced.
func (o *origin) note(reached bool) (down bool) {
	if reached {
		if o.lost.Load() > 0 {
			o.lost.Store(0)
		}
		return false
	}
	return o.lost.Add(1) >= downAfter
}

func newPlaces(total, atOrigin int64, start func(*hook, *origin)) *places {
	return &places{share: newShare(total), atOrigin: atOrigin, start: start, waiting: map[*hook]*origin{},
		origins: map[string]*origin{}}
}

// origin is the one with the key, for one webhook more; drop takes that back.
func (p *places) origin(key string) *origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[key]
	if o == nil {
		o = &origin{key: key, share: newShare(p.atOrigin)}
		p.origins[key] = o
	}
	o.hooks++
	return o
}

// drop is told that the webhook's target is no longer there: it does not wait for that one's place any more.
func (p *places) drop(h *hook, o *origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.hooks--
	if p.waiting[h] == o {
		delete(p.waiting, h)
		if o.line.remove(h) {
			o.waits.Add(-1)
		} else {
			p.line.remove(h)
			p.waits.Add(-1)
			o.share.give(h, 1)
			p.admit(o)
		}
	}
	p.forget(o)
}

// forget forgets an origin that nobody has and no attempt goes to.
func (p *places) forget(o *origin) {
	if o.hooks == 0 && o.share.used == 0 {
		delete(p.origins, o.key)
	}
}

// ask starts a worker of the webhook now, or, when it has none, as soon as there is a place.
func (p *places) ask(h *hook, o *origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.waiting[h]; ok || p.closed {
		return
	}
	if o.share.take(h, 1) {
		p.enter(h, o)
	} else if !o.share.holds(h) {
		p.waiting[h] = o
		o.line.add(h)
		o.waits.Add(1)
	}
}

// enter starts a worker that has its place at the origin, or lets it wait for the one among all.
func (p *places) enter(h *hook, o *origin) {
	if p.share.take(h, 1) {
		p.start(h, o)
	} else if p.share.holds(h) {
		o.share.give(h, 1) // those it has go on
	} else {
		p.waiting[h] = o
		p.line.add(h)
		p.waits.Add(1)
	}
}

// leave gives a worker's places back, and places to those next in line who may have one now: where a tenant leaves, its
// part for others may grow by more than the one place.
func (p *places) leave(h *hook, o *origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share.give(h, 1)
	o.share.give(h, 1)
	p.admit(o)
	p.forget(o)
}

// admit gives the places that are free, those of the origin first.
func (p *places) admit(o *origin) {
	if p.closed {
		return
	}
	for next := o.line.next(o.share); next != nil; next = o.line.next(o.share) {
		delete(p.waiting, next)
		o.waits.Add(-1)
		p.enter(next, o)
	}
	for next := p.line.next(p.share); next != nil; next = p.line.next(p.share) {
		at := p.waiting[next]
		delete(p.waiting, next)
		p.waits.Add(-1)
		p.start(next, at)
	}
}

// contended tells whether somebody waits whom a place at the origin may help: then a worker gives its own up after each
// delivery.
func (p *places) contended(o *origin) bool { return p.waits.Load() > 0 || o.waits.Load() > 0 }

// close lets no worker start any more.
func (p *places) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// line is who waits for a place, tenant by tenant, and within a tenant webhook by webhook.
type line struct {
	hooks   map[string][]*hook // of a tenant
	tenants []string           // those with any, in the order of their turns
}

func (l *line) add(h *hook) {
	if l.hooks == nil {
		l.hooks = map[string][]*hook{}
	}
	if len(l.hooks[h.tenant]) == 0 {
		l.tenants = append(l.tenants, h.tenant)
	}
	l.hooks[h.tenant] = append(l.hooks[h.tenant], h)
}

// next takes the first webhook that may have a place out of the line, and the place; nil: there is none.
func (l *line) next(s *share) *hook {
	for i, tenant := range l.tenants {
		h := l.hooks[tenant][0]
		if !s.take(h, 1) {
			continue
		}
		l.tenants = append(l.tenants[:i], l.tenants[i+1:]...)
		if l.hooks[tenant] = l.hooks[tenant][1:]; len(l.hooks[tenant]) > 0 {
			l.tenants = append(l.tenants, tenant) // its next turn comes after the others'
		} else {
			delete(l.hooks, tenant)
		}
		return h
	}
	return nil
}

// remove takes the webhook out of the line; false: it is not in it.
func (l *line) remove(h *hook) bool {
	i := slices.Index(l.hooks[h.tenant], h)
	if i < 0 {
		return false
	}
	if l.hooks[h.tenant] = slices.Delete(l.hooks[h.tenant], i, i+1); len(l.hooks[h.tenant]) == 0 {
		delete(l.hooks, h.tenant)
		l.tenants = slices.DeleteFunc(l.tenants, func(t string) bool { return t == h.tenant })
	}
	return true
}
