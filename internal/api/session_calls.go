package api

import (
	"context"
	"iter"

	"github.com/quantfolio/qhook/client"
)

// got is the body of an answer, or the error.
func got[T any](out *output[T], err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return out.Body, nil
}

// The calls about events.

func (s *session) Publish(ctx context.Context, e client.Event) (client.Published, error) {
	list, err := s.publish(ctx, e, false)
	if err != nil {
		return client.Published{}, err
	}
	r := list[0]
	return client.Published{ID: r.ID.String(), Type: r.Type, Time: client.At(r.Time), Deliveries: r.Deliveries}, nil
}

func (s *session) PublishBatch(ctx context.Context, events []client.Event) ([]client.PublishedItem, error) {
	list, err := s.publish(ctx, map[string]any{"events": events}, true)
	if err != nil {
		return nil, err
	}
	out := make([]client.PublishedItem, len(list))
	for i, r := range list {
		out[i] = client.PublishedItem{ID: r.ID.String(), Deliveries: r.Deliveries}
	}
	return out, nil
}

func (s *session) Events(ctx context.Context, q client.EventQuery) (client.EventPage, error) {
	return got(call(ctx, s, "list-events", s.a.listEvents, &listEventsInput{EventQuery: q}))
}

func (s *session) Event(ctx context.Context, id string) (client.EventDetail, error) {
	return got(call(ctx, s, "get-event", s.a.getEvent, &byID{ID: id}))
}

func (s *session) EventTypes(ctx context.Context) ([]client.EventType, error) {
	page, err := got(call(ctx, s, "list-event-types", s.a.listEventTypes, &Scope{}))
	return page.Items, err
}

// The calls about webhooks.

func gotWebhook(out *webhookOutput, err error) (client.Webhook, error) {
	if err != nil {
		return client.Webhook{}, err
	}
	return out.Body, nil
}

func (s *session) CreateWebhook(ctx context.Context, w client.NewWebhook) (client.Webhook, error) {
	raw, err := body(w)
	if err != nil {
		return client.Webhook{}, err
	}
	return gotWebhook(call(ctx, s, "create-webhook", s.a.createWebhook, &createInput{RawBody: raw}))
}

func (s *session) Webhooks(ctx context.Context, q client.WebhookQuery) (client.WebhookPage, error) {
	return got(call(ctx, s, "list-webhooks", s.a.listWebhooks, &listWebhooksInput{WebhookQuery: q}))
}

func (s *session) Webhook(ctx context.Context, id string) (client.Webhook, error) {
	return gotWebhook(call(ctx, s, "get-webhook", s.a.getWebhook, &byID{ID: id}))
}

func (s *session) UpdateWebhook(ctx context.Context, id, etag string, p client.WebhookPatch) (client.Webhook, error) {
	raw, err := body(p)
	if err != nil {
		return client.Webhook{}, err
	}
	return gotWebhook(call(ctx, s, "update-webhook", s.a.updateWebhook,
		&changeInput{ID: id, IfMatch: etag, RawBody: raw}))
}

func (s *session) DeleteWebhook(ctx context.Context, id, etag string) error {
	_, err := call(ctx, s, "delete-webhook", s.a.deleteWebhook, &deleteInput{ID: id, IfMatch: etag})
	return err
}

func (s *session) TestWebhook(ctx context.Context, id, eventType string) (client.TestResult, error) {
	raw, err := body(client.TestWebhook{Type: eventType})
	if err != nil {
		return client.TestResult{}, err
	}
	return got(call(ctx, s, "test-webhook", s.a.testWebhook, &testCallInput{ID: id, RawBody: raw}))
}

func (s *session) PreviewWebhook(ctx context.Context, w client.PreviewWebhook) (client.Preview, error) {
	raw, err := body(w)
	if err != nil {
		return client.Preview{}, err
	}
	return got(call(ctx, s, "preview-webhook", s.a.previewWebhook, &bodyInput{RawBody: raw}))
}

func (s *session) ReceiverCode(ctx context.Context, id, language string) (client.ReceiverCode, error) {
	return got(call(ctx, s, "get-receiver", s.a.getReceiver, &receiverInput{ID: id, Language: language}))
}

// The calls about deliveries.

func (s *session) Deliveries(ctx context.Context, q client.DeliveryQuery) (client.DeliveryPage, error) {
	return got(call(ctx, s, "list-deliveries", s.a.listDeliveries, &listDeliveriesInput{DeliveryQuery: q}))
}

func (s *session) Delivery(ctx context.Context, id string) (client.DeliveryDetail, error) {
	return got(call(ctx, s, "get-delivery", s.a.getDelivery, &byID{ID: id}))
}

func (s *session) CountDeliveries(ctx context.Context, q client.DeliveryQuery) (client.DeliveryCount, error) {
	return got(call(ctx, s, "count-deliveries", s.a.countDeliveries, &listDeliveriesInput{DeliveryQuery: q}))
}

func (s *session) ErrorClasses(ctx context.Context) ([]client.ErrorClass, error) {
	page, err := got(call(ctx, s, "list-error-classes", s.a.listErrorClasses, &Scope{}))
	return page.Items, err
}

