package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const consentText = "does not consent. The operator has this tenant's webhooks enabled only where the target answers a request " +
	"OPTIONS that has WebHook-Request-Origin: %[1]s with WebHook-Allowed-Origin: %[1]s; have it do so, or save the webhook " +
	`with "enabled": false until it does (%[2]s)`

// askConsent fails when a webhook is being enabled, or pointed elsewhere, whose tenant needs the target's consent, and
// it does not give it. It is asked each time: CloudEvents' HTTP 1.1 Web Hooks, section 4.
func (a *api) askConsent(ctx context.Context, w *webhook.Webhook) error {
	t, err := a.tenantSoon(ctx, w.Tenant)
	if err != nil || !t.Consent {
		return err
	}
	if a.sender == "" {
		return newProblem(http.StatusConflict,
			"This tenant's targets must consent, and the server does not know under which name it "+
				"sends. The operator sets it by --public-url.")
	}
	if err := a.limits.rated(&a.limits.tests, w.Tenant, 1, a.clock()); err != nil {
		return err
	}
	res, err := a.engine.Consent(ctx, w, a.sender)
	if err != nil {
		return fmt.Errorf("ask the target of webhook %s for consent: %w", w.ID, err)
	}
	if attempt.Consents(&res, a.sender) {
		return nil
	}
	why := fmt.Sprintf("it answered %d without", res.Status)
	if res.Status == 0 {
		class, reason := outsideClass(res.Recorded())
		why = "it gave no answer: " + class + ". " + client.Explain(class, reason, 0).String()
	}
	if hidden(res.Class) {
		a.log.WarnContext(ctx, "a request for consent reached nobody", "webhook", w.ID, "tenant", w.Tenant,
			"url", w.URL,
			"error", res.Err)
		hideAddress(ctx, w, &res)
	}
	var v event.Violations
	v.Add("url", fmt.Sprintf(consentText, a.sender, why))
	return v
}

// tenantSoon finds a tenant for what may itself take longer than the store may.
func (a *api) tenantSoon(ctx context.Context, id string) (store.Tenant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	t, err := a.store.TenantByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) { // a key's tenant, which is nowhere made
		return store.Tenant{ID: id}, nil
	}
	return t, overdue(ctx, err)
}
