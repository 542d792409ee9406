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
	"github.com/quantfolio/qhook/internal/event"
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
		id: "retry-deliveries", method: http.MethodPost, path: "/v1/deliveries/retry", tag: "Deliveries",
		summary: "Try many deliveries again now",
		text: "Those with the IDs in the body, or a page of those that the query's filter selects, as in the list. Go on with next " +
			"until it is absent, or stop. Those that are delivered are tried again only if they are asked for: by ID, or by status.",
		status: http.StatusAccepted, roles: admins, toBound: true, body: client.RetryDeliveries{}, bodyOptional: true,
		errors: []int{http.StatusServiceUnavailable, http.StatusTooManyRequests},
	}, a.retryDeliveries)
}

func (a *api) retryDeliveries(ctx context.Context, in *retryManyInput) (*output[client.RetriedMany], error) {
	ids, named, all, err := readRetryMany(in.RawBody)
	if err != nil {
		return nil, err
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
	filter := in.DeliveryQuery
	filter.Cursor, filter.Limit = "", 0
	if filter == (client.DeliveryQuery{}) && !all {
		return nil, event.Violations{{Field: "all",
			Message: "must be true to retry all that are not delivered; or give ids, or a filter " +
				"in the query, such as ?status=exhausted&since=2h"}}
	}
	found, page, err := a.deliveriesPage(ctx, &in.DeliveryQuery, (*selection).withoutDelivered)
	if err != nil {
		return nil, err
	}
	out, err := a.retryAll(ctx, found)
	out.Next = page.Next
	return &output[client.RetriedMany]{out}, err
}

// readRetryMany reads the body. An empty list of IDs names none; it does not stand for all.
func readRetryMany(raw []byte) (ids []string, named, all bool, err error) {
	if len(raw) == 0 {
		return nil, false, false, nil
	}
	o, err := parseObject(raw, "a retry of many")
	if err != nil {
		return nil, false, false, err
	}
	ids, named, _ = take[[]string](o, "ids", "a list of deliveries' IDs")
	all, _, _ = take[bool](o, "all", "true or false")
	o.finish()
	if len(ids) > maxRetryMany {
		o.v.Add("ids", fmt.Sprintf("must be at most %d", maxRetryMany))
	}
	if named && all {
		o.v.Add("all", "must be left out when ids is given")
	}
	return ids, named, all, o.v.Err()
}

// withoutDelivered leaves out what is delivered, unless that is asked for by name.
func (s *selection) withoutDelivered(q *client.DeliveryQuery) {
	if q.Status != "" {
		return
	}
	s.statuses = slices.DeleteFunc([]store.Status{store.StatusWaiting, store.StatusExhausted, store.StatusCancelled},
		func(x store.Status) bool { return s.statuses[0] != "" && !slices.Contains(s.statuses, x) })
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
	if err := a.limits.rated(&a.limits.retries, callerOf(ctx).tenant, len(list), a.clock()); len(list) > 0 &&
		err != nil {
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
