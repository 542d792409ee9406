package attempt

import "time"

// Limits of what is remembered of receivers that require HTTP/1.1 (RFC 9113, section 7, HTTP_1_1_REQUIRED).
const (
	requiredFor = time.Hour
	maxRequired = 4096 // origins; those that asked earliest are forgotten first
)

// protocols are those that a new connection to an origin offers (RFC 7301).
func (p *pools) protocols(key string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requires(key) {
		return []string{"http/1.1"}
	}
	return []string{"h2", "http/1.1"}
}

// requires tells whether an origin requires HTTP/1.1. The lock is held.
func (p *pools) requires(key string) bool {
	at, ok := p.required[key]
	return ok && time.Since(at) < requiredFor
}

// require remembers that an origin requires HTTP/1.1. Its HTTP/2 connections take no more requests.
func (p *pools) require(key string) {
	p.mu.Lock()
	if p.required == nil {
		p.required = map[string]time.Time{}
	}
	if _, ok := p.required[key]; !ok && len(p.required) >= maxRequired {
		oldest := key
		for k, at := range p.required {
			if oldest == key || at.Before(p.required[oldest]) {
				oldest = k
			}
		}
		delete(p.required, oldest)
	}
	p.required[key] = time.Now()
	var old []*conn
	if q := p.byKey[key]; q != nil {
		old, q.two = q.two, nil
		for _, c := range old {
			p.drop(c, q)
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		c.end()
	}
}
