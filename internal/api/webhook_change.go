package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

const (
	defaultOverlap = 24 * time.Hour
	maxRotation    = 90 * 24 * time.Hour // of the overlap, and until the switch
)

// newWebhook is a webhook before its creator said anything.
func newWebhook(tenant string, now time.Time) *webhook.Webhook {
	return &webhook.Webhook{
		Tenant: tenant, Method: webhook.POST, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true,
		Timeout: webhook.DefaultTimeout, RetrySchedule: webhook.DefaultRetrySchedule(), CreatedAt: now,
	}
}

// merge applies a JSON merge patch (RFC 7396) to w: what is absent stays, null is the default. It returns the signing
// key if one was generated. Its error is event.Violations, with all broken rules, or else a 409; w is then half
// changed.
func merge(w *webhook.Webhook, raw []byte, now time.Time) (generated string, err error) {
	o, err := parseObject(raw, "a webhook")
	if err != nil {
		return "", err
	}
	text := func(name string, to *string) {
		if s, given, _ := take[string](o, name, "a string"); given {
			*to = s
		}
	}
	old := *w
	text("url", &w.URL)
	if s, given, null := take[string](o, "method", "POST or GET"); null {
		w.Method = webhook.POST
	} else if given {
		w.Method = webhook.Method(s)
	}
	text("owner_id", &w.OwnerID)
	text("description", &w.Description)
	if list, given, _ := take[[]string](o, "event_types", "a list of patterns"); given {
		w.EventTypes = list
	}
	if on, given, null := take[bool](o, "enabled", "true or false"); given {
		w.Enabled, w.DisabledReason = on || null, ""
	}
	mergeTimes(o, w)
	if moved(&old, w) {
		forgetSecrets(o, w)
	}
	mergeAuth(o, w)
	mergeHeaders(o, w)
	generated, conflict := mergeSigningKey(o, w, now)
	o.finish()
	w.UpdatedAt = now
	addViolations(o.v, w.Check())
	if w.URL != old.URL {
		w.HeldUntil = time.Time{} // it was another who asked for it
	}
	return generated, cmp.Or(o.v.Err(), conflict)
}

// moved tells whether the requests would go to another origin (RFC 6454, section 4) than before.
func moved(old, w *webhook.Webhook) bool {
	to, err := webhook.NormalizeURL(w.URL, w.Method)
	return err == nil && old.URL != "" && originOf(to) != originOf(old.URL)
}

// originOf is the scheme, the host and the port of a normalised URL.
func originOf(url string) string {
	o, _, err := webhook.SplitURL(url)
	if err != nil {
		return ""
	}
	if o.TLS {
		return "https://" + o.Host
	}
	return "http://" + o.Host
}

const movedText = "is missing; the URL's scheme, host or port changes, and a secret goes nowhere that it was not given for: " +
	"give it again, or "

// forgetSecrets has every secret of a webhook that moves asked for again: whoever may change a webhook must not learn
// what it sends by having it sent elsewhere. The signing keys stay, since they are never sent.
func forgetSecrets(o *object, w *webhook.Webhook) {
	if _, given := o.members["auth"]; !given && !w.Auth.Secret.IsZero() {
		names := authMembers[w.Auth.Type]
		o.v.Add("auth."+names[len(names)-1], movedText+"set auth to null")
	}
	if _, given := o.members["headers"]; !given {
		for i := range w.Headers {
			o.v.Add(fmt.Sprintf("headers[%d].value", i), movedText+"leave the header out of headers")
		}
	}
	w.Auth.Type, w.Headers = webhook.AuthNone, nil
}

// addViolations appends the violations of fields that have none yet, so that one mistake is not told twice.
func addViolations(v *event.Violations, err error) {
	more, _ := err.(event.Violations)
	told := map[string]bool{}
	root := func(field string) string {
		return field[:len(field)-len(strings.TrimLeft(field, "abcdefghijklmnopqrstuvwxyz_"))]
	}
	for _, x := range *v {
		told[root(x.Field)] = true
	}
	for _, x := range more {
		if !told[root(x.Field)] {
			*v = append(*v, x)
		}
	}
}

