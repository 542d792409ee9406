package api

import (
	"cmp"
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
		id: "watch-attempts", method: http.MethodGet, path: livePath, tag: "Deliveries",
		summary: "Attempts as they happen",
		text:    "Of the node that answers. Server-sent events: each line that begins with data: has an attempt as JSON.",
		status:  http.StatusOK, errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
	}, client.LiveQuery{}, client.LiveAttempt{})
	a.mux.HandleFunc("GET "+livePath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.watchAttempts(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// watchAttempts streams until the caller leaves or the server stops. An error says that nothing was written yet.
func (a *api) watchAttempts(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var v event.Violations
	for name := range q {
		if !slices.Contains(liveParams, name) {
			v.Add("query."+name, unknownParam+nameMeant(name, liveParams))
		}
	}
	if err := v.Err(); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	send := func(text string) bool {
		_, err := fmt.Fprint(w, text)
		return err == nil && rc.Flush() == nil
	}
	begin := func() bool { // where the deadlines cannot be lifted, the caller connects again
		_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx passes on what has come, and does not wait for more
		return send(": connected\n\n")
	}
	want := client.LiveQuery{WebhookID: q.Get("webhook_id"), EventType: q.Get("event_type"), Outcome: q.Get("outcome")}
	return a.watch(r.Context(), callerOf(r.Context()), want, begin, func() bool { return send(": \n\n") },
		func(x client.LiveAttempt) bool {
			b, err := json.Marshal(x)
			return err == nil && send("data: "+string(b)+"\n\n")
		})
}

// liveParams are those of the stream.
var liveParams = []string{"webhook_id", "event_type", "outcome", "tenant"}

// watch gives attempts as they happen: until ctx ends, the server stops, the caller's key is no longer good, or begin,
// idle or give returns false. An error says that it has not begun.
func (a *api) watch(ctx context.Context, c *caller, q client.LiveQuery, begin, idle func() bool,
	give func(client.LiveAttempt) bool) error {
	if !c.may(readers) {
		return errForbidden(c.key.Role, readers)
	}
	want, id, err := a.liveFilter(ctx, q, c)
	if err != nil {
		return err
	}
	end, err := a.limits.stream(c.tenant, a.clock())
	if err != nil {
		return err
	}
	defer end()
	may := func() bool {
		key, err := a.keys.find(context.WithoutCancel(ctx), c.key.Hash, a.clock())
		return err == nil && !key.ended && !key.Expired(a.now()) && key.goodFrom(c.remote)
	}
	watcher := a.live.Watch(c.tenant, want)
	defer watcher.Close()
	silent, check := time.NewTicker(liveIdle), time.NewTicker(keyCheck)
	defer silent.Stop()
	defer check.Stop()
	for ok := begin(); ok; {
		select {
		case <-ctx.Done():
			return nil
		case <-a.stopping:
			return nil
		case <-check.C:
			ok = may()
		case <-silent.C:
			ok = may() && idle()
		case x := <-watcher.C:
			ok = may() && give(viewLive(&x, id(x.Webhook)))
		}
	}
	return nil
}

func viewLive(x *live.Attempt, webhook string) client.LiveAttempt {
	if hidden(x.Class) {
		x.Duration = 0
	}
	class, reason := outsideClass(x.Class)
	return client.LiveAttempt{
		DeliveryID: EncodeDeliveryID(x.DeliveryKey), EventID: x.EventID.String(), EventType: x.EventType, WebhookID: webhook,
		Attempt: client.Attempt{Number: x.Attempt, At: client.At(x.At),
			DurationMS: int64(x.Duration / time.Millisecond),
			Sent:       x.Sent, Outcome: string(x.Kind), Status: x.Status, Class: class, Reason: reason,
			Explanation: client.Explain(class, reason, x.Status).String()},
		Missed: x.Missed,
	}
}

// liveFilter resolves what is watched. ids names webhooks.
func (a *api) liveFilter(ctx context.Context, q client.LiveQuery, c *caller) (want func(*live.Attempt) bool,
	ids func(int64) string, err error) {
	var v event.Violations
	if len(q.WebhookID) > 64 {
		v.Add("query.webhook_id", "must have at most 64 characters")
	}
	types, outcome := typesOf(q.EventType, &v), store.OutcomeKind(q.Outcome)
	if !slices.Contains([]store.OutcomeKind{"", store.Delivered, store.Retry, store.Exhausted}, outcome) {
		v.Add("query.outcome", "must be delivered, retry or exhausted")
	}
	if err := v.Err(); err != nil {
		return nil, nil, err
	}
	var num int64
	if hook := cmp.Or(q.WebhookID, c.key.Webhook); hook != "" {
		w, err := a.webhookSoon(ctx, c.tenant, hook)
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
			ctx, cancel := context.WithTimeout(ctx, storeTime)
			defer cancel()
			list, err := a.store.ListWebhooks(ctx, c.tenant, num-1, 1) // the one after the number before
			if err == nil && len(list) == 1 && list[0].Num == num {
				names[num] = list[0].ID
			}
		}
		return names[num]
	}
	return func(x *live.Attempt) bool {
		return (num == 0 || x.Webhook == num) && (outcome == "" || x.Kind == outcome) &&
			(types == nil || slices.Contains(types, x.EventType)) && x.Kind != store.Cancelled
	}, ids, nil
}
