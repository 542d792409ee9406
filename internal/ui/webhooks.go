package ui

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/quantfolio/qhook/client"
)

func (u *UI) webhooks(v *visit) error {
	p, err := v.c.WebhookStats(v.r.Context(), client.Day, "")
	if err != nil {
		return err
	}
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "webhooks", "now", p)
	}
	u.show(v, http.StatusOK, "webhooks", "Webhooks", p)
	return nil
}

// webhookPage is a webhook's own page; the pages below it have its head too.
type webhookPage struct {
	client.Webhook
	Name    string
	Tab     string
	State   client.WebhookStats
	Numbers numbers
	Recent  []client.Delivery
	Content any // of the page below it
}

// head reads what all pages of a webhook show.
func (v *visit) head(tab string) (p webhookPage, err error) {
	p.Tab = tab
	if p.Webhook, err = v.c.Webhook(v.r.Context(), v.r.PathValue("id")); err != nil {
		return p, err
	}
	p.Name = nameOf(p.Description, p.URL)
	list, err := v.c.WebhookStats(v.r.Context(), client.Day, p.ID)
	if err == nil && len(list.Items) > 0 {
		p.State = list.Items[0]
	}
	return p, err
}

func (u *UI) webhook(v *visit) error {
	p, err := v.head("overview")
	if err != nil {
		return err
	}
	if p.Numbers, err = v.numbers(p.ID); err != nil {
		return err
	}
	recent, err := v.c.Deliveries(v.r.Context(), client.DeliveryQuery{WebhookID: p.ID, Limit: 10})
	if err != nil {
		return err
	}
	p.Recent = recent.Deliveries
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "webhook", "now", p)
	}
	u.show(v, http.StatusOK, "webhook", p.Name, p)
	return nil
}

func (u *UI) pauseWebhook(v *visit) error {
	on := v.r.PostFormValue("enabled") == "true"
	w, err := v.c.UpdateWebhook(v.r.Context(), v.r.PathValue("id"), "", client.WebhookPatch{Enabled: &on})
	if err != nil {
		return err
	}
	v.redirect(v.base() + "/webhooks/" + w.ID)
	return nil
}

func (u *UI) confirmDelete(v *visit) error {
	p, err := v.head("settings")
	if err != nil {
		return err
	}
	u.show(v, http.StatusOK, "webhook-delete", "Delete "+p.Name, p)
	return nil
}

func (u *UI) deleteWebhook(v *visit) error {
	if err := v.c.DeleteWebhook(v.r.Context(), v.r.PathValue("id"), ""); err != nil {
		return err
	}
	v.redirect(v.base() + "/webhooks")
	return nil
}

// keyPage is about a webhook's signing keys.
type keyPage struct {
	Key   string // that was just made
	Gone  bool   // it was shown before
	Error string
}

func (u *UI) signingKey(v *visit) error {
	key, gone := answerTo[string](u, v)
	return u.showKey(v, keyPage{Key: key, Gone: gone}, http.StatusOK)
}

func (u *UI) showKey(v *visit, k keyPage, status int) error {
	p, err := v.head("key")
	if err != nil {
		return err
	}
	p.Content = k
	u.show(v, status, "webhook-key", "Signing key of "+p.Name, p)
	return nil
}

func (u *UI) rotateKey(v *visit) error {
	var patch client.WebhookPatch
	yes, typed := true, v.r.PostFormValue("signing_key")
	switch v.r.PostFormValue("signing") {
	case "generate":
		patch.GenerateSigningKey = &yes
	case "typed":
		patch.SigningKey = &typed
	case "none":
		none := ""
		patch.SigningKey = &none
	}
	if patch.SigningKey == nil || *patch.SigningKey != "" {
		patch.SigningKeyOverlap = durationOf(v.r.PostFormValue("overlap"))
		if v.r.PostFormValue("force") != "" {
			patch.Force = &yes
		}
	}
	changed, err := v.c.UpdateWebhook(v.r.Context(), v.r.PathValue("id"), "", patch)
	if client.IsStatus(err, http.StatusConflict) {
		return u.showKey(v, keyPage{Error: "A rotation is under way: the key before is promised still, and would end " +
			"now. Wait until its time is over, or tick that it may end."}, http.StatusConflict)
	}
	if refused, ok := refusal(err); ok {
		return u.showKey(v, keyPage{Error: sentence(refused)}, refused.Status)
	} else if err != nil {
		return err
	}
	u.leadToKey(v, &changed)
	return nil
}

