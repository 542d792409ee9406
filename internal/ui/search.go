package ui

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

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
var spans = []struct{ ID, Name string }{
	{"1h", "Last hour"}, {"24h", "Last 24 hours"}, {"168h", "Last 7 days"}, {"720h", "Last 30 days"},
}

// search is a list's filter, and what is wrong with it.
type search struct {
	Filter filter            // as it was asked for
	Fixed  filter            // its times as they came to: further pages, and what is done to all, are of the same ones
	Wrong  map[string]string // by field
	Other  string            // what is wrong and is of no field
	Spans  any
}

// searchOf reads a page's query.
func searchOf(query url.Values) search {
	s := search{Filter: filter(query), Fixed: filter(maps.Clone(query)), Wrong: map[string]string{}, Spans: spans}
	if span := s.Filter.Get("span"); span != "" { // it counts, and not the times that were there before
		delete(s.Fixed, "since")
		delete(s.Fixed, "until")
		delete(s.Fixed, "span")
		if ago, err := time.ParseDuration(span); err == nil {
			s.Fixed["since"] = []string{client.At(time.Now().Add(-ago)).String()}
		} else if span != "any" {
			s.Wrong["span"] = "must be one of these"
		}
		return s
	}
	for _, name := range []string{"since", "until"} {
		text := s.Filter.Get(name)
		if text == "" {
			continue
		}
		if t, ok := timeOf(text); ok {
			s.Fixed[name] = []string{client.At(t).String()}
		} else {
			s.Wrong[name] = "must be a time such as 2026-01-31T14:05, in UTC"
			delete(s.Fixed, name)
		}
	}
	return s
}

// timeOf reads a time as the API and browsers write it; UTC unless it says.
func timeOf(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// fields are the filter's names for what the API names otherwise.
var fields = map[string]string{
	"webhook_id": "webhook", "event_type": "type", "last_status": "code", "last_class": "class",
}

// ask has the API answer. What it refuses of the filter is wrong, too; then the list is of no use.
func (s *search) ask(list func(filter) error) error {
	err := list(s.Fixed)
	refused, ok := refusal(err)
	if !ok {
		return err
	}
	for _, e := range refused.Errors {
		name := strings.TrimPrefix(e.Location, "query.")
		if own := fields[name]; own != "" {
			name = own
		}
		if name == "cursor" {
			s.Other = "This address goes on with another list. Search again from the beginning."
			continue
		}
		s.Wrong[name] = e.Message
	}
	if len(refused.Errors) == 0 {
		s.Other = refused.Detail
	}
	return nil
}

// Refused tells whether there is no list, since something is wrong.
func (s search) Refused() bool { return len(s.Wrong) > 0 || s.Other != "" }

// status is the HTTP status of the list's page.
func (s search) status() int {
	if s.Refused() {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}
