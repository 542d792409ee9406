package ui

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
)

// form is what the form of a webhook has in its fields.
type form struct {
	ID            string // of the webhook that is changed; empty: a new one
	ETag          string
	URL           string
	Method        string
	Types         []string // exact names that are ticked
	Patterns      string   // others, one a line
	OwnerID       string
	Description   string
	AuthType      string
	Username      string
	Password      string
	Token         string
	Header        string
	Value         string
	Headers       string // Name: value, one a line
	Signing       string // new ones: generate, typed, none
	SigningKey    string
	Timeout       string
	RetrySchedule string // delays, with commas between
	Sample        string // event type of the preview
}

// formPage is the form with what is known of it.
type formPage struct {
	Form    form
	Types   []client.EventType
	Preview client.Preview
	Errors  map[string]string // by field
	Other   string            // what is wrong and is of no field
	Title   string
	Action  string
}

func newForm() form {
	return form{Method: http.MethodPost, AuthType: client.AuthNone, Signing: "generate", Timeout: "15s",
		RetrySchedule: "5s, 30s, 2m, 10m, 30m, 1h, 2h, 4h, 8h, 12h, 12h, 12h, 12h, 12h"}
}

// formOf fills a form from a webhook.
func formOf(w *client.Webhook, types []client.EventType) form {
	f := form{
		ID: w.ID, ETag: w.ETag, URL: w.URL, Method: w.Method, OwnerID: w.OwnerID, Description: w.Description,
		AuthType: w.Auth.Type, Username: w.Auth.Username, Password: w.Auth.Password, Token: w.Auth.Token,
		Header: w.Auth.Header, Value: w.Auth.Value, Timeout: w.Timeout.String(),
	}
	for _, p := range w.EventTypes {
		if slices.ContainsFunc(types, func(t client.EventType) bool { return t.Type == p }) {
			f.Types = append(f.Types, p)
		} else {
			f.Patterns += p + "\n"
		}
	}
	for _, h := range w.Headers {
		f.Headers += h.Name + ": " + h.Value + "\n"
	}
	var delays []string
	for _, d := range w.RetrySchedule {
		delays = append(delays, d.String())
	}
	f.RetrySchedule = strings.Join(delays, ", ")
	return f
}

// readForm reads what was typed.
func readForm(r *http.Request) form {
	v := func(name string) string {
		return strings.TrimSpace(strings.ReplaceAll(r.PostFormValue(name), "\r\n", "\n"))
	}
	f := form{
		ID: r.PathValue("id"), ETag: v("etag"), URL: v("url"), Method: v("method"), Patterns: v("patterns"),
		OwnerID: v("owner_id"), Description: v("description"), AuthType: v("auth"), Username: v("username"),
		Header: v("auth_header"), Headers: v("headers"), Signing: v("signing"), Timeout: v("timeout"),
		RetrySchedule: v("retry_schedule"), Sample: v("sample"),
		// Secrets are taken as they were typed.
		Password: r.PostFormValue("password"), Token: r.PostFormValue("token"), Value: r.PostFormValue("auth_value"),
		SigningKey: r.PostFormValue("signing_key"),
	}
	f.Types = r.PostForm["types"]
	if f.ID == "" {
		f.ID = v("id")
	}
	return f
}

// unreadable stands for a duration that is none: the API refuses it, with all else that is wrong.
const unreadable = client.Duration(-1)

// webhook is what the form asks for. Durations that are none are in errs.
func (f *form) webhook() (w client.NewWebhook, errs map[string]string) {
	errs = map[string]string{}
	w = client.NewWebhook{URL: f.URL, Method: f.Method, OwnerID: f.OwnerID, Description: f.Description}
	w.EventTypes = append(append([]string{}, f.Types...), listed(f.Patterns)...)
	w.Auth = &client.Auth{Type: f.AuthType}
	switch f.AuthType {
	case client.AuthBasic:
		w.Auth.Username, w.Auth.Password = f.Username, f.Password
	case client.AuthBearer:
		w.Auth.Token = f.Token
	case client.AuthAPIKey:
		w.Auth.Header, w.Auth.Value = f.Header, f.Value
	}
	w.Headers = []client.Header{}
	for line := range strings.Lines(f.Headers) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name != "" {
			w.Headers = append(w.Headers, client.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
		}
	}
	switch f.Signing {
	case "generate":
		w.GenerateSigningKey = true
	case "typed":
		w.SigningKey = f.SigningKey
	}
	if d := durationOf(f.Timeout); d != nil {
		w.Timeout = *d
	} else {
		w.Timeout, errs["timeout"] = unreadable, "must be a duration such as 15s"
	}
	w.RetrySchedule = []client.Duration{}
	for _, s := range listed(f.RetrySchedule) {
		if d := durationOf(s); d != nil {
			w.RetrySchedule = append(w.RetrySchedule, *d)
		} else {
			w.RetrySchedule = append(w.RetrySchedule, unreadable)
			errs["retry_schedule"] = "must be delays such as 5s, 2m, 12h, with commas between"
		}
	}
	return w, errs
}

// listed are the items of a text, which has lines, commas or spaces between them.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' || r == ' ' })
}

// durationOf reads a duration; nil: it is none.
func durationOf(s string) *client.Duration {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return nil
	}
	return (*client.Duration)(&d)
}

