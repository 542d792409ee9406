package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	// DefaultTenantGrace is how long a tenant that was ended can be restored.
	DefaultTenantGrace = 30 * 24 * time.Hour
	// tenantEnded is the reason for which the webhooks of an ended tenant are disabled.
	tenantEnded = "the tenant has ended"
	removeStep  = 200                   // rows, about, of an ended tenant that go in one transaction
	removePause = 20 * time.Millisecond // between two, for everybody else
)

func (a *api) registerTenantEnd() {
	register(a, operation{
		id: "end-tenant", method: http.MethodDelete, path: "/v1/tenants/{id}", tag: "Tenants and keys",
		summary: "End a tenant",
		text: "Its keys, links and sign-ins are good for nothing from then on, nothing is taken from it, " +
			"and its webhooks send nothing: what waits is held. At delete_at all of it is deleted; " +
			"until then it can be exported and restored. Can be repeated.",
		status: http.StatusOK, roles: operators, errors: []int{http.StatusNotFound, http.StatusConflict},
	}, a.endTenant)
	register(a, operation{
		id: "restore-tenant", method: http.MethodPost, path: "/v1/tenants/{id}/restore", tag: "Tenants and keys",
		summary: "Restore a tenant that was ended",
		text:    "Everything is as it was, and what was held is delivered. Can be repeated.",
		status:  http.StatusOK, roles: operators, errors: []int{http.StatusNotFound, http.StatusConflict},
	}, a.restoreTenant)
}

func (a *api) endTenant(ctx context.Context, in *byID) (*output[client.Tenant], error) {
	if in.ID == DefaultTenant {
		return nil, newProblem(http.StatusConflict, "The tenant default cannot be ended: every server has one.")
	}
	return a.turnTenant(ctx, in.ID, "tenant ended", func(t *store.Tenant) error {
		if !t.Ended() {
			t.EndedAt = a.now()
			t.DeleteAt = t.EndedAt.Add(a.grace)
		}
		return nil
	})
}

func (a *api) restoreTenant(ctx context.Context, in *byID) (*output[client.Tenant], error) {
	return a.turnTenant(ctx, in.ID, "tenant restored", func(t *store.Tenant) error {
		if t.Ended() && !a.now().Before(t.DeleteAt) {
			return newProblem(http.StatusConflict, "The tenant is being deleted; its time to be restored is over.")
		}
		t.EndedAt, t.DeleteAt = time.Time{}, time.Time{}
		return nil
	})
}

// turnTenant ends or restores a tenant. What it begins is finished also when the caller leaves; what is left undone by
// a crash is done by KeepTenants, or by a repetition.
func (a *api) turnTenant(ctx context.Context, id, what string, change func(*store.Tenant) error) (
	*output[client.Tenant], error) {
	t, err := a.store.TenantByID(ctx, id)
	if err != nil {
		return nil, missing("tenant", err)
	}
	if err := change(&t); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := a.store.UpdateTenant(ctx, t); err != nil {
		return nil, missing("tenant", err)
	}
	a.tenants.Delete(id)
	a.keys.forget(a.clock())
	a.log.InfoContext(ctx, what, "tenant", t.ID, "delete_at", t.DeleteAt, "by", callerOf(ctx).key.ID)
	if _, err := a.turnWebhooks(ctx, &t); err != nil {
		return nil, err
	}
	return &output[client.Tenant]{viewTenant(t)}, nil
}

// turnWebhooks has the tenant's webhooks be as its state asks: held while it has ended, and deleted when its time is
// over. It tells how many were changed.
func (a *api) turnWebhooks(ctx context.Context, t *store.Tenant) (changed int, _ error) {
	now := a.now()
	turn := func(w *webhook.Webhook) bool {
		switch {
		case !t.Ended() && w.DisabledReason == tenantEnded:
			w.Enabled, w.DisabledReason = true, ""
		case t.Ended() && !now.Before(t.DeleteAt):
			w.DeletedAt = now
		case t.Ended() && w.Enabled:
			w.Enabled, w.DisabledReason = false, tenantEnded
		default:
			return false
		}
		w.UpdatedAt = now
		return true
	}
	for after := int64(0); ; {
		list, err := a.store.ListWebhooks(ctx, t.ID, after, removeStep)
		if err != nil {
			return changed, fmt.Errorf("list the webhooks of tenant %s: %w", t.ID, err)
		}
		for _, w := range list {
			after = w.Num
			if !turn(w) {
				continue
			}
			changed++
			err := a.store.UpdateWebhook(ctx, w)
			if errors.Is(err, store.ErrVersion) || errors.Is(err, store.ErrNotFound) {
				continue // somebody else changed it; KeepTenants looks again
			} else if err == nil {
				err = a.engine.SetWebhook(w)
			}
			if err != nil {
				return changed, fmt.Errorf("turn webhook %s with its tenant: %w", w.ID, err)
			}
		}
		if len(list) < removeStep {
			return changed, nil
		}
	}
}

// KeepTenants finishes what ends of tenants left undone, and deletes those whose time is over. It is to be called every
// minute or so; any number of nodes may.
func (a *api) KeepTenants(ctx context.Context) error {
	list, err := a.store.ListTenants(ctx)
	if err != nil {
		return fmt.Errorf("list tenants: %w", err)
	}
	for _, t := range list {
		if !t.Ended() {
			continue
		}
		changed, err := a.turnWebhooks(ctx, &t)
		if err != nil {
			return err
		}
		// Deliveries of webhooks that were deleted just now are settled first, on every node.
		if changed > 0 || a.now().Before(t.DeleteAt) {
			continue
		}
		if err := a.removeTenant(ctx, t.ID); err != nil {
			return fmt.Errorf("delete tenant %s: %w", t.ID, err)
		}
	}
	return nil
}

func (a *api) removeTenant(ctx context.Context, id string) error {
	pause := time.NewTicker(removePause)
	defer pause.Stop()
	for done := false; !done; {
		var err error
		if done, err = a.store.RemoveTenant(ctx, id, removeStep); errors.Is(err, store.ErrNotFound) {
			return nil // another node did it
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
	a.tenants.Delete(id)
	a.log.InfoContext(ctx, "tenant deleted for good", "tenant", id)
	return nil
}
