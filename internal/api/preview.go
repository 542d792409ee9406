package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

func (a *api) registerPreview(tag string) {
	register(a, operation{
		id: "preview-webhook", method: http.MethodPost, path: "/v1/webhooks/preview", tag: tag,
		summary: "Show what a webhook would send",
		text:    "Nothing is written or sent, and no name is resolved. Every property may be missing.",
		status:  http.StatusOK, roles: admins, toBound: true, body: client.PreviewWebhook{},
		errors: []int{http.StatusNotFound},
	}, a.previewWebhook)
	s := a.doc.OpenAPI().Components.Schemas.Map()["PreviewWebhook"]
	s.Required = nil
	for _, p := range s.Properties {
		p.Default = nil // but what the webhook has, if there is one
	}
}

func (a *api) previewWebhook(ctx context.Context, in *bodyInput) (*output[client.Preview], error) {
	c, now := callerOf(ctx), a.now()
	w := newWebhook(c.tenant, now)
	o, err := parseObject(in.RawBody, "a preview")
	if err != nil {
		return nil, err
	}
	var id, name string
	textMember(o, "id", &id)
	textMember(o, "type", &name)
	if id != "" {
		if !c.sees(id) {
			return nil, errNotFound("webhook")
		}
		if w, err = a.store.WebhookByID(ctx, c.tenant, id); err != nil {
			return nil, missing("webhook", err)
		}
	}
	rest, err := json.Marshal(o.members)
	if err != nil {
		return nil, fmt.Errorf("preview a webhook: %w", err)
	}
	out := client.Preview{Matches: []string{}, Errors: []client.FieldError{}}
	var wrong event.Violations
	if _, err := merge(w, rest, now); err != nil && !errors.As(err, &wrong) {
		return nil, err
	}
	for _, v := range append(*o.v, wrong...) {
		out.Errors = append(out.Errors, client.FieldError{Location: v.Field, Message: v.Message})
	}
	out.Matches = append(out.Matches, event.Resolve(patternsOf(w))...)
	out.Warnings = a.warnings(c, w)
	if name == "" && len(out.Matches) > 0 {
		name = out.Matches[0]
	}
	t, ok := event.Lookup(name)
	if !ok && name == "" {
		t, ok = event.Catalogue()[0], true
	}
	if out.Type = t.Name; !ok {
		out.Errors = append(out.Errors, client.FieldError{Location: "type", Message: "is not an event type"})
	} else if ev := t.Example(now); !violates(wrong, "url") && !violates(wrong, "method") {
		out.Request = requestOf(w, &ev, now)
	}
	return &output[client.Preview]{out}, nil
}

// patternsOf are the webhook's patterns that are such.
func patternsOf(w *webhook.Webhook) (list []event.Pattern) {
	for _, s := range w.EventTypes {
		if p, err := event.ParsePattern(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// requestOf is the request that the webhook makes of an event at a time, without secrets; nil when it cannot be built.
func requestOf(w *webhook.Webhook, ev *event.Event, at time.Time) *client.Request {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return nil
	}
	p := t.Preview(ev, at)
	r := viewRequest(w, &p)
	return &r
}

// viewRequest shows a request. It has no secrets in it; here they are taken out once more, by the webhook's own list.
func viewRequest(w *webhook.Webhook, p *attempt.Preview) client.Request {
	v := client.Request{Method: p.Method, URL: p.URL, Headers: make([]client.Header, 0, len(p.Headers)),
		Body: string(p.Body)}
	for _, h := range p.Headers {
		if secretHeader(w, h[0]) {
			h[1] = secretText
		}
		v.Headers = append(v.Headers, client.Header{Name: h[0], Value: h[1]})
	}
	return v
}
