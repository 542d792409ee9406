package advisory_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// counting counts the changes that are asked for.
type counting struct {
	advisory.Engine
	n atomic.Int64
}

// Change counts and commits.
func (c *counting) Change(ctx context.Context, tenant string, change *store.Change, evs []event.Event) error {
	c.n.Add(1)
	return c.Engine.Change(ctx, tenant, change, evs)
}

// TestDeleteWithAllSessions removes an investor that has as many sessions as there can be, in one commit.
func TestDeleteWithAllSessions(t *testing.T) {
	r, got := newPlatform(t)
	o := newOffice(t, r)
	o.fill(o.john, advisory.MaxSessions-2)
	_, before := o.events(t, o.firm.Tenant, 0)
	order := must(o.store.SessionVersions(ctx, o.firm.Tenant, o.john.ID, 2*advisory.MaxSessions))(t)
	if len(order) != advisory.MaxSessions {
		t.Fatalf("SessionVersions = %d sessions, want %d", len(order), advisory.MaxSessions)
	}
	e := &counting{Engine: r.engine}
	began := time.Now()
	err := r.through(e).DeleteInvestor(ctx, o.ann, o.john.ID, nil)
	if took := time.Since(began); err != nil || took > 5*time.Second || e.n.Load() != 1 {
		t.Fatalf("DeleteInvestor = %v after %v and %d commits, want nil within 5 s and 1", err, took, e.n.Load())
	}
	list, _ := o.events(t, o.firm.Tenant, len(before))
	if len(list) != advisory.MaxSessions+1 {
		t.Fatalf("events = %d, want %d", len(list), advisory.MaxSessions+1)
	}
	for n, x := range order {
		if want := (seen{"qap.investor.advice.deleted", x.ID, o.john.ID, o.ann.Advisor, "{}"}); list[n] != want {
			t.Fatalf("event %d = %v, want %v", n, list[n], want)
		}
	}
	if want := (seen{"qap.investor.deleted", o.john.ID, o.ann.Advisor, o.ann.Advisor, "{}"}); list[len(order)] != want {
		t.Errorf("last event = %v, want %v", list[len(order)], want)
	}
	if left := must(o.store.SessionVersions(ctx, o.firm.Tenant, o.john.ID, 9))(t); len(left) != 0 {
		t.Errorf("SessionVersions = %v, want none", left)
	}
	_, ids := o.events(t, o.firm.Tenant, 0)
	got.wantOnce(t, ids)
}

// TestManyMakeTheLastSession has a crowd make the last session that there can be. Those who counted before the first of
// them committed get theirs too; the investor can still be deleted.
func TestManyMakeTheLastSession(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	o.fill(o.john, advisory.MaxSessions-3)
	var made atomic.Int64
	var g errgroup.Group
	for range crowd {
		g.Go(func() error {
			err := createSession(o, o.firm)
			if err == nil {
				made.Add(1)
			} else if outcome(err) == string(advisory.RuleTooMany) {
				err = nil
			}
			return err
		})
	}
	o.ok(g.Wait())
	t.Logf("%d of %d made the last session", made.Load(), crowd)
	if n := made.Load(); n < 1 || n > crowd {
		t.Errorf("sessions made = %d, want between 1 and %d", n, crowd)
	}
	if err := createSession(o, o.firm); outcome(err) != string(advisory.RuleTooMany) {
		t.Errorf("CreateSession after them = %v, want %s", err, advisory.RuleTooMany)
	}
	if err := o.DeleteInvestor(ctx, o.firm, o.john.ID, nil); err != nil {
		t.Errorf("DeleteInvestor = %v, want nil", err)
	}
}
