package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Idempotency is how a POST is made to count once: draft-ietf-httpapi-idempotency-key-header.
type Idempotency struct {
	Key string `header:"Idempotency-Key" maxLength:"255" pattern:"^[ -~]*$" patternDescription:"text in ASCII" doc:"The same key and request make nothing new for 24 hours."`
}

// request identifies a request by everything that it asks.
func (i Idempotency) request(parts ...string) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return [32]byte(h.Sum(nil))
}

// createInput is the input of a call that makes something from its body.
type createInput struct {
	Scope
	Idempotency
	RawBody []byte
}

// slot is a caller's idempotency key.
type slot struct{ tenant, caller, key string }

// making is an object that is being made by a request, which may be a repetition.
type making struct {
	id      string       // that it has to have
	reserve func() error // to be called before it is written: the key stands for it then
}

// makeOnce has an object made, or reads the one that the same request made before. The key is written before the
// object, so that a request of which only that was left makes the object with the ID of the first.
func makeOnce[T any](ctx context.Context, a *api, in *createInput, what string, read func(id string) (*T, error),
	create func(making) (*T, error)) (*T, error) {
	id := uuid.NewString()
	if in.Key == "" {
		return create(making{id, func() error { return nil }})
	}
	c := callerOf(ctx)
	s := slot{c.tenant, "key " + c.parent(), in.Key}
	if _, busy := a.underWay.LoadOrStore(s, true); busy {
		return nil, errUnderWay()
	}
	defer a.underWay.Delete(s)
	request := in.request(what, string(in.RawBody))
	k, err := a.store.IdempotencyKey(ctx, s.tenant, s.caller, s.key)
	if err == nil && a.now().Sub(k.CreatedAt) < store.IdempotencyLife {
		if k.Request != request {
			return nil, newProblem(http.StatusUnprocessableEntity,
				"This Idempotency-Key was used for another request. Take a new one.").of(kindKeyReused)
		}
		out, err := read(k.ObjectID)
		if errors.Is(err, store.ErrNotFound) { // its request ended in between
			return create(making{k.ObjectID, func() error { return nil }})
		}
		return out, err
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("find an idempotency key: %w", err)
	}
	return create(making{id, func() error {
		k := store.IdempotencyKey{Caller: s.caller, Key: s.key, Request: request, ObjectID: id, CreatedAt: a.now()}
		err := a.store.AddIdempotencyKey(context.WithoutCancel(ctx), s.tenant, k)
		if errors.Is(err, store.ErrExists) { // at another node
			return errUnderWay()
		}
		return err
	}})
}

func errUnderWay() error {
	return newProblem(http.StatusConflict, "A request with this Idempotency-Key is under way. Repeat it in a moment.").
		of(kindUnderWay).with("Retry-After", "1")
}

// eventIDs are the namespace of IDs that are made of idempotency keys (RFC 9562, section 5.5).
var eventIDs = uuid.MustParse("5e3a2c52-6a5f-4c0c-9d0e-0d1a6a0d6f5b")

// nameEvents gives events without an ID one that is made of the request's Idempotency-Key, if it has one: the same
// request again then has the same IDs.
func nameEvents(c *caller, key string, evs []event.Event) error {
	if key == "" {
		return nil
	}
	if len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return event.Violations{{Field: "header.Idempotency-Key", Message: "must have at most 255 characters of ASCII"}}
	}
	for i := range evs {
		if evs[i].ID == uuid.Nil {
			evs[i].ID = uuid.NewSHA1(eventIDs, fmt.Appendf(nil, "%q %q %d %s", c.tenant, c.parent(), i, key))
		}
	}
	return nil
}
