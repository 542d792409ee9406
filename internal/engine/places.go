package engine

import (
	"sync"
	"sync/atomic"
)

// places bounds the attempts under way of all webhooks: each needs a descriptor, a stack and buffers. Who gets no place
// waits in line, tenant by tenant, and within a tenant webhook by webhook.
type places struct {
	share *share
	start func(*hook) // starts a worker; places' lock is held

	mu      sync.Mutex // guards what follows; taken before share's
	lines   map[string][]*hook
	tenants []string // those with a line, in the order of their turns
	waiting map[*hook]struct{}
	closed  bool

	line atomic.Int64 // webhooks that wait, for a look without the lock
}

func newPlaces(total int64, start func(*hook)) *places {
	return &places{share: newShare(total), start: start, lines: map[string][]*hook{}, waiting: map[*hook]struct{}{}}
}

// ask starts a worker of the webhook now, or, when it has none, as soon as there is a place.
func (p *places) ask(h *hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.waiting[h]; ok || p.closed {
		return
	}
	if p.share.take(h, 1) {
		p.start(h)
	} else if !p.share.holds(h) {
		p.waiting[h] = struct{}{}
		p.line.Add(1)
		if len(p.lines[h.tenant]) == 0 {
			p.tenants = append(p.tenants, h.tenant)
		}
		p.lines[h.tenant] = append(p.lines[h.tenant], h)
	}
}

// leave gives a worker's place back, and places to those next in line who may have one now: where a tenant leaves, its
// part for others may grow by more than the one place.
func (p *places) leave(h *hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share.give(h, 1)
	for next := p.next(); next != nil; next = p.next() {
		p.start(next)
	}
}

// next takes the first webhook that may have a place out of its line, and the place.
func (p *places) next() *hook {
	if p.closed {
		return nil
	}
	for i, tenant := range p.tenants {
		line := p.lines[tenant]
		h := line[0]
		if !p.share.take(h, 1) {
			continue
		}
		delete(p.waiting, h)
		p.line.Add(-1)
		p.tenants = append(p.tenants[:i], p.tenants[i+1:]...)
		if line = line[1:]; len(line) > 0 {
			p.lines[tenant] = line
			p.tenants = append(p.tenants, tenant) // its next turn comes after the others'
		} else {
			delete(p.lines, tenant)
		}
		return h
	}
	return nil
}

// contended tells whether somebody waits: then a worker gives its place up after each delivery.
func (p *places) contended() bool { return p.line.Load() > 0 }

// close lets no worker start any more.
func (p *places) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}
