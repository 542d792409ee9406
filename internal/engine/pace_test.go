package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// The pause after each failure in a row: none before the fifth, then doubled, at most about a second; half to one and a
// half.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for failures, want := range map[int]time.Duration{
			1: 0, 4: 0, 5: 10 * time.Millisecond, 6: 20 * time.Millisecond, 7: 40 * time.Millisecond, 10: 320 * time.Millisecond,
			11: 640 * time.Millisecond, 12: time.Second, 13: time.Second, 100: time.Second, 1000: time.Second,
		} {
			least, most := time.Hour, time.Duration(0)
			for range 300 {
				p := pace{failures: failures - 1}
				p.note(false)
				if slow := want > 0; p.failures != failures || p.slow() != slow || p.until.IsZero() == slow {
					t.Fatalf("after %d failures: %d are noted, slow %v", p.failures, failures, p.slow())
				}
				if want > 0 {
					least, most = min(least, time.Until(p.until)), max(most, time.Until(p.until))
				}
			}
			if want == 0 {
				continue
			}
			if least < want/2 || least > want*6/10 || most >= want*3/2 || most < want*14/10 {
				t.Errorf("after %d failures: pauses of %v to %v, want %v give or take half", failures, least, most, want)
			}
		}
	})
}

func TestPaceEndsWithASuccess(t *testing.T) {
	p := pace{}
	for i, want := range []int{32, 32, 32, 32, 1, 1} {
		p.note(false)
		if got := p.workers(32); got != want {
			t.Errorf("after %d failures %d may be at work, want %d", i+1, got, want)
		}
	}
	p.note(true)
	if p.slow() || p.workers(32) != 32 {
		t.Error("it is paced after a success")
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
