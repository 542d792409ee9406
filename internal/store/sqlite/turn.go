package sqlite

import (
	"context"
	"sync/atomic"
	"time"
)

// turn lets one write at a time, in the order of asking, and tells how long the one under way takes.
type turn struct {
	token chan struct{} // capacity 1: has a value while somebody writes
	since *atomic.Int64 // when the write under way began, Unix nanoseconds; 0: none is
}

func newTurn() turn { return turn{make(chan struct{}, 1), new(atomic.Int64)} }

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

func (t turn) begun() { t.since.Store(time.Now().UnixNano()) }

// Unlock ends the turn.
func (t turn) Unlock() {
	t.since.Store(0)
	<-t.token
}

// taken is how long the write under way takes; 0: there is none.
func (t turn) taken() time.Duration {
	if since := t.since.Load(); since != 0 {
		return max(1, time.Duration(time.Now().UnixNano()-since))
	}
	return 0
}
