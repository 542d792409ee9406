package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
)

// closedWay is a sender whose way out is closed until a time.
type closedWay struct {
	until time.Time
	asked atomic.Int64
}

func (c *closedWay) Send(context.Context, *attempt.Target, *event.Event) attempt.Result {
	c.asked.Add(1)
	if time.Now().Before(c.until) {
		return attempt.Result{At: time.Now(), Verdict: attempt.Local, Class: attempt.ClassProxy,
			Err: &netguard.ProxyError{Err: errors.New("no connection to it"), Outage: true}}
	}
	return attempt.Result{At: time.Now(), Verdict: attempt.Success, Sent: true, Status: 200}
}

// TestOutageOfTheProxy: however long the operator's proxy is away, no attempt of anybody's schedule is spent, and it is
// asked seldom.
func TestOutageOfTheProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, c := storetest.NewMemory(), &closedWay{until: time.Now().Add(5 * 24 * time.Hour)}
		e := mustStart(t, engine.Config{Journal: m, Sender: c, Concurrency: 1}, hook(1, "a"))
		mustAccept(t, e, newEvent())
		time.Sleep(5 * 24 * time.Hour)
		if o := outcomes(t, m, 1); len(o) != 0 || c.asked.Load() > 5*24*3600/4 {
			t.Errorf("%d attempts are on record after 5 days, and it was asked %d times, want none, seldom", len(o), c.asked.Load())
		}
		time.Sleep(time.Minute)
		if o := outcomes(t, m, 1); len(o) != 1 || o[0].Kind != store.Delivered || o[0].Attempt != 1 {
			t.Errorf("outcomes = %+v, want the first attempt delivered", o)
		}
		mustStop(t, e)
	})
}
