package sqlite

import (
	"context"
	"sync/atomic"
	"time"
)

// turn lets one write at a time, in the order of asking, and tells how long the one under way takes.
type turn struct {
	token chan struct{} // capacity 1: has a value while somebody writes
	since *atomic.Int64 // when the write under way began, nanoseconds after base; 0: none is
	base  time.Time     // has a monotonic reading: a clock that is set makes no write long
}

func newTurn() turn { return turn{make(chan struct{}, 1), new(atomic.Int64), time.Now()} }

// Lock waits for the turn.
func (t turn) Lock() {
	t.token <- struct{}{}
	t.begun()
}

// TryLock takes the turn if it is free.
func (t turn) TryLock() bool {
	select {
	case t.token <- struct{}{}:
		t.begun()
		return true
	default:
		return false
	}
}

// LockWithin waits for the turn until ctx ends.
func (t turn) LockWithin(ctx context.Context) bool {
	select {
	case t.token <- struct{}{}:
		t.begun()
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) begun() { t.since.Store(max(1, int64(time.Since(t.base)))) }

// Unlock ends the turn.
func (t turn) Unlock() {
	t.since.Store(0)
	<-t.token
}

// taken is how long the write under way takes; 0: there is none.
func (t turn) taken() time.Duration {
	if since := t.since.Load(); since != 0 {
		return max(1, time.Since(t.base)-time.Duration(since))
	}
	return 0
}