func mergeTimes(o *object, w *webhook.Webhook) {
	if s, given, null := take[string](o, "timeout", "a duration such as 15s"); null {
		w.Timeout = webhook.DefaultTimeout
	} else if given {
		w.Timeout = duration(o, "timeout", s)
	}
	list, given, null := take[[]string](o, "retry_schedule", "a list of durations such as 5s, 2m or 12h")
	if null {
		w.RetrySchedule = webhook.DefaultRetrySchedule()
	} else if given {
		w.RetrySchedule = nil
		for i, s := range list[:min(len(list), webhook.MaxRetries+1)] {
			w.RetrySchedule = append(w.RetrySchedule, duration(o, fmt.Sprintf("retry_schedule[%d]", i), s))
		}
	}
}

func duration(o *object, field, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		o.v.Add(o.prefix+field, "must be a duration such as 5s, 2m or 12h")
	}
	return d
}

// authMembers are the members that each type of authentication has beside its type; the last is the secret.
var authMembers = map[webhook.AuthType][]string{
	webhook.AuthNone: nil, webhook.AuthBasic: {"username",
		"password"}, webhook.AuthBearer: {"token"}, webhook.AuthAPIKey: {"header", "value"},
}

func mergeAuth(o *object, w *webhook.Webhook) {
	raw, ok := o.members["auth"]
	if !ok {
		return
	}
	delete(o.members, "auth")
	if string(raw) == "null" {
		w.Auth = webhook.Auth{Type: webhook.AuthNone}
		return
	}
	in, ok := takeApart(raw, "auth.", "an authentication of this type", o.v)
	if !ok {
		o.v.Add("auth", `must be an object such as {"type":"bearer","token":"…"}`)
		return
	}
	old := w.Auth
	kind, _, _ := take[string](in, "type", "a string")
	w.Auth = webhook.Auth{Type: webhook.AuthType(kind)}
	names, known := authMembers[w.Auth.Type]
	if !known {
		o.v.Add("auth.type", "must be none, basic, bearer or api_key")
		return
	}
	if len(names) > 0 {
		w.Auth.Username = textOf(in, names, "username")
		w.Auth.Header = textOf(in, names, "header")
		same := old.Type == w.Auth.Type && old.Username == w.Auth.Username &&
			strings.EqualFold(old.Header, w.Auth.Header)
		w.Auth.Secret = secretOf(in, names[len(names)-1], old.Secret, same)
	}
	in.finish()
}

func textOf(o *object, names []string, name string) string {
	for _, n := range names {
		if n == name {
			s, _, _ := take[string](o, name, "a string")
			return s
		}
	}
	return ""
}

// secretOf reads a secret that may be left out if it is there already.
func secretOf(o *object, name string, old webhook.Secret, same bool) webhook.Secret {
	_, there := o.members[name]
	s, given, null := take[string](o, name, "a string")
	switch {
	case given && !null && s != secretText:
		return webhook.NewSecret(s)
	case there && !given: // not a string, and told so
		return webhook.Secret{}
	case same:
		return old
	}
	o.v.Add(o.prefix+name, "is missing")
	return webhook.Secret{}
}