// patch is the form as a change of the webhook.
func (f *form) patch() (client.WebhookPatch, map[string]string) {
	w, errs := f.webhook()
	return client.WebhookPatch{
		URL: &w.URL, Method: &w.Method, EventTypes: &w.EventTypes, OwnerID: &w.OwnerID, Auth: w.Auth,
		Headers: &w.Headers, Description: &w.Description, Timeout: &w.Timeout, RetrySchedule: &w.RetrySchedule,
	}, errs
}

// formFields are the fields that an error can be beside.
var formFields = []string{"url", "method", "event_types", "owner_id", "description", "auth", "headers", "signing_key",
	"timeout", "retry_schedule"}

// place puts the API's errors to the fields that they are about, unless what is wrong with the field is known.
func (p *formPage) place(errs []client.FieldError) {
	known := maps.Clone(p.Errors)
	for _, e := range errs {
		field, _, _ := strings.Cut(e.Location, "[")
		if field, _, _ = strings.Cut(field, "."); field == "generate_signing_key" {
			field = "signing_key"
		}
		if !slices.Contains(formFields, field) {
			p.Other += e.Location + " " + e.Message + ". "
			continue
		}
		if known[field] != "" {
			continue
		}
		text := e.Message
		if rest := strings.TrimPrefix(e.Location, field); rest != "" {
			text = strings.TrimPrefix(rest, ".") + " " + text
		}
		if p.Errors[field] != "" {
			text = p.Errors[field] + "; " + text
		}
		p.Errors[field] = text
	}
}

// preview asks what the webhook would send. While it is being filled in, what is still missing is no error.
func (v *visit) preview(p *formPage, live bool) error {
	w, _ := p.Form.webhook()
	var err error
	ask := client.PreviewWebhook{NewWebhook: w, ID: p.Form.ID, Type: p.Form.Sample}
	p.Preview, err = v.c.PreviewWebhook(v.r.Context(), ask)
	if err == nil && !slices.Contains(p.Preview.Matches, ask.Type) {
		ask.Type = "" // the first of those that it wants now
		p.Preview, err = v.c.PreviewWebhook(v.r.Context(), ask)
	}
	if err != nil {
		return err
	}
	if p.Form.Sample = p.Preview.Type; len(p.Preview.Matches) == 0 {
		p.Form.Sample, p.Preview.Request = "", nil
	}
	if !live {
		return nil
	}
	p.place(slices.DeleteFunc(p.Preview.Errors, func(e client.FieldError) bool {
		missing := e.Location == "event_types" && len(w.EventTypes) == 0 || p.empty(e.Location)
		return missing || strings.HasPrefix(e.Location, "auth")
	}))
	return nil
}

func (p *formPage) empty(field string) bool {
	return field == "url" && p.Form.URL == "" || field == "signing_key" && p.Form.SigningKey == ""
}

func (u *UI) newWebhook(v *visit) error {
	return u.showForm(v, formPage{Form: newForm(), Errors: map[string]string{}}, http.StatusOK)
}

func (u *UI) editWebhook(v *visit) error {
	w, err := v.c.Webhook(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	types, err := v.c.EventTypes(v.r.Context())
	if err != nil {
		return err
	}
	return u.showForm(v, formPage{Form: formOf(&w, types), Errors: map[string]string{}}, http.StatusOK)
}

func (u *UI) showForm(v *visit, p formPage, status int) error {
	var err error
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	p.Title, p.Action = "New webhook", v.base()+"/webhooks/new"
	if p.Form.ID != "" {
		p.Title, p.Action = "Change the webhook", v.base()+"/webhooks/"+p.Form.ID+"/edit"
	}
	if err := v.preview(&p, false); err != nil {
		return err
	}
	u.show(v, status, "webhook-form", p.Title, p)
	return nil
}

// previewWebhook answers with the parts of the form's page that change while it is filled in.
func (u *UI) previewWebhook(v *visit) error {
	p := formPage{Form: readForm(v.r)}
	_, p.Errors = p.Form.webhook()
	var err error
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	if err := v.preview(&p, true); err != nil {
		return err
	}
	return u.part(v, "webhook-form", "changed", p)
}

func (u *UI) createWebhook(v *visit) error {
	f := readForm(v.r)
	w, errs := f.webhook()
	p := formPage{Form: f, Errors: errs}
	made, err := v.c.CreateWebhook(v.r.Context(), w)
	if refused, ok := refusal(err); ok {
		p.refused(refused)
	} else if err != nil {
		return err
	}
	if len(p.Errors) > 0 || p.Other != "" {
		return u.showForm(v, p, http.StatusUnprocessableEntity)
	}
	if made.SigningKey == "" {
		v.redirect(v.base() + "/webhooks/" + made.ID)
		return nil
	}
	u.leadToKey(v, &made)
	return nil
}

func (p *formPage) refused(problem *client.Problem) {
	if p.place(problem.Errors); len(problem.Errors) == 0 {
		p.Other = problem.Detail
	}
}

func (u *UI) updateWebhook(v *visit) error {
	f := readForm(v.r)
	patch, errs := f.patch()
	p := formPage{Form: f, Errors: errs}
	_, err := v.c.UpdateWebhook(v.r.Context(), f.ID, f.ETag, patch)
	if refused, ok := refusal(err); ok {
		p.refused(refused)
	} else if err != nil {
		return err
	}
	if len(p.Errors) > 0 || p.Other != "" {
		return u.showForm(v, p, http.StatusUnprocessableEntity)
	}
	v.redirect(v.base() + "/webhooks/" + f.ID)
	return nil
}
