package engine

import "sync"

// share divides what there is only so much of, bytes or places, among tenants and their webhooks. A tenant may hold as
// much as is free, so that one alone leaves half to others, and ten still leave something. Of what its tenant could
// still take a webhook may hold half, so that it leaves its tenant's others room, too. Whoever holds nothing finds
// something. (In switches this is known as dynamic thresholds: Choudhury and Hahne, 1998.)
type share struct {
	mu      sync.Mutex
	total   int64
	used    int64
	tenants map[string]int64
	hooks   map[*hook]int64 // of those that hold something
}

func newShare(total int64) *share {
	return &share{total: total}
}

// take gives n to the webhook; false: it has its part, or nothing is left. Who holds nothing may go over its part.
func (s *share) take(h *hook, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.allows(h, n) {
		return false
	}
	s.add(h, n)
	return true
}

func (s *share) allows(h *hook, n int64) bool {
	free := s.total - s.used
	hook, tenant := s.hooks[h], s.tenants[h.tenant]
	return n <= free && (tenant == 0 || tenant+n <= free) && (hook == 0 || hook+n <= (free-tenant)/2)
}

// add gives n whether there is room or not.
func (s *share) add(h *hook, n int64) {
	if s.hooks == nil {
		s.tenants, s.hooks = map[string]int64{}, map[*hook]int64{}
	}
	s.used += n
	s.hooks[h] += n
	s.tenants[h.tenant] += n
}

// give takes n back.
func (s *share) give(h *hook, n int64) {
	s.mu.Lock()
	s.remove(h, n)
	s.mu.Unlock()
}

func (s *share) remove(h *hook, n int64) {
	s.used -= n
	if s.hooks[h] -= n; s.hooks[h] == 0 {
		delete(s.hooks, h)
	}
	if s.tenants[h.tenant] -= n; s.tenants[h.tenant] == 0 {
		delete(s.tenants, h.tenant)
	}
}

// part is how much more the webhook would be given now.
func (s *share) part(h *hook) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.total - s.used - s.tenants[h.tenant]
	return max(0, min(left, left/2-s.hooks[h]))
}

// over lists the webhooks that hold more than they would be given now, and how much: others came since.
func (s *share) over() map[*hook]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.total - s.used
	out := map[*hook]int64{}
	for h, n := range s.hooks {
		tenant := s.tenants[h.tenant]
		if part := (free - tenant) / 2; tenant > free {
			out[h] = n * (tenant - free) / tenant // each of the tenant's gives in proportion
		} else if n > part {
			out[h] = n - part
		}
	}
	return out
}

// holds tells whether the webhook holds anything.
func (s *share) holds(h *hook) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks[h] > 0
}

// would tells whether take would give n now.
func (s *share) would(h *hook, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allows(h, n)
}
