package engine

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/store"
)

// Whatever came and went: nobody is in line who could have a place.
func TestNobodyWaitsBesideAPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var working []*hook
		p := newPlaces(rapid.Int64Range(1, 24).Draw(t, "places"), func(h *hook) { working = append(working, h) })
		hooks := make([]*hook, 20)
		for i := range hooks {
			hooks[i] = &hook{tenant: string(rune('a' + i%3))}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if n := len(working); n > 0 && rapid.Bool().Draw(t, "leave") {
				i := rapid.IntRange(0, n-1).Draw(t, "who")
				h := working[i]
				working = append(working[:i], working[i+1:]...)
				p.leave(h)
			} else {
				p.ask(hooks[rapid.IntRange(0, len(hooks)-1).Draw(t, "webhook")])
			}
			for h := range p.waiting {
				if p.share.would(h, 1) {
					t.Fatalf("a webhook of tenant %s waits, and there is a place for it", h.tenant)
				}
			}
		}
	})
}

// Of whatever waits a commit takes something, each tenant's in order, and leaves the rest.
func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*accepted
		for range rapid.IntRange(1, 12).Draw(t, "requests") {
			list = append(list, &accepted{sub: store.Submission{Tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant")},
				size: rapid.Int64Range(1, 200).Draw(t, "size")})
		}
		left := map[string][]*accepted{}
		for _, a := range list {
			left[a.sub.Tenant] = append(left[a.sub.Tenant], a)
		}
		for len(list) > 0 {
			now, rest := divide(list, 100)
			if len(now) == 0 || len(now)+len(rest) != len(list) {
				t.Fatalf("of %d a commit takes %d and leaves %d", len(list), len(now), len(rest))
			}
			for _, a := range now {
				if left[a.sub.Tenant][0] != a {
					t.Fatal("a request went before one that was there earlier")
				}
				left[a.sub.Tenant] = left[a.sub.Tenant][1:]
			}
			list = rest
		}
	})
}

