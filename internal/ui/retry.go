package ui

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/quantfolio/qhook/client"
)

// retryPage is the retrying of many deliveries: before it begins, and after each step. Each step is asked for by the
// page, so that it stops when the page is left, and what was done is on record either way. How far it came is in the
// page's address and forms, so that a page that is loaded again shows it and does nothing.
type retryPage struct {
	Filter  filter
	Count   client.DeliveryCount
	Done    int
	Skipped int
	Cursor  string // of the next step
	Ended   bool
	Running bool   // the page asks for the next step by itself
	Error   string // why the step failed
	Here    string // the address of this page without how far it came
	Back    string // the list that it began at
}

// begun tells whether any step was made.
func (p retryPage) begun() bool { return p.Ended || p.Cursor != "" }

// retryOf reads how far it came from what a form or an address says, and the filter from the address.
func (v *visit) retryOf(said url.Values) (p retryPage, refused bool) {
	s := searchOf(v.r.URL.Query())
	number := func(name string) int { n, _ := strconv.Atoi(said.Get(name)); return max(n, 0) }
	p = retryPage{Filter: s.Fixed, Done: number("done"), Skipped: number("skipped"), Cursor: said.Get("cursor"),
		Ended: said.Get("ended") != ""}
	p.Count = client.DeliveryCount{Count: number("count"), More: said.Get("more") == "true"}
	for _, name := range []string{"done", "skipped", "cursor", "ended", "count", "more"} {
		delete(p.Filter, name)
	}
	query := with(p.Filter.Values(), "", "")
	p.Here, p.Back = v.base()+"/deliveries/retry"+query, v.base()+"/deliveries"+query
	return p, s.Refused()
}

// At is the address that shows how far it came.
func (p retryPage) At() string {
	v := maps.Clone(p.Filter.Values())
	set := func(name, value string) { v[name] = []string{value} }
	set("done", strconv.Itoa(p.Done))
	set("skipped", strconv.Itoa(p.Skipped))
	set("count", strconv.Itoa(p.Count.Count))
	set("more", strconv.FormatBool(p.Count.More))
	if p.Ended {
		set("ended", "1")
	} else {
		set("cursor", p.Cursor)
	}
	path, _, _ := strings.Cut(p.Here, "?")
	return path + "?" + v.Encode()
}

func (u *UI) confirmRetry(v *visit) error {
	p, refused := v.retryOf(v.r.URL.Query())
	if refused {
		v.redirect(p.Back) // where it is said what is wrong
		return nil
	}
	if !p.begun() {
		err := p.count(v)
		if _, ok := refusal(err); ok {
			v.redirect(p.Back)
			return nil
		} else if err != nil {
			return err
		}
	}
	u.show(v, http.StatusOK, "retry", "Retry deliveries", p)
	return nil
}

// count counts what would be retried: what is delivered is only if it is asked for.
func (p *retryPage) count(v *visit) error {
	q := deliveryQuery(p.Filter)
	statuses := []string{q.Status}
	if q.Status == "" {
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
	return nil
}

func (u *UI) retryMany(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	p, _ := v.retryOf(v.r.PostForm)
	if v.r.PostForm.Has("selected") {
		return u.retrySelected(v, p)
	}
	q := deliveryQuery(p.Filter)
	q.Cursor, q.Limit = p.Cursor, 200
	step, err := v.c.RetryDeliveries(v.r.Context(), client.RetryMany{Query: q, All: true})
	if p.Running = err == nil; p.Running {
		p.Done, p.Skipped, p.Cursor = p.Done+step.Retried, p.Skipped+step.Skipped, step.Next
		p.Ended = p.Cursor == ""
	} else {
		p.Error = u.said(v, err)
	}
	switch {
	case v.r.Header.Get("HX-Request") != "":
		return u.part(v, "retry", "progress", p)
	case err != nil:
		u.show(v, statusOf(err), "retry", "Retry deliveries", p)
	default:
		v.redirect(p.At())
	}
	return nil
}

// retrySelected retries those that were ticked in a list.
func (u *UI) retrySelected(v *visit, p retryPage) error {
	ids := v.r.PostForm["ids"]
	p.Ended, p.Count.Count = true, len(ids)
	if len(ids) > 0 {
		step, err := v.c.RetryDeliveries(v.r.Context(), client.RetryMany{IDs: ids})
		if err != nil {
			return err
		}
		p.Done, p.Skipped = step.Retried, step.Skipped
	}
	v.redirect(p.At())
	return nil
}
