package ui

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
)

// searchSpan is how far back a search by ID goes unless the visitor says.
const searchSpan = "168h"

type eventsPage struct {
	Search search
	Events []client.StoredEvent
	Next   string
	Types  []client.EventType
}

func (u *UI) events(v *visit) error {
	f := filter(v.r.URL.Query())
	id := strings.TrimSpace(f.Get("id"))
	if _, err := uuid.Parse(id); err == nil {
		v.redirect(v.base() + "/events/" + url.PathEscape(id))
		return nil
	}
	ids := f.Get("object_id") + f.Get("object_owner_id") + f.Get("owner_id")
	if ids != "" && f.Get("span")+f.Get("since")+f.Get("until") == "" {
		f["span"] = []string{searchSpan} // of a long history, the part that is likely; the page offers the rest
	}
	p := eventsPage{Search: searchOf(f.Values())}
	if id != "" {
		p.Search.Wrong["id"] = "must be an event ID such as 0190a5d2-7c1e-7000-8000-0123456789ab"
	}
	err := p.Search.ask(func(f filter) error {
		list, err := v.c.Events(v.r.Context(), client.EventQuery{EventType: f.Get("type"), ObjectID: f.Get("object_id"),
			ObjectOwnerID: f.Get("object_owner_id"), OwnerID: f.Get("owner_id"), Since: f.Get("since"),
			Until: f.Get("until"), Cursor: f.Get("cursor"), Limit: 25})
		p.Events, p.Next = list.Events, list.Next
		return err
	})
	if err != nil {
		return err
	}
	if p.Search.Refused() {
		p.Events, p.Next = nil, ""
	}
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	u.show(v, p.Search.status(), "events", "Events", p)
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
	if err := v.nameMore(names, e.Deliveries); err != nil {
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
	"qap.investor.advice.created":        "Advice session created",
	"qap.investor.advice.soft_deleted":   "Advice session soft-deleted",
	"qap.investor.advice.deleted":        "Advice session deleted",
	"qap.investor.advice.completed":      "Advice session completed",
	"qap.investor.advice.report.created": "Advice report generated",
	"qap.investor.created":               "Investor created",
	"qap.investor.updated":               "Investor updated",
	"qap.investor.soft_deleted":          "Investor soft-deleted",
	"qap.investor.deleted":               "Investor deleted",
}
