package webhook

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/quantfolio/qhook/internal/event"
)

// Limits of a webhook.
const (
	MaxPatterns    = 32
	MaxDescription = 1024
	MaxSigningKey  = 512
	MinTimeout     = time.Second
	MaxTimeout     = time.Minute
	MaxRetries     = 32
	MaxRetryDelay  = 24 * time.Hour
	MaxRetryTotal  = 30 * 24 * time.Hour
	WarnSigningKey = 16 // bytes; a shorter typed key is a warning
)

// Check holds every rule of a webhook and normalises its URL. Its error is event.Violations, with the names of the API.
func (w *Webhook) Check() error {
	var v event.Violations
	if w.Method != POST && w.Method != GET {
		v.Add("method", "must be POST or GET")
	}
	if u, err := NormalizeURL(w.URL, w.Method); err != nil {
		v.Add("url", err.Error())
	} else {
		w.URL = u
	}
	w.checkPatterns(&v)
	if w.OwnerID != "" && (len(w.OwnerID) > event.MaxIDLen || !plain(w.OwnerID)) {
		v.Add("owner_id", fmt.Sprintf("must have at most %d bytes and no control characters", event.MaxIDLen))
	}
	w.Auth.check(&v)
	checkHeaders(w.Headers, w.Auth.Type != AuthNone, &v)
	if w.Auth.Type == AuthAPIKey {
		for i, h := range w.Headers {
			if strings.EqualFold(h.Name, w.Auth.Header) {
				v.Add(fmt.Sprintf("headers[%d].name", i), "is the authentication's header")
			}
		}
	}
	for _, k := range w.SigningKeys {
		if s := k.Key.Reveal(); s == "" || len(s) > MaxSigningKey || !plain(s) {
			v.Add("signing_key", fmt.Sprintf("must have 1 to %d bytes and no control characters", MaxSigningKey))
			break
		}
	}
	if len(w.Description) > MaxDescription || !plain(w.Description) {
		v.Add("description", fmt.Sprintf("must have at most %d bytes and no control characters", MaxDescription))
	}
	if w.Timeout < MinTimeout || w.Timeout > MaxTimeout {
		v.Add("timeout", "must be from 1s to 1m")
	}
	w.checkSchedule(&v)
	return v.Err()
}

func (w *Webhook) checkPatterns(v *event.Violations) {
	if len(w.EventTypes) == 0 || len(w.EventTypes) > MaxPatterns {
		v.Add("event_types", fmt.Sprintf("must have 1 to %d patterns, like qap.investor.* or **", MaxPatterns))
		return
	}
	for i, s := range w.EventTypes {
		if _, err := event.ParsePattern(s); err != nil {
			v.Add(fmt.Sprintf("event_types[%d]", i), err.Error())
		}
	}
}

func (w *Webhook) checkSchedule(v *event.Violations) {
	if len(w.RetrySchedule) > MaxRetries {
		v.Add("retry_schedule", fmt.Sprintf("has %d delays; at most %d are taken", len(w.RetrySchedule), MaxRetries))
		return
	}
	var total time.Duration
	for i, d := range w.RetrySchedule {
		if d < time.Second || d > MaxRetryDelay {
			v.Add(fmt.Sprintf("retry_schedule[%d]", i),
				fmt.Sprintf("must be from 1s to %s", strings.TrimSuffix(MaxRetryDelay.String(), "0m0s")))
		}
		total += d
	}
	if total > MaxRetryTotal {
		v.Add("retry_schedule", fmt.Sprintf("lasts %v in all; at most %v are taken", total, MaxRetryTotal))
	}
}

func (a *Auth) check(v *event.Violations) {
	secret := func(field string) {
		if err := checkHeaderValue(a.Secret.Reveal()); err != nil {
			v.Add("auth."+field, err.Error())
		}
	}
	switch a.Type {
	case AuthNone:
	case AuthBasic: // RFC 7617, section 2
		if a.Username == "" || len(a.Username) > MaxHeaderName || strings.Contains(a.Username, ":") ||
			!plain(a.Username) {
			v.Add("auth.username", fmt.Sprintf("must have 1 to %d bytes, without colons and control characters", MaxHeaderName))
		}
		if s := a.Secret.Reveal(); len(s) > MaxHeaderValue/2 || !plain(s) {
			v.Add("auth.password", fmt.Sprintf("must have at most %d bytes and no control characters", MaxHeaderValue/2))
		}
	case AuthBearer: // RFC 6750, section 2.1, less strict: some issuers use more characters
		secret("token")
		if strings.ContainsAny(a.Secret.Reveal(), " \t") {
			v.Add("auth.token", "must not have spaces")
		}
	case AuthAPIKey:
		if err := checkHeaderName(a.Header, true); err != nil {
			v.Add("auth.header", err.Error())
		}
		secret("value")
	default:
		v.Add("auth.type", "must be none, basic, bearer or api_key")
	}
}

// Warnings says what is allowed but unwise.
func (w *Webhook) Warnings() []string {
	var out []string
	for _, k := range w.SigningKeys {
		if len(k.Key.Reveal()) < WarnSigningKey {
			out = append(out, fmt.Sprintf("The signing key has fewer than %d bytes; let one be generated.", WarnSigningKey))
			break
		}
	}
	for _, k := range w.SigningKeys {
		if s := k.Key.Reveal(); !strings.HasPrefix(s, "whsec_") && len(s) >= WarnSigningKey && isBase64(s) {
			out = append(out, "The signing key is valid Base64. It is used as it was typed; libraries of Standard Webhooks decode such a "+
				"key. If yours does, give it here as whsec_ and the key.")
			break
		}
	}
	if strings.HasPrefix(w.URL, "http://") {
		out = append(out, "The target is plain http: anyone on the way can read the events and the authentication.")
	}
	return out
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }
