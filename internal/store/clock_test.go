package store

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClockTakesNoStep(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, time.Hour, -time.Hour, 30 * 24 * time.Hour,
		-30 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set time.Duration
				c := &Clock{Step: func() time.Duration { return set }}
				before := c.Now()
				set = step
				if got := c.Now().Sub(before); got != 0 {
					t.Fatalf("Now moved by %v at the step, want 0", got)
				}
				if got := c.Off(); got != step {
					t.Errorf("Off = %v, want %v", got, step)
				}
				last := before
				for range 600 { // ten minutes
					time.Sleep(time.Second)
					now := c.Now()
					if d := now.Sub(last); d < 900*time.Millisecond || d > 1100*time.Millisecond {
						t.Fatalf("a second took %v", d)
					}
					last = now
				}
				want := min(step.Abs(), time.Minute)
				if got := (last.Sub(before) - 10*time.Minute).Abs(); got != want {
					t.Errorf("in ten minutes it followed by %v, want %v", got, want)
				}
			})
		})
	}
}
