package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// noRows is a journal that has no room for waiting rows after the first commit that has some.
type noRows struct {
	*auditor
	seen bool
}

func (n *noRows) Commit(ctx context.Context, b *store.Batch) error {
	if len(b.Wait) > 0 && n.seen {
		return store.ErrFull
	}
	n.seen = n.seen || len(b.Wait) > 0
	return n.auditor.Commit(ctx, b)
}

// What a start finds, has no place for and could not write down yet is not passed by the recovery mark.
func TestMarkOfAStartThatFillsTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuditor(1)
		first := mustStart(t, engine.Config{Journal: a, Sender: senderFunc(hangs)}, hook(1, "a"))
		for range 300 {
			mustAccept(t, first, newEvent())
		}
		a.with(func() { a.dead = true })
		_ = first.Stop(ended)
		a.with(func() { a.dead = false })
		time.Sleep(2 * time.Minute)

		j := &noRows{auditor: a}
		held := hook(1, "a")
		held.Enabled, held.Version = false, 2
		second := engine.New(engine.Config{Journal: j, Sender: &receiver{}})
		if err := second.Start(t.Context(), []*webhook.Webhook{held}); err == nil {
			t.Error("Start = nil, want that the disk is full")
		}
		time.Sleep(time.Minute)
		_ = second.Stop(ended)
		a.all.Lock()
		defer a.all.Unlock()
		if len(a.passed) > 0 {
			t.Errorf("%d deliveries were passed: %s", len(a.passed), a.passed[0])
		}
	})
}
