package engine

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The pauses: none before the fifth failure in a row, then by the number of paced webhooks, so that all of them make
// 500 attempts a second at most; half to one and a half.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			failures int
			paced    int64 // others
			want     time.Duration
		}{
			{1, 10, 0}, {paceAfter - 1, 10, 0}, {paceAfter, 0, paceLeast}, {paceAfter, 4, paceLeast}, {paceAfter, 5,
				12 * time.Millisecond},
			{paceAfter, 1999, 4 * time.Second}, {paceAfter, 2498, 4998 * time.Millisecond}, {paceAfter, 2499, paceMost},
			{paceAfter, 2500, paceMost}, {paceAfter, 1_000_000, paceMost},
		} {
			least, most := time.Hour, time.Duration(0)
			for range 300 {
				var paced atomic.Int64
				paced.Store(c.paced)
				p := pace{failures: c.failures - 1}
				p.note(false, false, &paced)
				if slow := c.want > 0; p.failures != c.failures || p.slow() != slow || p.until.IsZero() == slow ||
					paced.Load() > c.paced != slow {
					t.Fatalf("after %d failures: %d are noted, slow %v, %d paced", c.failures, p.failures, p.slow(),
						paced.Load())
				}
				if c.want > 0 {
					least, most = min(least, time.Until(p.until)), max(most, time.Until(p.until))
				}
			}
			if want := c.want; want > 0 &&
				(least < want/2 || least > want*6/10 || most >= want*3/2 || most < want*14/10) {
				t.Errorf("with %d others: pauses of %v to %v, want %v give or take half", c.paced, least, most, want)
			}
		}
	})
}

func TestPaceEndsWithASuccess(t *testing.T) {
	p, paced := pace{}, new(atomic.Int64)
	for i, want := range []int{32, 32, 32, 32, 1, 1} {
		p.note(false, false, paced)
		if got := p.workers(32); got != want {
			t.Errorf("after %d failures %d may be at work, want %d", i+1, got, want)
		}
	}
	if paced.Load() != 1 {
		t.Errorf("%d are counted as paced, want 1", paced.Load())
	}
	for range 2 {
		p.note(true, false, paced)
		if p.slow() || p.workers(32) != 32 || paced.Load() != 0 {
			t.Errorf("it is paced after a success, or %d are counted", paced.Load())
		}
	}
}

// A pause lasts until its end, to the nanosecond, and a worker is asked for then, once for each pause.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quiet(t, Config{})
		p := &h.pace
		rests := func(wait time.Duration, want bool) {
			t.Helper()
			h.mu.Lock()
			defer h.mu.Unlock()
			p.until = time.Now().Add(wait)
			if got := p.resting(h); got != want || p.set != want {
				t.Errorf("with %v to go: resting %v, a timer %v, want %v", wait, got, p.set, want)
			}
		}
		p.failures = paceAfter - 1
		rests(time.Minute, false)
		p.failures = paceAfter
		rests(-1, false)
		rests(0, false)
		for range 2 { // the second one sets the same timer again
			rests(10*time.Second, true)
			rests(20*time.Second, true) // the timer is not moved
			time.Sleep(10*time.Second - 1)
			synctest.Wait()
			h.mu.Lock()
			if !p.set {
				t.Error("the timer fired early")
			}
			h.mu.Unlock()
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			h.mu.Lock()
			if p.set {
				t.Error("the timer did not fire")
			}
			h.mu.Unlock()
		}
	})
}
