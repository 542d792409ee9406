package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// LiveQuery selects attempts as they happen; zero fields select all.
type LiveQuery struct {
	WebhookID string `query:"webhook_id" maxLength:"64" doc:"The webhook."`
	EventType string `query:"event_type" maxLength:"256" doc:"A pattern, like qap.investor.* or **."`
	Outcome   string `query:"outcome" enum:"delivered,retry,exhausted" doc:"What came of the attempt."`
}

// LiveAttempt is an attempt that was just made.
type LiveAttempt struct {
	DeliveryID string `json:"delivery_id" doc:"The delivery."`
	EventID    string `json:"event_id" format:"uuid" doc:"The event."`
	EventType  string `json:"event_type" doc:"The event's type."`
	WebhookID  string `json:"webhook_id" format:"uuid" doc:"The webhook."`
	Attempt           // without response, timings and headers
	Missed     int    `json:"missed,omitempty" doc:"Attempts before it that are left out: there were too many."`
}

// Live follows attempts as they happen on the node that answers, until ctx ends or the loop is left; an error ends it.
func (c *Client) Live(ctx context.Context, q LiveQuery) iter.Seq2[LiveAttempt, error] {
	return func(yield func(LiveAttempt, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := c.stream(ctx, "/v1/attempts/live", Values(q))
		if err != nil {
			yield(LiveAttempt{}, err)
			return
		}
		defer body.Close()
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue // a comment that keeps the connection, or the end of an event
			}
			var a LiveAttempt
			err := json.Unmarshal([]byte(data), &a)
			if !yield(a, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil && ctx.Err() == nil {
			yield(LiveAttempt{}, fmt.Errorf("follow attempts: %w", err))
		}
	}
}

// stream opens an answer of server-sent events. The HTTP client's limit of a request's time does not hold for it.
func (c *Client) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	r, err := c.newRequest(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream, application/problem+json")
	h := *c.http
	h.Timeout = 0
	resp, err := h.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		return nil, problem(resp, b)
	}
	return resp.Body, nil
}
