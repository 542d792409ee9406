package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// What a page of the list looks at, where each webhook has to be looked at.
const (
	webhookChunk   = 200
	webhookLooksAt = 2000
)

type listWebhooksInput struct {
	Scope
	client.WebhookQuery
}

func (a *api) listWebhooks(ctx context.Context, in *listWebhooksInput) (*output[client.WebhookPage], error) {
	c := callerOf(ctx)
	hash := listHash("webhooks", c.tenant, in.WebhookQuery)
	from, err := decodeCursor(hash, in.Cursor)
	if err != nil {
		return nil, err
	}
	var v event.Violations
	if in.EventType != "" {
		if _, known := event.Lookup(in.EventType); !known {
			v.Add("query.event_type", "must be an event type such as "+strings.Join(event.Nearest(in.EventType), ", "))
			return nil, v
		}
	}
	found, more, err := a.findWebhooks(ctx, &in.WebhookQuery, &from)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	out := client.WebhookPage{Webhooks: make([]client.Webhook, 0, len(found))}
	if more {
		out.Next = encodeCursor(hash, from)
	}
	for _, w := range found {
		out.Webhooks = append(out.Webhooks, a.viewWebhook(c, w))
	}
	return &output[client.WebhookPage]{out}, nil
}

// findWebhooks finds a page of those that match, after from, which it moves to where it ended. more: there may be
// others.
func (a *api) findWebhooks(ctx context.Context, q *client.WebhookQuery, from *cursor) (
	found []*webhook.Webhook, more bool, err error) {
	chunk := q.Limit + 1
	if q.Text != "" || q.State != "" || q.EventType != "" {
		chunk = webhookChunk
	}
	for looked := 0; looked < webhookLooksAt; {
		list, err := a.listOf(ctx, from.first, chunk)
		if err != nil {
			return nil, false, err
		}
		match, err := a.matcher(ctx, q, list)
		if err != nil {
			return nil, false, err
		}
		for _, w := range list {
			if match(w) {
				if len(found) == q.Limit {
					return found, true, nil
				}
				found = append(found, w)
			}
			from.first = w.Num
		}
		if looked += len(list); len(list) < chunk {
			return found, false, nil
		}
	}
	return found, true, nil
}

// matcher tells which of the webhooks a query selects. Their states are read if it needs them, and have few queries for
// all.
func (a *api) matcher(ctx context.Context, q *client.WebhookQuery, list []*webhook.Webhook) (
	func(*webhook.Webhook) bool, error) {
	text := strings.ToLower(q.Text)
	says := func(w *webhook.Webhook) bool {
		return text == "" || slices.ContainsFunc([]string{w.ID, w.URL, w.Description, w.OwnerID}, func(s string) bool {
			return strings.Contains(strings.ToLower(s), text)
		})
	}
	wants := func(w *webhook.Webhook) bool {
		return q.EventType == "" || slices.Contains(event.Resolve(patternsOf(w)), q.EventType)
	}
	s := &webhookStats{tenant: callerOf(ctx).tenant, now: a.now()}
	if q.State != "" {
		for _, w := range list {
			if says(w) && wants(w) {
				s.hooks, s.nums = append(s.hooks, w), append(s.nums, w.Num)
			}
		}
		if len(s.hooks) > 0 {
			if err := s.readStates(ctx, a.store); err != nil {
				return nil, err
			}
		}
	}
	return func(w *webhook.Webhook) bool {
		return says(w) && wants(w) && (q.State == "" || s.state(w) == q.State)
	}, nil
}

// listOf lists the webhooks that the caller may see.
func (a *api) listOf(ctx context.Context, after int64, limit int) ([]*webhook.Webhook, error) {
	c := callerOf(ctx)
	if c.key.Webhook == "" {
		return a.store.ListWebhooks(ctx, c.tenant, after, limit)
	}
	w, err := a.store.WebhookByID(ctx, c.tenant, c.key.Webhook)
	if errors.Is(err, store.ErrNotFound) || err == nil && w.Num <= after {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return []*webhook.Webhook{w}, nil
}