// mergeHeaders reads a list of headers, or an object that has their values by name.
func mergeHeaders(o *object, w *webhook.Webhook) {
	raw, given := o.members["headers"]
	if object, ok := takeApart(raw, "headers.", "headers", o.v); given && ok {
		delete(o.members, "headers")
		old := w.Headers
		w.Headers = nil
		for _, name := range object.names {
			w.Headers = append(w.Headers, webhook.Header{Name: name, Value: headerValue(object, name, name, old)})
		}
		return
	}
	list, given, _ := take[[]json.RawMessage](o, "headers", `an object such as {"X-Team":"…"}, or a list such as `+
		`[{"name":"X-Team","value":"…"}]`)
	if !given {
		return
	}
	old := w.Headers
	w.Headers = nil
	for i, raw := range list[:min(len(list), maxHeaderList)] {
		field := fmt.Sprintf("headers[%d]", i)
		in, ok := takeApart(raw, field+".", "a header", o.v)
		if !ok {
			o.v.Add(field, `must be an object such as {"name":"X-Team","value":"…"}`)
			continue
		}
		h := webhook.Header{}
		h.Name, _, _ = take[string](in, "name", "a string")
		h.Value = headerValue(in, "value", h.Name, old)
		in.finish()
		w.Headers = append(w.Headers, h)
	}
}

// headerValue reads the value of a header, which may be left out if there was one of its name.
func headerValue(o *object, member, name string, old []webhook.Header) webhook.Secret {
	i := slices.IndexFunc(old, func(x webhook.Header) bool { return strings.EqualFold(x.Name, name) })
	if i < 0 {
		return secretOf(o, member, webhook.Secret{}, false)
	}
	return secretOf(o, member, old[i].Value, true)
}

// maxHeaderList is how many headers are looked at; the rule that allows fewer is Check's.
const maxHeaderList = 100

// mergeSigningKey reads a signing key. Its error is a 409: a rotation under way is not cut short by the next.
func mergeSigningKey(o *object, w *webhook.Webhook, now time.Time) (generated string, err error) {
	typed, given, _ := take[string](o, "signing_key", "a string")
	generate, _, _ := take[bool](o, "generate_signing_key", "true or false")
	force, _, _ := take[bool](o, "force", "true or false")
	switchAt, overlap, rotation := mergeRotation(o, now)
	if force {
		rotation = cmp.Or(rotation, "force")
	}
	if old := w.Promised(now); old != nil && (generate || typed != "") && !force {
		err = newProblem(http.StatusConflict,
			fmt.Sprintf("A rotation is under way: the key %s is promised until %s, and this one would "+
				"end it now. Wait until then, or send force: true.", old.ID, event.FormatTime(old.ExpiresAt))).of(kindRotation)
	}
	switch {
	case given && generate:
		o.v.Add("generate_signing_key", "must be left out when signing_key is given")
	case generate:
		generated = signature.GenerateKey()
		w.Rotate(webhook.NewSecret(generated), now, switchAt, overlap)
	case given && typed != "":
		if err := signature.CheckKey(typed); err != nil {
			o.v.Add("signing_key", err.Error())
		}
		w.Rotate(webhook.NewSecret(typed), now, switchAt, overlap)
	case rotation != "":
		o.v.Add(rotation, "goes with signing_key or generate_signing_key only")
	case given:
		w.SigningKeys = nil
	}
	return generated, err
}

// mergeRotation reads how a rotation goes; name is a member that was given for it.
func mergeRotation(o *object, now time.Time) (switchAt time.Time, overlap time.Duration, name string) {
	switchAt, overlap = now, defaultOverlap
	if s, given, null := take[string](o, "signing_key_switch_at", "a time"); given && !null {
		name = "signing_key_switch_at"
		t, err := time.Parse(time.RFC3339, s)
		switch {
		case err != nil || t.After(now.Add(maxRotation)):
			o.v.Add(name, fmt.Sprintf("must be an RFC 3339 time within %d days", maxRotation/(24*time.Hour)))
		case t.After(now):
			switchAt = t.UTC().Truncate(time.Millisecond)
		}
	}
	if s, given, null := take[string](o, "signing_key_overlap", "a duration such as 24h"); given && !null {
		name = "signing_key_overlap"
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > maxRotation {
			o.v.Add(name, fmt.Sprintf("must be a duration such as 24h, at most %d days", maxRotation/(24*time.Hour)))
			d = 0
		}
		overlap = d
	}
	return switchAt, overlap, name
}
