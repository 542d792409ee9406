package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// WebhookRow has the columns of a webhook that are not written as they are: lists as JSON, in which nothing is secret,
// and what is secret sealed, bound to tenant, webhook and column. A sealed column is nil when there is nothing to seal.
type WebhookRow struct {
	EventTypes, RetrySchedule, Auth, Headers, SigningKeys string
	AuthSealed, HeadersSealed, SigningKeysSealed          []byte
}

type authRow struct {
	Type     webhook.AuthType `json:"type"`
	Username string           `json:"username,omitempty"`
	Header   string           `json:"header,omitempty"`
}

type keyRow struct {
	ID        string    `json:"id"`
	SwitchAt  time.Time `json:"switch_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// SealWebhook makes the columns from w.
func SealWebhook(ring *webhook.Keyring, w *webhook.Webhook) (WebhookRow, error) {
	names, values := make([]string, len(w.Headers)), make([]string, len(w.Headers))
	for i, h := range w.Headers {
		names[i], values[i] = h.Name, h.Value.Reveal()
	}
	keys, secrets := make([]keyRow, len(w.SigningKeys)), make([]string, len(w.SigningKeys))
	for i, k := range w.SigningKeys {
		keys[i], secrets[i] = keyRow{k.ID, k.SwitchAt, k.ExpiresAt}, k.Key.Reveal()
	}
	var errs []error
	text := func(v any) string {
		b, err := json.Marshal(v)
		errs = append(errs, err)
		return string(b)
	}
	seal := func(column, v string, none bool) []byte {
		if none {
			return nil
		}
		b, err := ring.Seal(webhook.NewSecret(v), w.Tenant, w.ID, column)
		errs = append(errs, err)
		return b
	}
	r := WebhookRow{
		EventTypes:        text(append([]string{}, w.EventTypes...)),
		RetrySchedule:     text(append([]time.Duration{}, w.RetrySchedule...)),
		Auth:              text(authRow{w.Auth.Type, w.Auth.Username, w.Auth.Header}),
		Headers:           text(names),
		SigningKeys:       text(keys),
		AuthSealed:        seal("auth_sealed", w.Auth.Secret.Reveal(), w.Auth.Secret.IsZero()),
		HeadersSealed:     seal("headers_sealed", text(values), len(values) == 0),
		SigningKeysSealed: seal("signing_keys_sealed", text(secrets), len(secrets) == 0),
	}
	return r, errors.Join(errs...)
}

// RecordOf is the row of a webhook.
func RecordOf(ring *webhook.Keyring, w *webhook.Webhook) (*WebhookRecord, error) {
	r, err := SealWebhook(ring, w)
	return &WebhookRecord{*w, r}, err
}

// Opener reads the columns of webhooks. Most have the same texts, so each text is decoded once, and the webhooks share
// what it says: nobody may change their EventTypes or RetrySchedule in place. It is for one reading, by one goroutine.
type Opener struct {
	ring      *webhook.Keyring
	lists     map[string][]string
	schedules map[string][]time.Duration
	auths     map[string]authRow
	keys      map[string][]keyRow
}

// NewOpener makes an opener of what the ring sealed.
func NewOpener(ring *webhook.Keyring) *Opener {
	return &Opener{ring, map[string][]string{}, map[string][]time.Duration{}, map[string]authRow{},
		map[string][]keyRow{}}
}

// decoded is the value of a JSON text, which is read unless it is known.
func decoded[T any](known map[string]T, text string) (v T, err error) {
	v, ok := known[text]
	if !ok {
		if err = json.Unmarshal([]byte(text), &v); err == nil {
			known[text] = v
		}
	}
	return v, err
}

// Open fills w, whose Tenant and ID are set, from the columns.
func (o *Opener) Open(r *WebhookRow, w *webhook.Webhook) error {
	types, err1 := decoded(o.lists, r.EventTypes)
	schedule, err2 := decoded(o.schedules, r.RetrySchedule)
	a, err3 := decoded(o.auths, r.Auth)
	names, err4 := decoded(o.lists, r.Headers)
	keys, err5 := decoded(o.keys, r.SigningKeys)
	err := errors.Join(err1, err2, err3, err4, err5)
	if err != nil {
		return fmt.Errorf("read webhook %s: %w", w.ID, err)
	}
	w.EventTypes, w.RetrySchedule = slices.Clip(types), slices.Clip(schedule) // so that appending copies
	w.Auth = webhook.Auth{Type: a.Type, Username: a.Username, Header: a.Header}
	if w.Auth.Secret, err = openColumn(o.ring, w, "auth_sealed", r.AuthSealed); err != nil {
		return err
	}
	values, err := openList(o.ring, w, "headers_sealed", r.HeadersSealed, len(names))
	if err != nil {
		return err
	}
	secrets, err := openList(o.ring, w, "signing_keys_sealed", r.SigningKeysSealed, len(keys))
	if err != nil {
		return err
	}
	for i, name := range names {
		w.Headers = append(w.Headers, webhook.Header{Name: name, Value: webhook.NewSecret(values[i])})
	}
	for i, k := range keys {
		w.SigningKeys = append(w.SigningKeys, webhook.SigningKey{ID: k.ID, Key: webhook.NewSecret(secrets[i]),
			SwitchAt: k.SwitchAt, ExpiresAt: k.ExpiresAt})
	}
	return nil
}

func openColumn(ring *webhook.Keyring, w *webhook.Webhook, column string, sealed []byte) (webhook.Secret, error) {
	if sealed == nil {
		return webhook.Secret{}, nil
	}
	s, err := ring.Open(sealed, w.Tenant, w.ID, column)
	if err != nil {
		return s, fmt.Errorf("open %s of webhook %s: %w", column, w.ID, err)
	}
	return s, nil
}

func openList(ring *webhook.Keyring, w *webhook.Webhook, column string, sealed []byte, want int) ([]string, error) {
	s, err := openColumn(ring, w, column, sealed)
	if err != nil || s.IsZero() && want == 0 {
		return nil, err
	}
	var list []string
	if err := json.Unmarshal([]byte(s.Reveal()), &list); err != nil || len(list) != want {
		return nil, fmt.Errorf("%s of webhook %s do not match their names", column, w.ID) // err could show the content
	}
	return list, nil
}
