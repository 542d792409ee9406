package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// DeliveryView is the state of a delivery in answers.
type DeliveryView struct {
	ID           string `json:"id"`
	EventID      string `json:"event_id" format:"uuid"`
	EventType    string `json:"event_type"`
	WebhookID    string `json:"webhook_id" format:"uuid"`
	Status       string `json:"status" enum:"waiting,delivered,exhausted,cancelled"`
	AttemptCount int    `json:"attempt_count"`
	NextAt       string `json:"next_at,omitempty" format:"date-time" doc:"When a waiting delivery is tried next; absent: now, or under way."`
	LastAt       string `json:"last_at,omitempty" format:"date-time" doc:"When it was tried last."`
	LastStatus   int    `json:"last_status,omitempty" doc:"The last response's HTTP status."`
	LastClass    string `json:"last_class,omitempty" doc:"The last attempt's class of error."`
}

// ResponseView is the start of a response's body.
type ResponseView struct {
	Response       string `json:"response,omitempty" doc:"The start of the response's body, when it is UTF-8."`
	ResponseBase64 string `json:"response_base64,omitempty" doc:"The start of the response's body, when it is not UTF-8."`
}

type attemptView struct {
	Number     int    `json:"number" doc:"1 for the first; 0 for a test."`
	At         string `json:"at" format:"date-time"`
	DurationMS int64  `json:"duration_ms"`
	Sent       bool   `json:"sent" doc:"Whether a request left for the receiver."`
	Outcome    string `json:"outcome" enum:"delivered,retry,exhausted,cancelled"`
	Status     int    `json:"status,omitempty" doc:"The response's HTTP status; absent when there was none."`
	Class      string `json:"class,omitempty" doc:"The class of error; absent when delivered; address: the target's name does not resolve, its address does not answer, or it is not allowed."`
	ResponseView
	Timings      *timingsView `json:"timings,omitempty" doc:"Absent for attempts that were recorded before these were."`
	SigningKeyID string       `json:"signing_key_id,omitempty" doc:"Which signing key signed it."`
	NextAt       string       `json:"next_at,omitempty" format:"date-time"`
	Headers      []testHeader `json:"headers,omitempty" doc:"Of the request, its signature among them. Built from the webhook as it is now; with one delivery only."`
	Changed      bool         `json:"changed,omitempty" doc:"The webhook was changed since, so that the request may have been another."`
}

type deliveryWithAttempts struct {
	DeliveryView
	Event    EventView     `json:"event"`
	Request  *testRequest  `json:"request,omitempty" doc:"What is sent, with the same body at every attempt. Built from the webhook as it is now."`
	Attempts []attemptView `json:"attempts" nullable:"false" doc:"Oldest first."`
}

