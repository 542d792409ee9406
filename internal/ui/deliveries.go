package ui

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/quantfolio/qhook/client"
)

// classes are the error classes that deliveries can be filtered by.
var classes = []string{"http_status", "timeout", "connect", "tls", "connection_lost", "redirect", "bad_response", "too_large", "address", "cancelled"}

type deliveriesPage struct {
	Filter     filter
	List       client.DeliveryPage
	WebhookIDs []string
	Names      map[string]string
	Types      []client.EventType
	Classes    []string
	Statuses   []string
	Spans      any
}

// deliveryQuery is the filter as a query of the API.
func deliveryQuery(f filter) client.DeliveryQuery {
	q := client.DeliveryQuery{WebhookID: f.Get("webhook"), EventType: f.Get("type"), Status: f.Get("status"), LastStatus: f.Get("code"),
		LastClass: f.Get("class"), Cursor: f.Get("cursor"), Limit: 50}
	q.Since, q.Until = f.times()
	return q
}

func (u *UI) deliveries(v *visit) error {
	p := deliveriesPage{Filter: filter(v.r.URL.Query()), Classes: classes, Spans: spans,
		Statuses: []string{client.StatusWaiting, client.StatusDelivered, client.StatusExhausted, client.StatusCancelled}}
	var err error
	if p.List, err = v.c.Deliveries(v.r.Context(), deliveryQuery(p.Filter)); err != nil {
		return err
	}
	if p.WebhookIDs, p.Names, err = v.webhookNames(); err != nil {
		return err
	}
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	u.show(v, http.StatusOK, "deliveries", "Deliveries", p)
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

// retryPage is the retrying of many deliveries: before it begins, and after each step. The steps are asked for by the page,
// so that it stops when the page is left, and what was done is on record either way.
type retryPage struct {
	Filter  filter
	Count   client.DeliveryCount
	Running bool
	Ended   bool
	Done    int
	Skipped int
	Cursor  string
	Back    string // the list that it began at
}

func (u *UI) confirmRetry(v *visit) error {
	p := retryPage{Filter: filter(v.r.URL.Query())}
	p.Back = v.base() + "/deliveries" + with(p.Filter.Values(), "done", "")
	if done := p.Filter.Get("done"); done != "" { // it was stopped
		p.Done, _ = strconv.Atoi(done)
		delete(p.Filter, "done")
	}
	q := deliveryQuery(p.Filter)
	statuses := []string{q.Status}
	if q.Status == "" { // what is delivered is retried only if it is asked for
		statuses = []string{client.StatusWaiting, client.StatusExhausted, client.StatusCancelled}
	}
	for _, q.Status = range statuses {
		n, err := v.c.CountDeliveries(v.r.Context(), q)
		if err != nil {
			return err
		}
		p.Count.Count += n.Count
		p.Count.More = p.Count.More || n.More
	}
	u.show(v, http.StatusOK, "retry", "Retry deliveries", p)
	return nil
}

func (u *UI) retryMany(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	if ids := v.r.PostForm["ids"]; len(ids) > 0 || v.r.PostForm.Has("selected") {
		return u.retrySelected(v, ids)
	}
	number := func(name string) int { n, _ := strconv.Atoi(v.r.PostFormValue(name)); return max(n, 0) }
	p := retryPage{Filter: filter(v.r.URL.Query()), Running: true, Done: number("done"), Skipped: number("skipped")}
	p.Count = client.DeliveryCount{Count: number("count"), More: v.r.PostFormValue("more") == "true"}
	p.Back = v.base() + "/deliveries" + with(p.Filter.Values(), "cursor", "")
	q := deliveryQuery(p.Filter)
	q.Cursor, q.Limit = v.r.PostFormValue("cursor"), 200
	step, err := v.c.RetryDeliveries(v.r.Context(), client.RetryMany{Query: q, All: true})
	if err != nil {
		return err
	}
	p.Done, p.Skipped, p.Cursor = p.Done+step.Retried, p.Skipped+step.Skipped, step.Next
	p.Ended = p.Cursor == ""
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "retry", "progress", p)
	}
	u.show(v, http.StatusOK, "retry", "Retry deliveries", p)
	return nil
}

func (u *UI) retrySelected(v *visit, ids []string) error {
	p := retryPage{Filter: filter(v.r.URL.Query()), Running: true, Ended: true, Count: client.DeliveryCount{Count: len(ids)}}
	p.Back = v.base() + "/deliveries" + with(p.Filter.Values(), "cursor", "")
	if len(ids) > 0 {
		step, err := v.c.RetryDeliveries(v.r.Context(), client.RetryMany{IDs: ids})
		if err != nil {
			return err
		}
		p.Done, p.Skipped = step.Retried, step.Skipped
	}
	u.show(v, http.StatusOK, "retry", "Retry deliveries", p)
	return nil
}
