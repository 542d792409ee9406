package attempt

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// bothKinds is a sender with a kept connection of HTTP/1.1 and one of HTTP/2, to two origins.
func bothKinds(t *testing.T) (s *Sender, one, two *Target) {
	t.Helper()
	srv, s := newSecure(t, true, nil, hello)
	w := newWire(t, say(ok204))
	one, two = w.target(t, webhook.POST, nil), srv.target(t, 5*time.Second)
	mustSucceed(t, s, one)
	mustSucceed(t, s, two)
	return s, one, two
}

func TestSweepLeavesWhatIsFresh(t *testing.T) {
	t.Parallel()
	s, one, two := bothKinds(t)
	s.pools.sweep()
	if n := idle(s); n != 2 || origins(s) != 2 {
		t.Fatalf("%d connections of %d origins are kept after a sweep, want 2 of 2", n, origins(s))
	}
	p := &s.pools
	p.mu.Lock()
	c, h2 := p.byKey[one.poolKey].idle[0], p.byKey[two.poolKey].two[0]
	c.usedAt = time.Now().Add(-p.idleLimit)
	h2.usedAt = c.usedAt
	p.mu.Unlock()
	p.sweep()
	if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection that was swept is not closed: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byKey[one.poolKey] != nil || p.byKey[two.poolKey] == nil || p.kept.Len() != 1 {
		t.Error("HTTP/1.1 is kept for longer than its time, or HTTP/2, which ends by itself, is not")
	}
}

// An origin has both kinds when it stopped to offer HTTP/2, or began to. As long as it has one of either it stays.
func TestOriginWithBothKinds(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(p *pools){
		"sweep":      func(p *pools) { p.sweep() },
		"dropOldest": func(p *pools) { p.dropOldest() },
	} {
		s, one, two := bothKinds(t)
		p := &s.pools
		p.mu.Lock()
		q, c := p.byKey[two.poolKey], p.byKey[one.poolKey].idle[0]
		delete(p.byKey, one.poolKey)
		q.idle, c.key = []*conn{c}, two.poolKey
		if name == "dropOldest" { // one more, which goes
			old := &conn{key: two.poolKey}
			old.place = p.kept.PushFront(old)
			q.idle = append(q.idle, old)
		}
		p.mu.Unlock()
		act(p)
		if n := idle(s); n != 2 || origins(s) != 1 {
			t.Errorf("%s: %d connections of %d origins are kept, want 2 of 1", name, n, origins(s))
		}
	}
}

func TestRelieveClosesABoundedNumber(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, relieved - 1, relieved, relieved + 1} {
		s := wireSender(t)
		for range n {
			w := newWire(t, say(ok204))
			mustSucceed(t, s, w.target(t, webhook.POST, nil))
		}
		if got := s.pools.relieve(); got != (n > 0) || idle(s) != max(n-relieved, 0) {
			t.Errorf("relieve of %d connections = %v and leaves %d, want %d", n, got, idle(s), max(n-relieved, 0))
		}
	}
}

// What is drained of an answer by HTTP/2 is not reset: some receivers count resets, and shut out who has many. What
// goes on beyond the limit is.
func TestHTTP2BodyIsDrained(t *testing.T) {
	for n, want := range map[int]bool{
		MaxKept - 1: false, MaxKept: false, MaxKept + 1: false, maxDrain - 1: false, maxDrain: true,
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			reset := make(chan bool, 1) // sent to by the receiver
			srv, s := newSecure(t, true, nil, func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write(make([]byte, n))
				_ = http.NewResponseController(w).Flush()
				wait := 200 * time.Millisecond // in which a reset would have come
				if want {
					wait = 4 * time.Second
				}
				select {
				case <-r.Context().Done():
					reset <- true
				case <-time.After(wait):
					reset <- false
				}
			})
			if r := mustSucceed(t, s, srv.target(t, 10*time.Second)); len(r.Response) != min(n, MaxKept) {
				t.Errorf("%d bytes are kept, want %d", len(r.Response), min(n, MaxKept))
			}
			if got := <-reset; got != want {
				t.Errorf("an answer of %d bytes that goes on is reset: %v, want %v", n, got, want)
			}
		})
	}
}
