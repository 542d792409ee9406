package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	// refusedText is all that an admin gets to know of a target that is refused; which it was, and what would allow it,
	// is in the operator's log.
	refusedText = netguard.OutsideText + "; ask the operator if it should"

	// testDeadline is longer than any webhook's timeout: the connection's own deadline must not end a test.
	testDeadline = webhook.MaxTimeout + 30*time.Second
)

type testCallInput struct {
	Scope
	ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
	RawBody []byte
}

func (a *api) registerTest(tag, path string) {
	register(a, operation{
		id: "test-webhook", method: http.MethodPost, path: path, tag: tag, summary: "Send an example event now",
		text:   "Outside the record: it is no delivery. Limited per tenant.",
		status: http.StatusOK, roles: admins, toBound: true, body: client.TestWebhook{}, bodyOptional: true,
		errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
		limit:  testDeadline,
	}, a.testWebhook)
}

func (a *api) testWebhook(ctx context.Context, in *testCallInput) (*output[client.TestResult], error) {
	c := callerOf(ctx)
	w, err := a.webhookSoon(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, missing("webhook", err)
	}
	t, err := testType(w, in.RawBody)
	if err != nil {
		return nil, err
	}
	if err := a.limits.rated(&a.limits.tests, c.tenant, 1, a.clock()); err != nil {
		return nil, err
	}
	ev := t.Example(a.now())
	res, preview, err := a.engine.Test(ctx, w, ev)
	if err != nil {
		return nil, fmt.Errorf("test webhook %s: %w", w.ID, err)
	}
	if hidden(res.Class) {
		a.log.WarnContext(ctx, "a test reached nobody", "webhook", w.ID, "tenant", w.Tenant, "url", w.URL,
			"error", res.Err)
		hideAddress(ctx, w, &res)
	}
	return &output[client.TestResult]{viewTest(w, &res, &preview)}, nil
}

// hideAddress has a test of a target that is refused, unknown or silent take as long as one that is silent, and forgets
// its times: who tests learns nothing from how soon it failed.
func hideAddress(ctx context.Context, w *webhook.Webhook, res *attempt.Result) {
	t := time.NewTimer(time.Until(res.At.Add(min(w.Timeout, attempt.ConnectLimit))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	res.Duration, res.Timings = 0, attempt.Timings{}
}

// webhookSoon finds a webhook for what may itself take longer than the store may.
func (a *api) webhookSoon(ctx context.Context, tenant, id string) (*webhook.Webhook, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	w, err := a.store.WebhookByID(ctx, tenant, id)
	return w, overdue(ctx, err)
}

// testType is the event type that the body names, or the first that the webhook asks for.
func testType(w *webhook.Webhook, raw []byte) (event.Type, error) {
	name := ""
	if len(raw) > 0 {
		o, err := parseObject(raw, "a test")
		if err != nil {
			return event.Type{}, err
		}
		name, _, _ = take[string](o, "type", "a string")
		o.finish()
		if err := o.v.Err(); err != nil {
			return event.Type{}, err
		}
	}
	if name == "" {
		if names := event.Resolve(patternsOf(w)); len(names) > 0 {
			name = names[0]
		}
	}
	t, ok := event.Lookup(name)
	if !ok {
		return t, event.Violations{{Field: "type",
			Message: "is not an event type; did you mean " + strings.Join(event.Nearest(name), ", ") + "?"}}
	}
	return t, nil
}

// viewTest shows what was sent and what came back.
func viewTest(w *webhook.Webhook, r *attempt.Result, p *attempt.Preview) client.TestResult {
	class, reason := outsideClass(r.Recorded())
	v := client.TestResult{
		Attempt: client.Attempt{
			At: client.At(r.At), DurationMS: int64(r.Duration / time.Millisecond), Sent: r.Sent, Outcome: string(store.Retry),
			Status: r.Status, Class: class, Reason: reason, SigningKeyID: r.KeyID,
			Explanation: client.Explain(class, reason, r.Status).String(),
			Timings:     viewTimings(store.Timings(r.Timings)),
		},
		Request: viewRequest(w, p),
	}
	v.Attempt.Response, v.Attempt.ResponseBase64 = viewBody(r.Response)
	if r.Verdict == attempt.Success {
		v.Attempt.Outcome = string(store.Delivered)
	}
	if r.Status != 0 {
		v.Response = &client.Response{Status: r.Status, Body: v.Attempt.Response, BodyBase64: v.Attempt.ResponseBase64}
		for _, h := range r.Headers {
			v.Response.Headers = append(v.Response.Headers,
				client.Header{Name: strings.ToValidUTF8(h[0], "\uFFFD"), Value: strings.ToValidUTF8(h[1], "\uFFFD")})
		}
	}
	return v
}

func secretHeader(w *webhook.Webhook, name string) bool {
	if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, w.Auth.Header) {
		return true
	}
	return slices.ContainsFunc(w.Headers, func(h webhook.Header) bool { return strings.EqualFold(h.Name, name) })
}
