package postgres

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClockTakesNoStep: a database's clock that is set moves the time by nothing at once, in whatever direction.
func TestClockTakesNoStep(t *testing.T) {
	for _, step := range []time.Duration{0, 10 * time.Millisecond, time.Second, -time.Second, time.Hour, -time.Hour,
		30 * 24 * time.Hour, -30 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c clock
				const ahead = -42 * time.Minute // of the database's clock from this machine's
				c.tell(time.Now(), time.Now().Add(ahead))
				start := c.Now()
				if got := time.Until(start); got != ahead {
					t.Fatalf("Now after the first answer is %v ahead, want %v", got, ahead)
				}
				tell := func() { c.tell(time.Now(), time.Now().Add(ahead+step)) }
				tell()
				if got := c.Now().Sub(start); got != 0 {
					t.Fatalf("Now moved by %v at the step, want 0", got)
				}
				last := start
				for range 600 { // five minutes
					time.Sleep(500 * time.Millisecond)
					tell()
					now := c.Now()
					if d := now.Sub(last); d < 450*time.Millisecond || d > 550*time.Millisecond {
						t.Fatalf("half a second took %v", d)
					}
					last = now
				}
				want := min(step.Abs(), 30*time.Second)
				if want == 10*time.Millisecond {
					want = 0 // it is too small to matter
				}
				if got := (last.Sub(start) - 5*time.Minute).Abs(); (got - want).Abs() > 20*time.Millisecond {
					t.Errorf("in five minutes it followed by %v, want %v", got, want)
				}
			})
		})
	}
}

// TestClockSlowAnswer: what the way of an answer explains is no step.
func TestClockSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		c.tell(time.Now(), time.Now())
		asked := time.Now()
		time.Sleep(2 * time.Second)
		c.tell(asked, time.Now()) // it was on its way back for no time, or for 2 seconds
		time.Sleep(time.Minute)
		if got := time.Until(c.Now()); got != 0 {
			t.Errorf("Now is %v off, want 0", got)
		}
	})
}
