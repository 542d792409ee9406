package advisory_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	crowd  = 16 // goroutines
	rounds = 40 // operations of each
)

// tally counts what succeeded, by operation and object.
type tally struct {
	mu   sync.Mutex
	done map[[2]string]int // operation and ID
	ids  []string          // of sessions, as made
}

func (c *tally) add(op, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[[2]string{op, id}]++
	if op == "created" {
		c.ids = append(c.ids, id)
	}
}

// one is one of the last few sessions.
func (c *tally) one(rnd *rand.Rand) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.ids[max(0, len(c.ids)-8):]
	return last[rnd.IntN(len(last))]
}

// meddle does one random operation on the investor or one of its sessions.
func (c *tally) meddle(o *office, who advisory.Actor, rnd *rand.Rand, name string) {
	op, id, err := "", c.one(rnd), error(nil)
	switch n := rnd.IntN(100); {
	case n < 15:
		op, id, err = "updated", o.john.ID, update(o, who, renameInvestor(name))
	case n < 25:
		var x store.AdviceSession
		x, err = o.CreateSession(ctx, who, o.john.ID, store.AdviceSession{Title: name}, advisory.Once{})
		op, id = "created", x.ID
	case n < 40:
		_, err = o.UpdateSession(ctx, who, id, nil, retitle(name))
		op = "filled in"
	case n < 60:
		op, err = "completed", complete(o, who, id)
	case n < 70:
		op, err = "soft_deleted", o.SoftDeleteSession(ctx, who, id, nil)
	case n < 80:
		op, err = "restored", restoreSession(o, who, id)
	case n < 83:
		op, err = "deleted", o.DeleteSession(ctx, who, id, nil)
	case n < 86:
		op, err = "report.created", report(o, who, id)
	case n < 91:
		op, id, err = "soft_deleted", o.john.ID, o.SoftDeleteInvestor(ctx, who, o.john.ID, nil)
	default:
		op, id, err = "restored", o.john.ID, restore(o, who)
	}
	switch got := outcome(err); got {
	case "":
		c.add(op, id)
	case "not found", "completed", "not_completed", "deleted", "not_deleted", "busy":
	default:
		o.t.Errorf("%s of %s = %v, want success or a rule", op, id, err)
	}
}

// TestCrowd has many change the same investor and its sessions at once, until somebody may delete it for good.
func TestCrowd(t *testing.T) {
	for name, deletes := range map[string]bool{"it stays": false, "it is deleted": true} {
		t.Run(name, func(t *testing.T) {
			r, got := newPlatform(t)
			o := newOffice(t, r)
			c := &tally{done: map[[2]string]int{}, ids: []string{o.plan.ID, o.done.ID}}
			var calls atomic.Int64
			seed := rand.Uint64()
			t.Logf("the seed is %d", seed)
			moment := rand.New(rand.NewPCG(seed, crowd)).Int64N(crowd * rounds / 2)
			var wg sync.WaitGroup
			for g := range crowd {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(g)))
					who := []advisory.Actor{o.firm, o.ann}[g%2]
					for n := range rounds {
						if calls.Add(1) == moment+1 && deletes {
							err := o.DeleteInvestor(ctx, who, o.john.ID, nil)
							for outcome(err) == string(advisory.RuleBusy) { // others were faster ten times in a row
								err = o.DeleteInvestor(ctx, who, o.john.ID, nil)
							}
							if err != nil {
								t.Errorf("DeleteInvestor = %v, want nil", err)
							}
						}
						c.meddle(o, who, rnd, fmt.Sprintf("Name %d of %d", n, g))
					}
				})
			}
			wg.Wait()

			list, ids := o.events(t, o.firm.Tenant, 0)
			h := replay(t, list)
			c.wantEvents(o, h)
			if john := h.investor[o.john.ID]; john.gone != deletes {
				t.Errorf("deleted events of the investor = %v, want %v", john.gone, deletes)
			}
			if deletes {
				c.wantNothing(o, h)
			} else {
				c.wantVersions(o, h)
			}
			got.wantOnce(t, ids)
		})
	}
}

// wantEvents wants an event for each success and for nothing else; filling in has none.
func (c *tally) wantEvents(o *office, h *history) {
	o.t.Helper()
	for _, id := range c.ids {
		x := of(h.sessions, id)
		if x.events["created"] != 1 || x.events["completed"] > 1 {
			o.t.Errorf("events of session %s = %v, want one created and at most one completed", id, x.events)
		}
		for _, kind := range []string{"completed", "soft_deleted", "restored", "report.created"} {
			want := c.done[[2]string{kind, id}]
			if kind == "completed" && id == o.done.ID {
				want++ // the office did
			}
			if x.events[kind] != want {
				o.t.Errorf("%s events of session %s = %d, want %d", kind, id, x.events[kind], want)
			}
		}
		if !x.gone && c.done[[2]string{"deleted", id}] != 0 || c.done[[2]string{"deleted", id}] > 1 {
			o.t.Errorf("deletions of session %s = %d, want the one of its event", id, c.done[[2]string{"deleted", id}])
		}
	}
	if len(h.sessions) != len(c.ids) {
		o.t.Errorf("sessions with events = %d, want %d", len(h.sessions), len(c.ids))
	}
	john := h.investor[o.john.ID]
	for _, kind := range []string{"updated", "soft_deleted", "restored"} {
		if want := c.done[[2]string{kind, o.john.ID}]; john.events[kind] != want {
			o.t.Errorf("%s events of the investor = %d, want %d", kind, john.events[kind], want)
		}
	}
}

// wantVersions wants each object to have counted its changes, and to be what its events say.
func (c *tally) wantVersions(o *office, h *history) {
	o.t.Helper()
	john := h.investor[o.john.ID]
	want := int64(1 + john.events["updated"] + john.events["soft_deleted"] + john.events["restored"])
	if i, err := o.Investor(ctx, o.firm, o.john.ID, store.Either); err != nil || i.Version != want ||
		i.Deleted() != john.soft {
		o.t.Errorf("Investor(%s) = %+v, %v, want version %d and deleted %v", o.john.ID, i, err, want, john.soft)
	}
	for _, id := range c.ids {
		x := h.sessions[id]
		s, err := o.Session(ctx, o.firm, id, store.Either)
		if x.gone {
			if outcome(err) != "not found" {
				o.t.Errorf("Session(%s) = %v, want it gone", id, err)
			}
			continue
		}
		want := int64(1 + c.done[[2]string{"filled in",
			id}] + x.events["completed"] + x.events["soft_deleted"] + x.events["restored"])
		if err != nil || s.Version != want || s.Completed() != x.completed || s.Deleted() != x.soft {
			o.t.Errorf("Session(%s) = %+v, %v, want version %d, completed %v, deleted %v", id, s, err, want,
				x.completed, x.soft)
		}
	}
}

// wantNothing wants each session to have one deleted event and all to be gone.
func (c *tally) wantNothing(o *office, h *history) {
	o.t.Helper()
	for _, id := range c.ids {
		_, err := o.Session(ctx, o.firm, id, store.Either)
		if n := h.sessions[id].events["deleted"]; n != 1 || outcome(err) != "not found" {
			o.t.Errorf("Session(%s) = %v with %d deleted events, want not found and 1", id, err, n)
		}
	}
	if _, err := o.Investor(ctx, o.firm, o.john.ID, store.Either); outcome(err) != "not found" {
		o.t.Errorf("Investor(%s) = %v, want not found", o.john.ID, err)
	}
}
