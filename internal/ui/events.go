package ui

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
)

// filter is what a list is filtered by: the page's query.
type filter url.Values

// Get is a value of the filter.
func (f filter) Get(name string) string { return url.Values(f).Get(name) }

// Any tells whether anything is filtered.
func (f filter) Any() bool {
	for name, v := range f {
		if name != "cursor" && len(v) > 0 && v[0] != "" && v[0] != "any" {
			return true
		}
	}
	return false
}

// Values is the filter as a query.
func (f filter) Values() url.Values { return url.Values(f) }

// spans are the ways to say how far back a list goes.
var spans = []struct{ ID, Name string }{{"1h", "Last hour"}, {"24h", "Last 24 hours"}, {"168h", "Last 7 days"}, {"720h", "Last 30 days"}}

// times are the filter's span, or its own beginning and end, in the form of the API.
func (f filter) times() (since, until string) {
	if since = f.Get("span"); since == "any" {
		since = ""
	}
	read := func(name string, to *string) {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05"} { // as browsers give it; UTC
			if t, err := time.Parse(layout, f.Get(name)); err == nil {
				*to = client.At(t).String()
				return
			}
		}
	}
	read("since", &since)
	read("until", &until)
	return since, until
}

// searchSpan is how far back a search by ID goes unless the visitor says.
const searchSpan = "168h"

type eventsPage struct {
	Filter filter
	Events []client.StoredEvent
	Next   string
	Types  []client.EventType
	Spans  any
}

func (u *UI) events(v *visit) error {
	f := filter(v.r.URL.Query())
	if id := strings.TrimSpace(f.Get("id")); id != "" {
		if _, err := uuid.Parse(id); err == nil {
			v.redirect(v.base() + "/events/" + url.PathEscape(id))
			return nil
		}
	}
	ids := f.Get("object_id") + f.Get("object_owner_id") + f.Get("owner_id")
	if _, said := f["span"]; !said && ids != "" && f.Get("since") == "" {
		f["span"] = []string{searchSpan} // of a long history, the part that is likely; the page offers the rest
	}
	q := client.EventQuery{EventType: f.Get("type"), ObjectID: f.Get("object_id"), ObjectOwnerID: f.Get("object_owner_id"), OwnerID: f.Get("owner_id"),
		Cursor: f.Get("cursor"), Limit: 25}
	q.Since, q.Until = f.times()
	list, err := v.c.Events(v.r.Context(), q)
	if err != nil {
		return err
	}
	p := eventsPage{Filter: f, Events: list.Events, Next: list.Next, Spans: spans}
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	u.show(v, http.StatusOK, "events", "Events", p)
	return nil
}

type eventPage struct {
	client.EventDetail
	Names map[string]string
}

func (u *UI) event(v *visit) error {
	e, err := v.c.Event(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	_, names, err := v.webhookNames()
	if err != nil {
		return err
	}
	p := eventPage{e, names}
	if v.r.Header.Get("HX-Request") != "" {
		return u.part(v, "event", "now", p)
	}
	u.show(v, http.StatusOK, "event", "Event "+short(e.ID), p)
	return nil
}

func eventTitle(typ string) string {
	if t, ok := titles[typ]; ok {
		return t
	}
	return typ
}

// titles are a few words for each event type.
var titles = map[string]string{
	"qap.investor.advice.created": "Advice session created", "qap.investor.advice.soft_deleted": "Advice session soft-deleted",
	"qap.investor.advice.deleted": "Advice session deleted", "qap.investor.advice.completed": "Advice session completed",
	"qap.investor.advice.report.created": "Advice report generated", "qap.investor.created": "Investor created",
	"qap.investor.updated": "Investor updated", "qap.investor.soft_deleted": "Investor soft-deleted", "qap.investor.deleted": "Investor deleted",
}
