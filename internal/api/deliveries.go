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

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

func (a *api) registerDeliveries() {
	register(a, operation{
		id: "list-deliveries", method: http.MethodGet, path: "/v1/deliveries", tag: "Deliveries",
		summary: "List deliveries, newest event first",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusBadRequest},
	}, a.listDeliveries)
	a.registerRetryMany()
	register(a, operation{
		id: "list-error-classes", method: http.MethodGet, path: "/v1/error-classes", tag: "Deliveries",
		summary: "What each class of error means, its usual cause, and what to do",
		text:    "The last of a class stands for all that the others of it do not name.",
		status:  http.StatusOK, roles: anyone, toBound: true,
	}, a.listErrorClasses)
	register(a, operation{
		id: "get-delivery", method: http.MethodGet, path: "/v1/deliveries/{id}", tag: "Deliveries",
		summary: "Read a delivery with every attempt",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getDelivery)
	register(a, operation{
		id: "retry-delivery", method: http.MethodPost, path: "/v1/deliveries/{id}/retry", tag: "Deliveries",
		summary: "Try a delivery again now",
		text:    "Whatever its state. The receiver may get the event a second time.",
		status:  http.StatusAccepted, roles: admins, toBound: true,
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable,
			http.StatusTooManyRequests},
	}, a.retryDelivery)
}

func (a *api) listErrorClasses(context.Context, *Scope) (*output[client.Page[client.ErrorClass]], error) {
	return &output[client.Page[client.ErrorClass]]{client.Page[client.ErrorClass]{Items: client.ErrorClasses}}, nil
}

func (a *api) getDelivery(ctx context.Context, in *byID) (*output[client.DeliveryDetail], error) {
	d, ev, outcomes, err := a.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := client.DeliveryDetail{Delivery: viewDelivery(&d), Event: viewEvent(&ev.Event),
		AttemptLog: make([]client.Attempt, 0, len(outcomes))}
	for i := range outcomes {
		out.AttemptLog = append(out.AttemptLog, viewOutcome(&outcomes[i]))
	}
	w, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, d.WebhookID)
	if errors.Is(err, store.ErrNotFound) {
		return &output[client.DeliveryDetail]{out}, nil // deleted
	} else if err != nil {
		return nil, fmt.Errorf("find webhook %s: %w", d.WebhookID, err)
	}
	showRequests(&out, w, &ev.Event, outcomes, a.now())
	return &output[client.DeliveryDetail]{out}, nil
}

// showRequests builds what was sent at each attempt, which is signed with the time of it.
func showRequests(d *client.DeliveryDetail, w *webhook.Webhook, ev *event.Event, outcomes []store.Outcome,
	now time.Time) {
	for i := range outcomes {
		o := &outcomes[i]
		if !o.Sent {
			continue
		}
		r := requestOf(w, ev, o.At)
		if r == nil {
			continue
		}
		made := &d.AttemptLog[i]
		made.Headers, d.Request = r.Headers, r
		made.Changed = w.UpdatedAt.After(o.At) || o.KeyID != "" &&
			!slices.ContainsFunc(w.SigningKeys, func(k webhook.SigningKey) bool { return k.ID == o.KeyID })
	}
	if d.Request == nil {
		d.Request = requestOf(w, ev, now)
	}
}

func (a *api) findDelivery(ctx context.Context, id string) (
	store.DeliveryRecord, store.EventRecord, []store.Outcome, error) {
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

func (a *api) retryDelivery(ctx context.Context, in *byID) (*output[client.Delivery], error) {
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
	return &output[client.Delivery]{viewDelivery(&d)}, nil
}

// missing names what was not found, and wraps every other error.
func missing(what string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound(what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func viewDelivery(d *store.DeliveryRecord) client.Delivery {
	class, reason := outsideClass(d.LastClass)
	return client.Delivery{
		ID: EncodeDeliveryID(d.DeliveryKey), EventID: d.EventID.String(), EventType: d.EventType, WebhookID: d.WebhookID,
		Status: string(d.Status), Attempts: d.Attempts, NextAttemptAt: client.At(d.NextAt), LastAttemptAt: client.At(d.LastAt),
		LastStatus: d.LastCode, LastClass: class,
		LastReason: reason,
	}
}

func viewOutcome(o *store.Outcome) client.Attempt {
	o = outside(o)
	class, reason := outsideClass(o.Class)
	v := client.Attempt{
		Number: o.Attempt, At: client.At(o.At), DurationMS: int64(o.Duration / time.Millisecond), Sent: o.Sent, Outcome: string(o.Kind),
		Status: o.Status, Class: class, Reason: reason, Explanation: client.Explain(class, reason, o.Status).String(),
		SigningKeyID: o.KeyID, NextAt: client.At(o.NextAt), Timings: viewTimings(o.Timings),
	}
	v.Response, v.ResponseBase64 = viewBody(o.Response)
	return v
}

func viewTimings(t store.Timings) *client.Timings {
	if t == (store.Timings{}) {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &client.Timings{DNS: ms(t.DNS), Connect: ms(t.Connect), TLS: ms(t.TLS), FirstByte: ms(t.FirstByte)}
}

// classAddress is what the outside gets to know of a target that is refused, does not resolve or does not answer: the
// same for all, without phases and duration, so that nobody can look around in the operator's network with it. A port
// that refuses connections is told (connect), since that an address is dialled at all says that it is allowed.
const classAddress = "address"

// addressClasses are the classes that are shown as classAddress.
var addressClasses = []string{attempt.ClassRefused, attempt.ClassDNS, attempt.ClassSilent}

// outsideClass is what the outside gets to know of a class that is on record, and of its reason.
func outsideClass(recorded string) (class, reason string) {
	class, reason = attempt.SplitClass(recorded)
	if slices.Contains(addressClasses, class) {
		return classAddress, ""
	}
	return class, reason
}

// hidden tells whether the outside gets to know classAddress in place of a class.
func hidden(recorded string) bool {
	class, _ := outsideClass(recorded)
	return class == classAddress
}

// outside is an outcome without what tells such targets apart.
func outside(o *store.Outcome) *store.Outcome {
	if !hidden(o.Class) {
		return o
	}
	c := *o
	c.Duration, c.Timings = 0, store.Timings{}
	return &c
}

// viewBody shows the start of a body as text if it is, and else in Base64; a character cut at the end is left out.
func viewBody(b []byte) (text, base string) {
	whole := b
	for i := 0; i < utf8.UTFMax-1 && len(b) > 0; i++ {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	if utf8.Valid(b) && !(len(b) == 0 && len(whole) > 0) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(whole)
}
