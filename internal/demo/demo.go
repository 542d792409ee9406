// Package demo plays a small advisory firm through the API, receives what its changes trigger, and says whether exactly
// that arrived. It never starts or stops a server, and it reads no store.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/signature"
)

// stepTime bounds the wait for what one change triggers, the failed request's retry included.
const stepTime = 5 * time.Second

// Run registers, plays, waits and compares. It is true when all is as it must be.
func (s *Story) Run(ctx context.Context, base string) (bool, error) {
	if err := s.register(ctx, base); err != nil {
		return false, err
	}
	types, err := s.firm.EventTypes(ctx)
	if err != nil {
		return false, fmt.Errorf("read the event types: %w", err)
	}
	if err := s.play(ctx); err != nil {
		return false, err
	}
	records, err := awaitRecords(ctx, s.firm.Client)
	if err != nil {
		return false, err
	}
	return s.rec.summary(types, records), nil
}

// register creates the POST and the GET webhook and tells the receiver what to expect.
func (s *Story) register(ctx context.Context, base string) error {
	fast := []client.Duration{client.Duration(time.Second), client.Duration(2 * time.Second),
		client.Duration(4 * time.Second)}
	basic := &client.Auth{Type: client.AuthBasic, Username: "demo", Password: rand.Text()}
	apiKey := &client.Auth{Type: client.AuthAPIKey, Header: "X-Demo-Key", Value: rand.Text()}
	post := client.NewWebhook{URL: base + "/post", Method: http.MethodPost, EventTypes: []string{"**"}, Auth: basic,
		Headers: []client.Header{{Name: "X-Demo-System", Value: "crm"}}, GenerateSigningKey: true,
		Description: "demo: POST", RetrySchedule: fast}
	get := client.NewWebhook{URL: base + "/get?source=demo", Method: http.MethodGet,
		EventTypes: []string{"qap.investor.*",
			"qap.investor.advice.**"}, Auth: apiKey, SigningKey: signature.GenerateKey(),
		Description: "demo: GET", RetrySchedule: fast}

	for _, n := range []client.NewWebhook{post, get} {
		w, err := s.firm.CreateWebhook(ctx, n)
		if err != nil {
			return fmt.Errorf("create the %s webhook: %w", n.Method, err)
		}
		key := n.SigningKey
		if n.GenerateSigningKey {
			key = w.SigningKey
		}
		h := hook{ID: w.ID, Method: n.Method, key: key, header: http.Header{}}
		for _, x := range n.Headers {
			h.header.Set(x.Name, x.Value)
		}
		if n.Auth.Type == client.AuthBasic {
			h.username, h.password = n.Auth.Username, n.Auth.Password
		} else {
			h.header.Set(n.Auth.Header, n.Auth.Value)
		}
		s.rec.register(h)
		fmt.Fprintf(s.rec.out, "Webhook %s: %s %s\n    for %v, authentication %s, signed.\n", w.ID, w.Method, w.URL,
			w.EventTypes, n.Auth.Type)
	}
	return nil
}

// awaitRecords waits until no delivery waits any more, for stepTime at most, and returns them.
func awaitRecords(ctx context.Context, c *client.Client) ([]client.Delivery, error) {
	for end := time.Now().Add(stepTime); ; time.Sleep(20 * time.Millisecond) {
		page, err := c.Deliveries(ctx, client.DeliveryQuery{Limit: 200})
		if err != nil {
			return nil, fmt.Errorf("read the deliveries: %w", err)
		}
		waiting := false
		for _, d := range page.Deliveries {
			waiting = waiting || d.Status == client.StatusWaiting
		}
		if !waiting || time.Now().After(end) {
			return page.Deliveries, nil
		}
	}
}
