package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	maxRetryMany  = 200 // deliveries in one call
	retriesAtOnce = 64  // so that they share commits
)

type retryManyInput struct {
	Scope
	client.DeliveryQuery
	RawBody []byte
}

func (a *api) registerRetryMany() {
	a.registerCount()
	register(a, operation{
		id: "retry-deliveries", method: http.MethodPost, path: "/v1/deliveries/retry", tag: "Deliveries", summary: "Try many deliveries again now",
		text:   "Those with the IDs in the body, or a page of those that the query's filter selects, as in the list. Go on with next until it is absent, or stop.",
		status: http.StatusAccepted, roles: admins, bound: true, body: client.RetryDeliveries{}, bodyOptional: true, errors: []int{http.StatusServiceUnavailable, http.StatusTooManyRequests},
	}, a.retryDeliveries)
}

func (a *api) retryDeliveries(ctx context.Context, in *retryManyInput) (*output[client.RetriedMany], error) {
	var ids []string
	named := false // an empty list names none; it does not stand for all
	if len(in.RawBody) > 0 {
		o, err := parseObject(in.RawBody, "a retry of many")
		if err != nil {
			return nil, err
		}
		ids, named, _ = take[[]string](o, "ids", "a list of deliveries' IDs")
		o.finish()
		if len(ids) > maxRetryMany {
			o.v.Add("ids", fmt.Sprintf("must be at most %d", maxRetryMany))
		}
		if err := o.v.Err(); err != nil {
			return nil, err
		}
	}
	if named {
		slices.Sort(ids)
		list, gone, err := a.namedDeliveries(ctx, slices.Compact(ids))
		if err != nil {
			return nil, err
		}
		out, err := a.retryAll(ctx, list)
		out.Skipped += gone
		return &output[client.RetriedMany]{out}, err
	}
	found, page, err := a.deliveriesPage(ctx, &in.DeliveryQuery)
	if err != nil {
		return nil, err
	}
	out, err := a.retryAll(ctx, found)
	out.Next = page.Next
	return &output[client.RetriedMany]{out}, err
}

// namedDeliveries finds deliveries by ID; gone counts those that the caller cannot see.
func (a *api) namedDeliveries(ctx context.Context, ids []string) (list []store.DeliveryRecord, gone int, err error) {
	for _, id := range ids {
		d, _, _, err := a.findDelivery(ctx, id)
		var p *Problem
		if errors.As(err, &p) && p.Status == http.StatusNotFound {
			gone++
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		list = append(list, d)
	}
	return list, gone, nil
}

// retryAll makes the deliveries due now.
func (a *api) retryAll(ctx context.Context, list []store.DeliveryRecord) (out client.RetriedMany, err error) {
	if err := a.limits.rated(&a.limits.retries, callerOf(ctx).tenant, len(list), a.clock()); len(list) > 0 && err != nil {
		return out, err
	}
	exists := map[string]bool{}
	for i := range list {
		id := list[i].WebhookID
		if _, known := exists[id]; known {
			continue
		}
		_, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return out, fmt.Errorf("find webhook %s: %w", id, err)
		}
		exists[id] = err == nil
	}
	var retried atomic.Int64
	var g errgroup.Group
	g.SetLimit(retriesAtOnce)
	for i := range list {
		if !exists[list[i].WebhookID] {
			continue
		}
		g.Go(safely(func() error {
			err := a.engine.RetryNow(ctx, list[i].DeliveryKey)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err == nil {
				retried.Add(1)
			}
			return err
		}))
	}
	if err := g.Wait(); err != nil {
		return out, fmt.Errorf("retry deliveries: %w", err)
	}
	out.Retried = int(retried.Load())
	out.Skipped = len(list) - out.Retried
	return out, nil
}

// safely makes f's panic an error: in a goroutine that a request starts, it would end the process.
func safely(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return f()
	}
}