func (s *session) RetryDelivery(ctx context.Context, id string) error {
	_, err := call(ctx, s, "retry-delivery", s.a.retryDelivery, &byID{ID: id})
	return err
}

func (s *session) RetryDeliveries(ctx context.Context, m client.RetryMany) (client.RetriedMany, error) {
	raw, err := body(client.RetryDeliveries{IDs: m.IDs, All: m.All && m.IDs == nil})
	if err != nil {
		return client.RetriedMany{}, err
	}
	return got(call(ctx, s, "retry-deliveries", s.a.retryDeliveries,
		&retryManyInput{DeliveryQuery: m.Query, RawBody: raw}))
}

func (s *session) Live(ctx context.Context, q client.LiveQuery) iter.Seq2[client.LiveAttempt, error] {
	return func(yield func(client.LiveAttempt, error) bool) {
		c, err := s.caller(ctx, false)
		if err == nil {
			always := func() bool { return true }
			err = s.a.watch(ctx, c, q, always, always, func(x client.LiveAttempt) bool { return yield(x, nil) })
		}
		if err != nil {
			yield(client.LiveAttempt{}, s.a.judge(ctx, "watch-attempts", err))
		}
	}
}

// The calls about numbers.

func (s *session) Stats(ctx context.Context, period, webhookID string) (client.Stats, error) {
	in := &statsInput{StatsQuery: client.StatsQuery{Period: period, WebhookID: webhookID}}
	return got(call(ctx, s, "get-stats", s.a.getStats, in))
}

func (s *session) WebhookStats(ctx context.Context, period, webhookID string) (client.WebhookStatsPage, error) {
	in := &statsInput{StatsQuery: client.StatsQuery{Period: period, WebhookID: webhookID}}
	return got(call(ctx, s, "list-webhook-stats", s.a.listWebhookStats, in))
}

// The calls about tenants, keys and sign-ins.

func (s *session) CreateTenant(ctx context.Context, t client.NewTenant) (client.Tenant, error) {
	raw, err := body(t)
	if err != nil {
		return client.Tenant{}, err
	}
	return got(call(ctx, s, "create-tenant", s.a.createTenant, &createInput{RawBody: raw}))
}

func (s *session) UpdateTenant(ctx context.Context, id string, p client.TenantPatch) (client.Tenant, error) {
	raw, err := body(p)
	if err != nil {
		return client.Tenant{}, err
	}
	return got(call(ctx, s, "update-tenant", s.a.updateTenant, &tenantChange{ID: id, RawBody: raw}))
}

func (s *session) EndTenant(ctx context.Context, id string) (client.Tenant, error) {
	return got(call(ctx, s, "end-tenant", s.a.endTenant, &byID{ID: id}))
}

func (s *session) RestoreTenant(ctx context.Context, id string) (client.Tenant, error) {
	return got(call(ctx, s, "restore-tenant", s.a.restoreTenant, &byID{ID: id}))
}

func (s *session) Tenants(ctx context.Context) ([]client.Tenant, error) {
	page, err := got(call(ctx, s, "list-tenants", s.a.listTenants, &Scope{}))
	return page.Items, err
}

func (s *session) CreateAPIKey(ctx context.Context, k client.NewAPIKey) (client.APIKey, error) {
	raw, err := body(k)
	if err != nil {
		return client.APIKey{}, err
	}
	return got(call(ctx, s, "create-api-key", s.a.createKey, &createInput{RawBody: raw}))
}

func (s *session) APIKeys(ctx context.Context, kind, cursor string) (client.Page[client.APIKey], error) {
	in := &listKeysInput{KeyQuery: client.KeyQuery{Kind: kind, Cursor: cursor}}
	return got(call(ctx, s, "list-api-keys", s.a.listKeys, in))
}

func (s *session) UpdateAPIKey(ctx context.Context, id string, change client.APIKeyChange) (client.APIKey, error) {
	raw, err := body(change)
	if err != nil {
		return client.APIKey{}, err
	}
	return got(call(ctx, s, "update-api-key", s.a.updateKey, &changeKeyInput{ID: id, RawBody: raw}))
}

func (s *session) DeleteAPIKey(ctx context.Context, id string) error {
	_, err := call(ctx, s, "delete-api-key", s.a.deleteKey, &deleteKeyInput{ID: id})
	return err
}

func (s *session) ReplaceAPIKey(ctx context.Context, id string) error {
	_, err := call(ctx, s, "delete-api-key", s.a.deleteKey, &deleteKeyInput{ID: id, KeepKeys: true})
	return err
}

func (s *session) CreateLink(ctx context.Context, l client.NewLink) (client.Link, error) {
	raw, err := body(l)
	if err != nil {
		return client.Link{}, err
	}
	return got(call(ctx, s, "create-link", s.a.createLink, &createInput{RawBody: raw}))
}

func (s *session) SignIn(ctx context.Context) (client.SignedIn, error) {
	return got(call(ctx, s, "sign-in", s.a.signIn, &Scope{}))
}

func (s *session) Caller(ctx context.Context) (client.Caller, error) {
	return got(call(ctx, s, "get-sign-in", s.a.getSignIn, &Scope{}))
}

func (s *session) SignOut(ctx context.Context) error {
	_, err := call(ctx, s, "sign-out", s.a.signOut, &Scope{})
	return err
}
