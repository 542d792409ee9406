package engine

import "sync"

// share divides what there is only so much of, bytes or places, among webhooks and their tenants. Each may hold as much
// as is free, a webhook half of that: so one that takes all it can leaves a third to others, ten of them still leave
// something, and whoever holds nothing finds room. (In switches this is known as dynamic thresholds: Choudhury and
// Hahne, 1998.)
type share struct {
	mu      sync.Mutex
	total   int64
	used    int64
	tenants map[string]int64
	hooks   map[*hook]int64 // of those that hold something
}

func newShare(total int64) *share {
	return &share{total: total, tenants: map[string]int64{}, hooks: map[*hook]int64{}}
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
	return n <= free && (hook == 0 || hook+n <= free/2) && (tenant == 0 || tenant+n <= free)
}

// add gives n whether there is room or not.
func (s *share) add(h *hook, n int64) {
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
	free := s.total - s.used
	return max(0, min(free/2-s.hooks[h], free-s.tenants[h.tenant]))
}

// over lists the webhooks that hold more than they would be given now, and how much: others came since.
func (s *share) over() map[*hook]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.total - s.used
	out := map[*hook]int64{}
	for h, n := range s.hooks {
		if n > free/2 {
			out[h] = n - free/2
		} else if t := s.tenants[h.tenant]; t > free {
			out[h] = n * (t - free) / t // each of the tenant's gives in proportion
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