// leadToKey goes on to the page of the webhook's signing keys, which shows a new one once.
func (u *UI) leadToKey(v *visit, w *client.Webhook) {
	at := "/webhooks/" + url.PathEscape(w.ID) + "/key"
	if w.SigningKey == "" {
		v.redirect(v.base() + at)
		return
	}
	u.answerAt(v, at, w.SigningKey)
}

// sentence is what a problem says in one text.
func sentence(p *client.Problem) string {
	if len(p.Errors) == 0 {
		return p.Detail
	}
	s := ""
	for _, e := range p.Errors {
		s += e.Location + " " + e.Message + ". "
	}
	return s
}

// testPage is a test send, before and after.
type testPage struct {
	Type   string
	Types  []client.EventType // that the webhook wants
	Result *client.TestResult
	Gone   bool // the result was shown before
	Error  string
}

func (u *UI) tryWebhook(v *visit) error {
	p, gone := answerTo[testPage](u, v)
	p.Gone = gone
	return u.showTest(v, p, http.StatusOK)
}

func (u *UI) testWebhook(v *visit) error {
	p := testPage{Type: v.r.PostFormValue("type")}
	w, err := v.c.Webhook(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	types, err := v.wanted(&w)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(types, func(t client.EventType) bool { return t.Type == p.Type }) {
		p.Error = "The webhook does not want " + p.Type + ". Choose one of the events that it wants."
		return u.showTest(v, p, http.StatusUnprocessableEntity)
	}
	res, err := v.c.TestWebhook(v.r.Context(), w.ID, p.Type)
	if refused, ok := refusal(err); ok {
		p.Error = sentence(refused)
		return u.showTest(v, p, refused.Status)
	} else if err != nil {
		return err
	}
	p.Result = &res
	u.answerAt(v, "/webhooks/"+url.PathEscape(w.ID)+"/test", p)
	return nil
}

func (u *UI) showTest(v *visit, t testPage, status int) error {
	p, err := v.head("test")
	if err != nil {
		return err
	}
	if t.Types, err = v.wanted(&p.Webhook); err != nil {
		return err
	}
	p.Content = t
	u.show(v, status, "webhook-test", "Test "+p.Name, p)
	return nil
}

// wanted are the event types of the catalogue that a webhook asks for.
func (v *visit) wanted(w *client.Webhook) ([]client.EventType, error) {
	types, err := v.c.EventTypes(v.r.Context())
	if err != nil {
		return nil, err
	}
	as := client.NewWebhook{URL: w.URL, Method: w.Method, EventTypes: w.EventTypes}
	p, err := v.c.PreviewWebhook(v.r.Context(), client.PreviewWebhook{NewWebhook: as, ID: w.ID})
	return slices.DeleteFunc(types, func(t client.EventType) bool { return !slices.Contains(p.Matches, t.Type) }), err
}

// languages are those of the receiver code.
var languages = []struct{ ID, Name string }{
	{"go", "Go"}, {"node", "Node.js"}, {"python", "Python"}, {"java", "Java"}, {"csharp", "C#"}, {"php", "PHP"},
}

type verifyPage struct {
	Languages      any
	Language, Code string
}

func (u *UI) verifyWebhook(v *visit) error {
	p, err := v.head("verify")
	if err != nil {
		return err
	}
	c := verifyPage{Languages: languages, Language: "go"}
	for _, l := range languages {
		if l.ID == v.r.FormValue("language") {
			c.Language = l.ID
		}
	}
	program, err := v.c.ReceiverCode(v.r.Context(), p.ID, c.Language)
	if err != nil {
		return err
	}
	c.Code = program.Code
	p.Content = c
	u.show(v, http.StatusOK, "webhook-verify", "Verify requests of "+p.Name, p)
	return nil
}
