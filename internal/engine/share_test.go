package engine

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever was taken and given before: never more than there is, the parts add up, no tenant took over half, and a
// tenant that has nothing finds something unless everybody's least takes it all.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const total = 1 << 20
		s := newShare(total)
		hooks := []*hook{{tenant: "a"}, {tenant: "a"}, {tenant: "a"}, {tenant: "b"}, {tenant: "c"}}
		held := map[*hook][]int64{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			h := rapid.SampledFrom(hooks).Draw(t, "hook")
			if list := held[h]; len(list) > 0 && rapid.IntRange(0, 3).Draw(t, "give") == 0 {
				s.give(h, list[0])
				held[h] = list[1:]
				continue
			}
			n := rapid.Int64Range(1, 20_000).Draw(t, "n")
			would := s.would(h, n)
			if s.take(h, n) != would {
				t.Fatal("would says other than take does")
			}
			if would {
				held[h] = append(held[h], n)
			}
			var used int64
			tenants := map[string]int64{}
			for h, list := range held {
				for _, n := range list {
					used += n
					tenants[h.tenant] += n
				}
			}
			if used != s.used || used > total {
				t.Fatalf("%d are used, the share says %d of %d", used, s.used, total)
			}
			if would && len(held[h]) > 1 && tenants[h.tenant] > total/2 {
				t.Fatalf("tenant %s was given %d of %d", h.tenant, tenants[h.tenant], total)
			}
			if fresh := (&hook{tenant: "d"}); !s.would(fresh, 20_000) && total-used >= 20_000 {
				t.Fatalf("a tenant without anything finds nothing while %d are free", total-used)
			}
		}
	})
}

// The parts at the limits, one below and one above.
func TestShareLimits(t *testing.T) {
	a1, a2, b := &hook{tenant: "a"}, &hook{tenant: "a"}, &hook{tenant: "b"}
	for _, c := range []struct {
		name string
		has  map[*hook]int64
		h    *hook
		n    int64
		want bool
	}{
		{"all that is there, by who holds nothing", nil, a1, 100, true},
		{"more than there is", nil, a1, 101, false},
		{"a webhook up to half of what its tenant could have", map[*hook]int64{a1: 20}, a1, 10, true},
		{"a webhook beyond it", map[*hook]int64{a1: 20}, a1, 11, false},
		{"a tenant up to what is free", map[*hook]int64{a1: 30}, a2, 40, true},
		{"a tenant beyond it", map[*hook]int64{a1: 30}, a2, 41, false},
		{"another tenant, up to the last", map[*hook]int64{a1: 60}, b, 40, true},
		{"another tenant, beyond the last", map[*hook]int64{a1: 60}, b, 41, false},
	} {
		s := newShare(100)
		for h, n := range c.has {
			s.add(h, n)
		}
		if got := s.take(c.h, c.n); got != c.want {
			t.Errorf("%s: take(%d) = %v, want %v", c.name, c.n, got, c.want)
		}
	}
}

// Who waits for a place gets one in turn, tenant by tenant, when somebody leaves.
func TestPlacesInTurn(t *testing.T) {
	var started []*hook
	p := newPlaces(4, 100, func(h *hook, _ *origin) { started = append(started, h) })
	o := p.origin("receiver.example")
	var hooks []*hook
	for _, tenant := range []string{"a", "a", "a", "a", "a", "b", "c"} {
		hooks = append(hooks, &hook{tenant: tenant})
	}
	for _, h := range hooks {
		p.ask(h, o)
		p.ask(h, o) // no second one in line
	}
	// a has two of four; its third waits, b and c have one each.
	want := []*hook{hooks[0], hooks[1], hooks[5], hooks[6]}
	for len(started) < len(hooks) {
		if !p.contended(o) {
			t.Fatal("nobody is said to wait")
		}
		p.leave(started[len(started)-4], o)
		if len(started) > len(hooks) {
			break
		}
	}
	want = append(want, hooks[2], hooks[3], hooks[4])
	for i, h := range want {
		if i >= len(started) || started[i] != h {
			t.Fatalf("start %d was not webhook %d of tenant %s", i, i, h.tenant)
		}
	}
	if p.contended(o) {
		t.Error("somebody is said to wait")
	}
	for range 2 { // nobody is left in line, and whoever comes again gets a place at once
		p.leave(hooks[4], o)
	}
	p.ask(hooks[0], o)
	if want = append(want, hooks[0]); len(started) != len(want) {
		t.Errorf("%d workers were started, want %d", len(started), len(want))
	}
	p.close()
	p.ask(&hook{tenant: "d"}, o)
	if len(started) != len(want) {
		t.Error("a worker was started after close")
	}
}

// What a webhook would still be given, and what it holds over that since others came.
func TestPartAndOver(t *testing.T) {
	a1, a2, b := &hook{tenant: "a"}, &hook{tenant: "a"}, &hook{tenant: "b"}
	type of map[*hook]int64
	for _, c := range []struct {
		name string
		has  of
		part of
		over of
	}{
		{"nothing is taken", of{}, of{a1: 50, b: 50}, of{}},
		{"one holds its part exactly", of{a1: 25}, of{a1: 0, a2: 25, b: 37}, of{}},
		{"and one more", of{a1: 26}, of{a1: 0, a2: 24, b: 37}, of{a1: 2}},
		{"two of a tenant, which holds what is free", of{a1: 40, a2: 10}, of{a1: 0, a2: 0, b: 25}, of{a1: 40, a2: 10}},
		{"a tenant holds more than is free: in proportion", of{a1: 40, a2: 20}, of{a1: 0, a2: 0, b: 20},
			of{a1: 13, a2: 6}},
		{"there is another", of{a1: 10, b: 40}, of{a1: 10, a2: 20, b: 0}, of{b: 35}},
		{"all is taken", of{a1: 50, b: 50}, of{a1: 0, a2: 0, b: 0}, of{a1: 50, b: 50}},
	} {
		s := newShare(100)
		for h, n := range c.has {
			s.add(h, n)
		}
		for h, want := range c.part {
			if got := s.part(h); got != want {
				t.Errorf("%s: part = %d, want %d", c.name, got, want)
			}
			if s.holds(h) != (c.has[h] > 0) {
				t.Errorf("%s: holds = %v of %d", c.name, s.holds(h), c.has[h])
			}
		}
		if got := s.over(); !maps.Equal(got, c.over) {
			t.Errorf("%s: over = %v, want %v", c.name, slices.Collect(maps.Values(got)),
				slices.Collect(maps.Values(c.over)))
		}
		for h, n := range c.has {
			s.give(h, n)
		}
		if s.used != 0 || len(s.hooks)+len(s.tenants) != 0 {
			t.Errorf("%s: %d are used after all was given back, by %d and %d", c.name, s.used, len(s.hooks),
				len(s.tenants))
		}
	}
}
