package api

import (
	"strconv"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/webhook"
)

// secretText stands where a secret is; sent back, it means: unchanged.
const secretText = "[secret]"

// viewWebhook shows everything but secrets.
func (a *api) viewWebhook(c *caller, w *webhook.Webhook) client.Webhook {
	v := client.Webhook{
		ID: w.ID, URL: w.URL, Method: string(w.Method), EventTypes: append([]string{},
			w.EventTypes...), OwnerID: w.OwnerID,
		Auth: viewAuth(&w.Auth), Headers: make([]client.Header, 0, len(w.Headers)),
		SigningKeys: make([]client.SigningKey, 0, len(w.SigningKeys)), Description: w.Description, Enabled: w.Enabled,
		DisabledReason: w.DisabledReason, Timeout: client.Duration(w.Timeout),
		RetrySchedule: make([]client.Duration, 0, len(w.RetrySchedule)), Warnings: a.warnings(c, w),
		CreatedAt: client.At(w.CreatedAt), UpdatedAt: client.At(w.UpdatedAt), ETag: etag(w),
	}
	if w.HeldUntil.After(a.now()) {
		v.HeldUntil = client.At(w.HeldUntil)
	}
	for _, h := range w.Headers {
		v.Headers = append(v.Headers, client.Header{Name: h.Name, Value: secretText})
	}
	for _, k := range w.SigningKeys {
		v.SigningKeys = append(v.SigningKeys,
			client.SigningKey{ID: k.ID, SwitchAt: client.At(k.SwitchAt), ExpiresAt: client.At(k.ExpiresAt)})
	}
	for _, d := range w.RetrySchedule {
		v.RetrySchedule = append(v.RetrySchedule, client.Duration(d))
	}
	return v
}

// warnings are what is allowed of a webhook but unwise.
func (a *api) warnings(c *caller, w *webhook.Webhook) []string {
	list := append([]string{}, w.Warnings()...)
	if c.key.Webhook != "" {
		return list // sees no other
	}
	if others := a.engine.SameTarget(w); len(others) > 0 {
		list = append(list, "Webhook "+others[0]+" has the same URL: its receiver may get events twice.")
	}
	return list
}

func viewAuth(a *webhook.Auth) client.Auth {
	v := client.Auth{Type: string(a.Type)}
	switch a.Type {
	case webhook.AuthBasic:
		v.Username, v.Password = a.Username, secretText
	case webhook.AuthBearer:
		v.Token = secretText
	case webhook.AuthAPIKey:
		v.Header, v.Value = a.Header, secretText
	}
	return v
}

// etag is the strong entity tag of a webhook's version.
func etag(w *webhook.Webhook) string { return `"` + strconv.FormatInt(w.Version, 10) + `"` }
