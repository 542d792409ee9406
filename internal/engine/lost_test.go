package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
)

// fenced is a journal that another node has taken over, which only Lease tells.
type fenced struct {
	*storetest.Memory
	asked atomic.Int64
}

func (f *fenced) Lease(ctx context.Context) error {
	if f.asked.Add(1) > 1000 {
		<-ctx.Done()
	}
	return store.ErrFenced
}

// A node that was taken over does not go round and round until its next commit tells it.
func TestFencedNodeIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fenced{Memory: storetest.NewMemory()}
		e := mustStart(t, engine.Config{Journal: j, Sender: &receiver{}}, hook(1, "a"))
		mustAccept(t, e, newEvent(), newEvent())
		time.Sleep(100 * time.Millisecond)
		if n := j.asked.Load(); n > 10 {
			t.Errorf("the lease was asked for %d times", n)
		}
		_ = e.Stop(ended)
	})
}
