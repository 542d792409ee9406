package ui

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/quantfolio/qhook/client"
)

// classes are the error classes that deliveries can be filtered by: all that are put on record.
func classes() (list []string) {
	for _, e := range client.ErrorClasses {
		if e.Class != "local" && !slices.Contains(list, e.Class) {
			list = append(list, e.Class)
		}
	}
	return list
}

type deliveriesPage struct {
	Search     search
	List       client.DeliveryPage
	WebhookIDs []string
	Names      map[string]string
	Types      []client.EventType
	Classes    []string
	Statuses   []string
}

// deliveryQuery is the filter as a query of the API.
func deliveryQuery(f filter) client.DeliveryQuery {
	return client.DeliveryQuery{WebhookID: f.Get("webhook"), EventType: f.Get("type"), Status: f.Get("status"),
		LastStatus: f.Get("code"), LastClass: f.Get("class"), Since: f.Get("since"), Until: f.Get("until"),
		Cursor: f.Get("cursor"), Limit: 50}
}

func (u *UI) deliveries(v *visit) error {
	p := deliveriesPage{Search: searchOf(v.r.URL.Query()), Classes: classes(), Statuses: []string{client.StatusWaiting,
		client.StatusDelivered, client.StatusExhausted, client.StatusCancelled}}
	err := p.Search.ask(func(f filter) (err error) {
		p.List, err = v.c.Deliveries(v.r.Context(), deliveryQuery(f))
		return err
	})
	if err != nil {
		return err
	}
	if p.Search.Refused() {
		p.List = client.DeliveryPage{}
	}
	if p.WebhookIDs, p.Names, err = v.webhookNames(); err != nil {
		return err
	}
	if err := v.nameMore(p.Names, p.List.Deliveries); err != nil {
		return err
	}
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	u.show(v, p.Search.status(), "deliveries", "Deliveries", p)
	return nil
}

type deliveryPage struct {
	client.DeliveryDetail
	Webhook *client.Webhook // nil: deleted
	Name    string
}

// Slowest is the longest attempt, milliseconds; the bars of the others are drawn against it.
func (p deliveryPage) Slowest() (ms int64) {
	for _, a := range p.AttemptLog {
		ms = max(ms, a.DurationMS)
	}
	return ms
}

func (u *UI) delivery(v *visit) error {
	d, err := v.c.Delivery(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := deliveryPage{DeliveryDetail: d, Name: "a deleted webhook"}
	w, err := v.c.Webhook(v.r.Context(), d.WebhookID)
	if err == nil {
		p.Webhook, p.Name = &w, nameOf(w.Description, w.URL)
	} else if !client.IsStatus(err, http.StatusNotFound) {
		return err
	}
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "delivery", "now", p)
	}
	u.show(v, http.StatusOK, "delivery", "Delivery of "+eventTitle(d.EventType), p)
	return nil
}

func (u *UI) retry(v *visit) error {
	id := v.r.PathValue("id")
	if err := v.c.RetryDelivery(v.r.Context(), id); err != nil {
		return err
	}
	v.redirect(v.base() + "/deliveries/" + url.PathEscape(id))
	return nil
}
