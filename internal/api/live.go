package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/live"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	livePath = "/v1/attempts/live"
	liveIdle = 5 * time.Second // then a comment keeps the connection, and finds out whether it, and the key, are still good
)

// registerLive documents the stream and puts it on the mux: it is no call with an answer.
func (a *api) registerLive() {
	a.documentStream(operation{
		id: "watch-attempts", method: http.MethodGet, path: livePath, tag: "Deliveries", summary: "Attempts as they happen",
		text:   "Of the node that answers. Server-sent events: each line that begins with data: has an attempt as JSON.",
		status: http.StatusOK, errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
	}, client.LiveQuery{}, client.LiveAttempt{})
	a.mux.HandleFunc("GET "+livePath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.watchAttempts(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// watchAttempts streams until the caller leaves or the server stops. An error says that nothing was written yet.
func (a *api) watchAttempts(w http.ResponseWriter, r *http.Request) error {
	c := callerOf(r.Context())
	if !c.may(readers) {
		return errForbidden(c.key.Role)
	}
	want, ids, err := a.liveFilter(r, c)
	if err != nil {
		return err
	}
	end, err := a.limits.stream(c.tenant, a.clock())
	if err != nil {
		return err
	}
	defer end()
	rc := http.NewResponseController(w) // where the deadlines cannot be lifted, the caller connects again
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx passes on what has come, and does not wait for more
	s := stream{w: w, watcher: a.live.Watch(c.tenant, want), id: ids, may: func() bool {
		key, err := a.keys.find(context.WithoutCancel(r.Context()), c.key.Hash, a.clock())
		return err == nil && !key.Expired(a.now()) && key.goodFrom(c.remote)
	}}
	s.run(r.Context(), a.stopping)
	return nil
}

// stream writes attempts to one who watches.
type stream struct {
	w       http.ResponseWriter
	watcher *live.Watcher
	id      func(num int64) string // of a webhook
	may     func() bool            // the key is still good
}

// run writes until ctx ends, stopping is closed, the caller has gone, or their key is no longer good.
func (s *stream) run(ctx context.Context, stopping <-chan struct{}) {
	defer s.watcher.Close()
	rc := http.NewResponseController(s.w)
	send := func(text string) bool {
		_, err := fmt.Fprint(s.w, text)
		return err == nil && rc.Flush() == nil
	}
	idle, check := time.NewTicker(liveIdle), time.NewTicker(keyCheck)
	defer idle.Stop()
	defer check.Stop()
	for ok := send(": connected\n\n"); ok; {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			return
		case <-check.C:
			ok = s.may()
		case <-idle.C:
			ok = s.may() && send(": \n\n")
		case x := <-s.watcher.C:
			if outsideClass(x.Class) == classAddress {
				x.Duration = 0
			}
			v := client.LiveAttempt{
				DeliveryID: EncodeDeliveryID(x.DeliveryKey), EventID: x.EventID.String(), EventType: x.EventType,
				WebhookID: s.id(x.Webhook), Missed: x.Missed,
				Attempt: client.Attempt{Number: x.Attempt, At: client.At(x.At), DurationMS: int64(x.Duration / time.Millisecond),
					Sent: x.Sent, Outcome: string(x.Kind), Status: x.Status, Class: outsideClass(x.Class)},
			}
			b, err := json.Marshal(v)
			ok = err == nil && s.may() && send("data: "+string(b)+"\n\n")
		}
	}
}

// liveParams are those of the stream.
var liveParams = []string{"webhook_id", "event_type", "outcome", "tenant"}

// liveFilter reads what is watched. ids names webhooks.
func (a *api) liveFilter(r *http.Request, c *caller) (want func(*live.Attempt) bool, ids func(int64) string, err error) {
	q := r.URL.Query()
	var v event.Violations
	for name := range q {
		if !slices.Contains(liveParams, name) {
			v.Add("query."+name, unknownParam+didYouMean(name, liveParams))
		}
	}
	hook := q.Get("webhook_id")
	if len(hook) > 64 {
		v.Add("query.webhook_id", "must have at most 64 characters")
	}
	types := typesOf(q.Get("event_type"), &v)
	outcome := store.OutcomeKind(q.Get("outcome"))
	if !slices.Contains([]store.OutcomeKind{"", store.Delivered, store.Retry, store.Exhausted}, outcome) {
		v.Add("query.outcome", "must be delivered, retry or exhausted")
	}
	if err := v.Err(); err != nil {
		return nil, nil, err
	}
	var num int64
	if hook == "" {
		hook = c.key.Webhook
	}
	if hook != "" {
		w, err := a.webhookSoon(r.Context(), c.tenant, hook)
		if err != nil {
			return nil, nil, missing("webhook", err)
		}
		if !c.sees(hook) {
			return nil, nil, errNotFound("webhook")
		}
		num = w.Num
	}
	names := map[int64]string{}
	ids = func(num int64) string {
		if _, ok := names[num]; !ok {
			ctx, cancel := context.WithTimeout(r.Context(), storeTime)
			defer cancel()
			list, err := a.store.ListWebhooks(ctx, c.tenant, num-1, 1) // the one after the number before
			if err == nil && len(list) == 1 && list[0].Num == num {
				names[num] = list[0].ID
			}
		}
		return names[num]
	}
	return func(x *live.Attempt) bool {
		return (num == 0 || x.Webhook == num) && (outcome == "" || x.Kind == outcome) && (types == nil || slices.Contains(types, x.EventType)) && x.Kind != store.Cancelled
	}, ids, nil
}
