package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

type previewInput struct {
	ID   string `json:"id,omitempty" format:"uuid" doc:"Of the webhook that is changed: what is left out is as it has it."`
	Type string `json:"type,omitempty" doc:"Type of the event to show it with; when left out, the first that the webhook asks for."`

	URL        string   `json:"url,omitempty"`
	Method     string   `json:"method,omitempty" enum:"POST,GET"`
	EventTypes []string `json:"event_types,omitempty" doc:"Patterns, like qap.investor.* or **."`
	WebhookFields
}

type previewView struct {
	Type     string       `json:"type"`
	Request  *testRequest `json:"request,omitempty" doc:"Absent when it cannot be built. A signing key that is still to be generated is stood in for by another."`
	Matches  []string     `json:"matches" nullable:"false" doc:"The event types that its patterns match."`
	Errors   []FieldError `json:"errors" nullable:"false" doc:"What is wrong with the webhook. The target's address is not looked at."`
	Warnings []string     `json:"warnings" nullable:"false" doc:"What is allowed but unwise."`
}

func (a *api) registerPreview(tag string) {
	register(a, operation{
		id: "preview-webhook", method: http.MethodPost, path: "/v1/webhooks/preview", tag: tag, summary: "Show what a webhook would send",
		text:   "Nothing is written or sent, and no name is resolved. Every property may be missing.",
		status: http.StatusOK, roles: admins, bound: true, body: previewInput{}, errors: []int{http.StatusNotFound},
	}, a.previewWebhook)
}

func (a *api) previewWebhook(ctx context.Context, in *bodyInput) (*output[previewView], error) {
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
	out := previewView{Matches: []string{}, Errors: []FieldError{}, Warnings: []string{}}
	var wrong event.Violations
	if _, err := merge(w, rest, now); err != nil && !errors.As(err, &wrong) {
		return nil, err
	}
	for _, v := range append(*o.v, wrong...) {
		out.Errors = append(out.Errors, FieldError{v.Field, v.Message})
	}
	out.Matches = append(out.Matches, event.Resolve(patternsOf(w))...)
	out.Warnings = append(out.Warnings, w.Warnings()...)
	if name == "" && len(out.Matches) > 0 {
		name = out.Matches[0]
	}
	t, ok := event.Lookup(name)
	if !ok && name == "" {
		t, ok = event.Catalogue()[0], true
	}
	if out.Type = t.Name; !ok {
		out.Errors = append(out.Errors, FieldError{"type", "is not an event type"})
	} else if ev := t.Example(now); !violates(wrong, "url") && !violates(wrong, "method") {
		out.Request = requestOf(w, &ev, now)
	}
	return &output[previewView]{out}, nil
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
func requestOf(w *webhook.Webhook, ev *event.Event, at time.Time) *testRequest {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return nil
	}
	p := t.Preview(ev, at)
	r := viewRequest(w, &p)
	return &r
}

// viewRequest shows a request. It has no secrets in it; here they are taken out once more, by the webhook's own list.
func viewRequest(w *webhook.Webhook, p *attempt.Preview) testRequest {
	v := testRequest{Method: p.Method, URL: p.URL, Headers: make([]testHeader, 0, len(p.Headers)), Body: string(p.Body)}
	for _, h := range p.Headers {
		if secretHeader(w, h[0]) {
			h[1] = secretText
		}
		v.Headers = append(v.Headers, testHeader{h[0], h[1]})
	}
	return v
}
