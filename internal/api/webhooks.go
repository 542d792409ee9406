package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// saveTries bounds how often a change without If-Match is made again when another got in between.
const saveTries = 5

type webhookOutput struct {
	ETag     string `header:"ETag" doc:"Names this version, for If-Match."`
	Location string `header:"Location"`
	Body     client.Webhook
}

type pageInput struct {
	Scope
	client.Paging
}

type changeInput struct {
	Scope
	ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
	IfMatch string `header:"If-Match" maxLength:"256" doc:"The ETag of the version to change; without it, whichever it is."`
	RawBody []byte
}

type deleteInput struct {
	Scope
	ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
	IfMatch string `header:"If-Match" maxLength:"256" doc:"The ETag of the version to delete; without it, whichever it is."`
}

func (a *api) registerWebhooks() {
	const tag, one = "Webhooks", "/v1/webhooks/{id}"
	register(a, operation{
		id: "create-webhook", method: http.MethodPost, path: "/v1/webhooks", tag: tag, summary: "Register a webhook",
		status: http.StatusCreated, roles: admins, body: client.NewWebhook{},
		errors: []int{http.StatusConflict, http.StatusTooManyRequests}, limit: testDeadline,
	}, a.createWebhook)
	register(a, operation{
		id: "list-webhooks", method: http.MethodGet, path: "/v1/webhooks", tag: tag,
		summary: "List webhooks, oldest first",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusBadRequest},
	}, a.listWebhooks)
	register(a, operation{
		id: "get-webhook", method: http.MethodGet, path: one, tag: tag, summary: "Read a webhook",
		status: http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getWebhook)
	register(a, operation{
		id: "update-webhook", method: http.MethodPatch, path: one, tag: tag, summary: "Change a webhook",
		text:   "A JSON merge patch: what is left out stays as it is, null is the default. auth and headers are replaced as a whole, but secrets may be left out where they stay.",
		status: http.StatusOK, roles: admins, toBound: true, body: client.WebhookPatch{},
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed,
			http.StatusTooManyRequests},
		limit: testDeadline,
	}, a.updateWebhook)
	register(a, operation{
		id: "delete-webhook", method: http.MethodDelete, path: one, tag: tag, summary: "Delete a webhook",
		text:   "What was delivered stays on record.",
		status: http.StatusNoContent, roles: admins,
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, a.deleteWebhook)
	a.registerTest(tag, one+"/test")
	a.registerPreview(tag)
	a.registerReceiver(tag, one+"/receiver")
}

func (a *api) createWebhook(ctx context.Context, in *createInput) (*webhookOutput, error) {
	return makeOnce(ctx, a, in, "webhook", func(id string) (*webhookOutput, error) {
		w, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, id)
		if err != nil {
			return nil, err
		}
		return a.made(ctx, w, ""), nil
	}, func(m making) (*webhookOutput, error) { return a.makeWebhook(ctx, in.RawBody, m) })
}

// made is the answer to the making of a webhook, with its signing key if one was generated.
func (a *api) made(ctx context.Context, w *webhook.Webhook, generated string) *webhookOutput {
	out := a.answer(ctx, w)
	out.Location, out.Body.SigningKey = "/v1/webhooks/"+w.ID, generated
	return out
}

func (a *api) makeWebhook(ctx context.Context, raw []byte, m making) (*webhookOutput, error) {
	w := newWebhook(callerOf(ctx).tenant, a.now())
	w.ID = m.id
	if err := a.limits.counted(w.Tenant, "webhooks", a.engine.Webhooks(w.Tenant), a.limits.of.Webhooks,
		a.clock()); err != nil {
		return nil, err
	}
	generated, err := merge(w, raw, w.CreatedAt)
	if err := a.checkTarget(w, "", err); err != nil {
		return nil, err
	}
	if w.Enabled {
		if err := a.askConsent(ctx, w); err != nil {
			return nil, err
		}
	}
	if err := m.reserve(); err != nil {
		return nil, err
	}
	if err := a.store.CreateWebhook(context.WithoutCancel(ctx), w); err != nil {
		return nil, fmt.Errorf("write webhook %s: %w", w.ID, err)
	}
	if err := a.engine.SetWebhook(w); err != nil {
		return nil, fmt.Errorf("put webhook %s to work: %w", w.ID, err)
	}
	a.log.InfoContext(ctx, "webhook made", "webhook", w.ID, "tenant", w.Tenant)
	return a.made(ctx, w, generated), nil
}

func (a *api) getWebhook(ctx context.Context, in *byID) (*webhookOutput, error) {
	w, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, in.ID)
	if err != nil {
		return nil, missing("webhook", err)
	}
	out := a.answer(ctx, w)
	return out, a.keyUse(ctx, w, out.Body.SigningKeys)
}

