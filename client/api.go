package client

import (
	"context"
	"iter"
)

// API is every call that there is: a Client makes them over HTTP, and the server's own parts without.
type API interface {
	Publish(ctx context.Context, e Event) (Published, error)
	PublishBatch(ctx context.Context, events []Event) ([]PublishedItem, error)
	Events(ctx context.Context, q EventQuery) (EventPage, error)
	Event(ctx context.Context, id string) (EventDetail, error)
	EventTypes(ctx context.Context) ([]EventType, error)

	CreateWebhook(ctx context.Context, w NewWebhook) (Webhook, error)
	Webhooks(ctx context.Context, q WebhookQuery) (WebhookPage, error)
	Webhook(ctx context.Context, id string) (Webhook, error)
	UpdateWebhook(ctx context.Context, id, etag string, p WebhookPatch) (Webhook, error)
	DeleteWebhook(ctx context.Context, id, etag string) error
	TestWebhook(ctx context.Context, id, eventType string) (TestResult, error)
	PreviewWebhook(ctx context.Context, w PreviewWebhook) (Preview, error)
	ReceiverCode(ctx context.Context, id, language string) (ReceiverCode, error)

	Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error)
	Delivery(ctx context.Context, id string) (DeliveryDetail, error)
	CountDeliveries(ctx context.Context, q DeliveryQuery) (DeliveryCount, error)
	RetryDelivery(ctx context.Context, id string) error
	RetryDeliveries(ctx context.Context, m RetryMany) (RetriedMany, error)
	Live(ctx context.Context, q LiveQuery) iter.Seq2[LiveAttempt, error]
	ErrorClasses(ctx context.Context) ([]ErrorClass, error)

	Stats(ctx context.Context, period, webhookID string) (Stats, error)
	WebhookStats(ctx context.Context, period, webhookID string) (WebhookStatsPage, error)

	CreateTenant(ctx context.Context, t NewTenant) (Tenant, error)
	UpdateTenant(ctx context.Context, id string, p TenantPatch) (Tenant, error)
	EndTenant(ctx context.Context, id string) (Tenant, error)
	RestoreTenant(ctx context.Context, id string) (Tenant, error)
	ExportTenant(ctx context.Context, id string) iter.Seq2[Exported, error]
	Tenants(ctx context.Context) ([]Tenant, error)
	CreateAPIKey(ctx context.Context, k NewAPIKey) (APIKey, error)
	APIKeys(ctx context.Context, kind, cursor string) (Page[APIKey], error)
	UpdateAPIKey(ctx context.Context, id string, change APIKeyChange) (APIKey, error)
	DeleteAPIKey(ctx context.Context, id string) error
	ReplaceAPIKey(ctx context.Context, id string) error
	CreateLink(ctx context.Context, l NewLink) (Link, error)
	SignIn(ctx context.Context) (SignedIn, error)
	Caller(ctx context.Context) (Caller, error)
	SignOut(ctx context.Context) error

	Platform
}

// Platform is the advisory platform's part.
type Platform interface {
	CreateAdvisor(ctx context.Context, a NewAdvisor, idempotencyKey string) (Advisor, error)
	Advisors(ctx context.Context, cursor string) (Page[Advisor], error)
	UpdateAdvisor(ctx context.Context, id, etag string, p Patch) (Advisor, error)
	DeleteAdvisor(ctx context.Context, id string) error

	CreateInvestor(ctx context.Context, i NewInvestor, idempotencyKey string) (Investor, error)
	Investors(ctx context.Context, q InvestorQuery) (Page[Investor], error)
	Investor(ctx context.Context, id string) (Investor, error)
	UpdateInvestor(ctx context.Context, id, etag string, p Patch) (Investor, error)
	DeleteInvestor(ctx context.Context, id string, permanent bool) error
	RestoreInvestor(ctx context.Context, id string) (Investor, error)

	CreateAdviceSession(ctx context.Context, investor string, s NewAdviceSession,
		idempotencyKey string) (AdviceSession, error)
	AdviceSessions(ctx context.Context, investor string, q AdviceSessionQuery) (Page[AdviceSession], error)
	AdviceSession(ctx context.Context, id string) (AdviceSession, error)
	UpdateAdviceSession(ctx context.Context, id, etag string, p Patch) (AdviceSession, error)
	CompleteAdviceSession(ctx context.Context, id string) (AdviceSession, error)
	DeleteAdviceSession(ctx context.Context, id string, permanent bool) error
	RestoreAdviceSession(ctx context.Context, id string) (AdviceSession, error)

	CreateReport(ctx context.Context, session, idempotencyKey string) (Report, error)
	Reports(ctx context.Context, session, cursor string) (Page[Report], error)
	Report(ctx context.Context, session, id string) ([]byte, error)
}

var _ API = (*Client)(nil)
