package api

import (
	"strconv"

	"github.com/quantfolio/qhook/internal/webhook"
)

// secretText stands where a secret is; sent back, it means: unchanged.
const secretText = "[secret]"

type authView struct {
	Type     string `json:"type" enum:"none,basic,bearer,api_key"`
	Username string `json:"username,omitempty" doc:"Of basic."`
	Password string `json:"password,omitempty" doc:"Of basic; always [secret]."`
	Token    string `json:"token,omitempty" doc:"Of bearer; always [secret]."`
	Header   string `json:"header,omitempty" doc:"Of api_key: the header's name."`
	Value    string `json:"value,omitempty" doc:"Of api_key; always [secret]."`
}

type headerView struct {
	Name  string `json:"name"`
	Value string `json:"value" doc:"Always [secret]."`
}

type signingKeyView struct {
	ID        string `json:"id" doc:"The key's public name, which is on each attempt; never the key."`
	SwitchAt  string `json:"switch_at,omitempty" format:"date-time" doc:"From here X-Quantfolio-Signature-256 is made with it."`
	ExpiresAt string `json:"expires_at,omitempty" format:"date-time" doc:"From here webhook-signature no longer carries it; absent: never."`
}

type webhookView struct {
	ID             string           `json:"id" format:"uuid"`
	URL            string           `json:"url"`
	Method         string           `json:"method" enum:"POST,GET"`
	EventTypes     []string         `json:"event_types" nullable:"false"`
	OwnerID        string           `json:"owner_id,omitempty"`
	Auth           authView         `json:"auth"`
	Headers        []headerView     `json:"headers" nullable:"false"`
	SigningKeys    []signingKeyView `json:"signing_keys" nullable:"false" doc:"Newest first; none: unsigned; two during a rotation."`
	SigningKey     string           `json:"signing_key,omitempty" doc:"A generated signing key; in the answer to the call that generated it only."`
	Description    string           `json:"description,omitempty"`
	Enabled        bool             `json:"enabled"`
	DisabledReason string           `json:"disabled_reason,omitempty" doc:"Why the product disabled it itself."`
	Timeout        string           `json:"timeout" example:"15s"`
	RetrySchedule  []string         `json:"retry_schedule" nullable:"false" doc:"One delay per retry, before jitter."`
	Warnings       []string         `json:"warnings" nullable:"false" doc:"What is allowed but unwise."`
	CreatedAt      string           `json:"created_at" format:"date-time"`
	UpdatedAt      string           `json:"updated_at" format:"date-time"`
}

// viewWebhook shows everything but secrets.
func viewWebhook(w *webhook.Webhook) webhookView {
	v := webhookView{
		ID: w.ID, URL: w.URL, Method: string(w.Method), EventTypes: append([]string{}, w.EventTypes...), OwnerID: w.OwnerID,
		Auth: viewAuth(&w.Auth), Headers: make([]headerView, 0, len(w.Headers)), SigningKeys: make([]signingKeyView, 0, len(w.SigningKeys)),
		Description: w.Description, Enabled: w.Enabled, DisabledReason: w.DisabledReason, Timeout: formatDuration(w.Timeout),
		RetrySchedule: make([]string, 0, len(w.RetrySchedule)), Warnings: append([]string{}, w.Warnings()...),
		CreatedAt: formatTime(w.CreatedAt), UpdatedAt: formatTime(w.UpdatedAt),
	}
	for _, h := range w.Headers {
		v.Headers = append(v.Headers, headerView{h.Name, secretText})
	}
	for _, k := range w.SigningKeys {
		v.SigningKeys = append(v.SigningKeys, signingKeyView{k.ID, formatTime(k.SwitchAt), formatTime(k.ExpiresAt)})
	}
	for _, d := range w.RetrySchedule {
		v.RetrySchedule = append(v.RetrySchedule, formatDuration(d))
	}
	return v
}

func viewAuth(a *webhook.Auth) authView {
	v := authView{Type: string(a.Type)}
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
