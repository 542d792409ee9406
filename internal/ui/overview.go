package ui

import (
	"net/http"
	"slices"

	"github.com/quantfolio/qhook/client"
)

// periods are those of the numbers, shortest first.
var periods = []struct{ ID, Name string }{
	{client.Hour, "Hour"}, {client.Day, "Day"}, {client.Week, "Week"}, {client.Month, "30 days"},
}

// period is the one that the visitor asked for.
func (v *visit) period() string {
	p := v.r.FormValue("period")
	for _, x := range periods {
		if x.ID == p {
			return p
		}
	}
	return client.Day
}

// numbers are a period's, with its plot.
type numbers struct {
	client.Stats
	Periods any
	At      string // the page's path, for the choice of the period
}

func (v *visit) numbers(webhookID string) (numbers, error) {
	s, err := v.c.Stats(v.r.Context(), v.period(), webhookID)
	return numbers{s, periods, v.r.URL.Path}, err
}

type overviewPage struct {
	Numbers  numbers
	Trouble  []client.WebhookStats
	Webhooks int
	NoProxy  bool // the sender's way out is closed
	Recent   []client.Delivery
	Names    map[string]string // of webhooks by ID
}

func (u *UI) overview(v *visit) error {
	if v.caller.Role == client.RoleAdvisor || v.caller.WebhookID != "" {
		v.redirect(homeOf(v.caller))
		return nil
	}
	var p overviewPage
	var err error
	if p.Numbers, err = v.numbers(""); err != nil {
		return err
	}
	list, err := v.c.WebhookStats(v.r.Context(), client.Day, "")
	if err != nil {
		return err
	}
	hooks := list.Items
	p.Webhooks, p.Names, p.NoProxy = len(hooks), names(hooks), list.ProxyDown
	p.Trouble = slices.DeleteFunc(hooks, func(h client.WebhookStats) bool { return !inTrouble(h.State) })
	recent, err := v.c.Deliveries(v.r.Context(), client.DeliveryQuery{Limit: 8})
	if err != nil {
		return err
	}
	p.Recent = recent.Deliveries
	if err := v.nameMore(p.Names, p.Recent); err != nil {
		return err
	}
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "overview", "now", p)
	}
	u.show(v, 200, "overview", "Overview", p)
	return nil
}

func inTrouble(state string) bool {
	return state == client.StateFailing || state == client.StateUnsteady || state == client.StateDisabledByUs
}

// names are what webhooks are called: their description, or else where they go.
func names(hooks []client.WebhookStats) map[string]string {
	m := map[string]string{}
	for _, h := range hooks {
		m[h.ID] = nameOf(h.Description, h.URL)
	}
	return m
}

func nameOf(description, url string) string {
	if description != "" {
		return description
	}
	return url
}

// webhookNames are the names of the tenant's webhooks, in the order of their making.
func (v *visit) webhookNames() (ids []string, names map[string]string, err error) {
	names = map[string]string{}
	for cursor := ""; ; {
		page, err := v.c.Webhooks(v.r.Context(), client.WebhookQuery{Cursor: cursor, Limit: 200})
		if err != nil {
			return nil, nil, err
		}
		for _, h := range page.Webhooks {
			ids = append(ids, h.ID)
			names[h.ID] = nameOf(h.Description, h.URL)
		}
		if cursor = page.Next; cursor == "" || len(ids) >= maxNames {
			return ids, names, nil
		}
	}
}

const (
	maxNames = 500 // webhooks that can be chosen from in a list
	maxMore  = 50  // others that are looked for, to name them
)

// nameMore adds the names of webhooks that deliveries are of and that are not among the first maxNames. One that has no
// name then was deleted; beyond maxMore it is not known, and the ID stands for it.
func (v *visit) nameMore(names map[string]string, list []client.Delivery) error {
	if len(names) < maxNames {
		return nil
	}
	looked := 0
	for _, d := range list {
		id := d.WebhookID
		if _, known := names[id]; known {
			continue
		}
		if looked++; looked > maxMore {
			names[id] = short(id)
			continue
		}
		w, err := v.c.Webhook(v.r.Context(), id)
		switch {
		case client.IsStatus(err, http.StatusNotFound):
			names[id] = ""
		case err != nil:
			return err
		default:
			names[id] = nameOf(w.Description, w.URL)
		}
	}
	return nil
}