type deliveryPage struct {
	Items []DeliveryView `json:"items" nullable:"false"`
	Next  string         `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
	To    string         `json:"searched_to,omitempty" format:"date-time" doc:"Given when the page is not full since much was looked at: it was looked at events accepted since then. Next goes on."`
}

func (a *api) registerDeliveries() {
	register(a, operation{
		id: "list-deliveries", method: http.MethodGet, path: "/v1/deliveries", tag: "Deliveries", summary: "List deliveries, newest event first",
		status: http.StatusOK, roles: readers, bound: true, errors: []int{http.StatusBadRequest},
	}, a.listDeliveries)
	a.registerRetryMany()
	register(a, operation{
		id: "get-delivery", method: http.MethodGet, path: "/v1/deliveries/{id}", tag: "Deliveries", summary: "Read a delivery with every attempt",
		status: http.StatusOK, roles: readers, bound: true, errors: []int{http.StatusNotFound},
	}, a.getDelivery)
	register(a, operation{
		id: "retry-delivery", method: http.MethodPost, path: "/v1/deliveries/{id}/retry", tag: "Deliveries", summary: "Try a delivery again now",
		text:   "Whatever its state. The receiver may get the event a second time.",
		status: http.StatusAccepted, roles: admins, bound: true, errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable, http.StatusTooManyRequests},
	}, a.retryDelivery)
}

func (a *api) getDelivery(ctx context.Context, in *byID) (*output[deliveryWithAttempts], error) {
	d, ev, outcomes, err := a.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := deliveryWithAttempts{DeliveryView: viewDelivery(&d), Event: viewEvent(&ev.Event), Attempts: make([]attemptView, 0, len(outcomes))}
	for i := range outcomes {
		out.Attempts = append(out.Attempts, viewOutcome(&outcomes[i]))
	}
	w, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, d.WebhookID)
	if errors.Is(err, store.ErrNotFound) {
		return &output[deliveryWithAttempts]{out}, nil // deleted
	} else if err != nil {
		return nil, fmt.Errorf("find webhook %s: %w", d.WebhookID, err)
	}
	out.showRequests(w, &ev.Event, outcomes, a.now())
	return &output[deliveryWithAttempts]{out}, nil
}

// showRequests builds what was sent at each attempt, which is signed with the time of it.
func (d *deliveryWithAttempts) showRequests(w *webhook.Webhook, ev *event.Event, outcomes []store.Outcome, now time.Time) {
	for i := range outcomes {
		o := &outcomes[i]
		if !o.Sent {
			continue
		}
		r := requestOf(w, ev, o.At)
		if r == nil {
			continue
		}
		at := &d.Attempts[i]
		at.Headers, d.Request = r.Headers, r
		at.Changed = w.UpdatedAt.After(o.At) || o.KeyID != "" && !slices.ContainsFunc(w.SigningKeys, func(k webhook.SigningKey) bool { return k.ID == o.KeyID })
	}
	if d.Request == nil {
		d.Request = requestOf(w, ev, now)
	}
}

func (a *api) findDelivery(ctx context.Context, id string) (store.DeliveryRecord, store.EventRecord, []store.Outcome, error) {
	key, ok := DecodeDeliveryID(id)
	if !ok {
		return store.DeliveryRecord{}, store.EventRecord{}, nil, errNotFound("delivery")
	}
	d, ev, outcomes, err := a.store.Delivery(ctx, callerOf(ctx).tenant, key)
	if err != nil {
		err = missing("delivery", err)
	} else if !callerOf(ctx).sees(d.WebhookID) {
		err = errNotFound("delivery")
	}
	return d, ev, outcomes, err
}

func (a *api) retryDelivery(ctx context.Context, in *byID) (*output[DeliveryView], error) {
	d, _, _, err := a.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	_, err = a.store.WebhookByID(ctx, callerOf(ctx).tenant, d.WebhookID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, newProblem(http.StatusConflict, "The delivery's webhook was deleted.")
	} else if err != nil {
		return nil, fmt.Errorf("find webhook %s: %w", d.WebhookID, err)
	}
	if err := a.limits.rated(&a.limits.retries, callerOf(ctx).tenant, 1, a.clock()); err != nil {
		return nil, err
	}
	if err := a.engine.RetryNow(ctx, d.DeliveryKey); err != nil {
		return nil, missing("delivery", err)
	}
	if d, _, _, err = a.findDelivery(ctx, in.ID); err != nil {
		return nil, err
	}
	return &output[DeliveryView]{viewDelivery(&d)}, nil
}

// missing names what was not found, and wraps every other error.
func missing(what string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound(what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func viewDelivery(d *store.DeliveryRecord) DeliveryView {
	return DeliveryView{
		ID: EncodeDeliveryID(d.DeliveryKey), EventID: d.EventID.String(), EventType: d.EventType, WebhookID: d.WebhookID,
		Status: string(d.Status), AttemptCount: d.Attempts, NextAt: formatTime(d.NextAt), LastAt: formatTime(d.LastAt),
		LastStatus: d.LastCode, LastClass: outsideClass(d.LastClass),
	}
}

func viewOutcome(o *store.Outcome) attemptView {
	o = outside(o)
	return attemptView{
		Number: o.Attempt, At: formatTime(o.At), DurationMS: int64(o.Duration / time.Millisecond), Sent: o.Sent, Outcome: string(o.Kind),
		Status: o.Status, Class: outsideClass(o.Class), ResponseView: viewResponse(o.Response), SigningKeyID: o.KeyID, NextAt: formatTime(o.NextAt),
		Timings: viewTimings(o.Timings),
	}
}

type timingsView struct {
	DNS       float64 `json:"dns_ms" doc:"Milliseconds; 0 when the phase did not happen, as on a connection used again."`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms"`
}

func viewTimings(t store.Timings) *timingsView {
	if t == (store.Timings{}) {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &timingsView{ms(t.DNS), ms(t.Connect), ms(t.TLS), ms(t.FirstByte)}
}

// classAddress is what the outside gets to know of a target that is refused, does not resolve or does not answer: the same
// for all, without phases and duration, so that nobody can look around in the operator's network with it. A port that
// refuses connections is told (connect), since that an address is dialled at all says that it is allowed.
const classAddress = "address"

// addressClasses are the classes that are shown as classAddress.
var addressClasses = []string{attempt.ClassRefused, attempt.ClassDNS, attempt.ClassSilent}

func outsideClass(class string) string {
	if slices.Contains(addressClasses, class) {
		return classAddress
	}
	return class
}

// outside is an outcome without what tells such targets apart.
func outside(o *store.Outcome) *store.Outcome {
	if !slices.Contains(addressClasses, o.Class) {
		return o
	}
	c := *o
	c.Duration, c.Timings = 0, store.Timings{}
	return &c
}

// viewResponse shows bytes as text if they are; a character cut at the end is left out.
func viewResponse(b []byte) ResponseView {
	whole := b
	for i := 0; i < utf8.UTFMax-1 && len(b) > 0; i++ {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	if utf8.Valid(b) && !(len(b) == 0 && len(whole) > 0) {
		return ResponseView{Response: string(b)}
	}
	return ResponseView{ResponseBase64: base64.StdEncoding.EncodeToString(whole)}
}