// keyUse fills in when the webhook's signing keys were last used. An older key was, at the latest, when the next newer
// one took over, so that the look at the last attempts begins there.
func (a *api) keyUse(ctx context.Context, w *webhook.Webhook, keys []client.SigningKey) error {
	before := store.SeqAt(a.now().Add(time.Hour)) // whatever the clocks
	for i, k := range w.SigningKeys {
		at, err := a.store.LastSigned(ctx, w.Tenant, w.Num, k.ID, before)
		if err != nil {
			return fmt.Errorf("find the last use of a signing key: %w", err)
		}
		keys[i].UsedAt = client.At(at)
		if k.SwitchAt.Before(a.now()) {
			before = store.SeqAt(k.SwitchAt.Add(time.Minute))
		}
	}
	return nil
}

func (a *api) updateWebhook(ctx context.Context, in *changeInput) (*webhookOutput, error) {
	var generated, was string
	w, err := a.change(ctx, in.ID, in.IfMatch, func(w *webhook.Webhook) error {
		was = w.URL
		enabled := w.Enabled
		var err error
		generated, err = merge(w, in.RawBody, a.now())
		if err := a.checkTarget(w, was, err); err != nil || !w.Enabled || enabled && w.URL == was {
			return err
		}
		return a.askConsent(ctx, w)
	})
	if err != nil {
		return nil, err
	}
	if from, to := originOf(was), originOf(w.URL); from != to {
		a.log.WarnContext(ctx, "webhook moved to another origin", "webhook", w.ID, "tenant", w.Tenant,
			"from", from, "to", to,
			"by", callerOf(ctx).key.ID)
	}
	out := a.answer(ctx, w)
	out.Body.SigningKey = generated
	return out, nil
}

func (a *api) deleteWebhook(ctx context.Context, in *deleteInput) (*None, error) {
	_, err := a.change(ctx, in.ID, in.IfMatch, func(w *webhook.Webhook) error {
		w.DeletedAt = a.now()
		w.UpdatedAt = w.DeletedAt
		return nil
	})
	return nil, err
}

// change reads a webhook, lets edit change it, writes it if nobody else did meanwhile, and tells the engine. Without
// If-Match it begins again when somebody did.
func (a *api) change(ctx context.Context, id, ifMatch string, edit func(*webhook.Webhook) error) (
	*webhook.Webhook, error) {
	for range saveTries {
		w, err := a.webhookSoon(ctx, callerOf(ctx).tenant, id)
		if err != nil {
			return nil, missing("webhook", err)
		}
		if ifMatch != "" && !matches(ifMatch, etag(w)) {
			return nil, store.ErrVersion
		}
		if err := edit(w); err != nil {
			return nil, err
		}
		// The write and what follows from it are not ended by a caller who left.
		err = a.store.UpdateWebhook(context.WithoutCancel(ctx), w)
		if errors.Is(err, store.ErrVersion) && ifMatch == "" {
			continue
		}
		if err != nil {
			return nil, missing("webhook", err)
		}
		if err := a.engine.SetWebhook(w); err != nil {
			return nil, fmt.Errorf("put webhook %s to work: %w", w.ID, err)
		}
		a.log.InfoContext(ctx, "webhook changed", "webhook", w.ID, "tenant", w.Tenant, "version", w.Version,
			"deleted", w.Deleted())
		return w, nil
	}
	return nil, newProblem(http.StatusConflict, "Others are changing this webhook all the time. Try again.")
}

// matches is the strong comparison of RFC 9110, section 13.1.1.
func matches(ifMatch, tag string) bool {
	for one := range strings.SplitSeq(ifMatch, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == tag {
			return true
		}
	}
	return false
}

func (a *api) answer(ctx context.Context, w *webhook.Webhook) *webhookOutput {
	return &webhookOutput{ETag: etag(w), Body: a.viewWebhook(callerOf(ctx), w)}
}

// checkTarget adds to the violations in err that the target must not be dialled, unless it is as it was.
func (a *api) checkTarget(w *webhook.Webhook, was string, err error) error {
	var v event.Violations
	if err != nil && !errors.As(err, &v) {
		return err
	}
	origin, _, splitErr := webhook.SplitURL(w.URL)
	if w.URL == was || splitErr != nil || violates(v, "url") {
		return err
	}
	guardErr := a.guard.CheckTarget(origin.Name, origin.Port, !origin.TLS)
	if guardErr == nil {
		return err
	}
	if errors.Is(guardErr, netguard.ErrPlainHTTP) {
		v.Add("url", "must begin with https://: this server sends nothing over plain http (the operator's --allow-http)")
		return v
	}
	a.log.LogAttrs(context.Background(), slog.LevelWarn, "webhook target refused", slog.String("tenant", w.Tenant),
		slog.Any("error", guardErr))
	v.Add("url", refusedText)
	return v
}

func violates(v event.Violations, field string) bool {
	for _, x := range v {
		if x.Field == field {
			return true
		}
	}
	return false
}
