package api

import (
	"strconv"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
)

const periodText = "must be an RFC 3339 time such as 2023-03-15T12:46:00.000Z, or how long ago, such as 90m, 24h or 7d"

// period reads when an event was accepted: since <= t < until. What is said as so long ago is what it came to when the
// first page was asked for, which the cursor has: from, of the page before, becomes that of this one.
func (a *api) period(since, until string, from *cursor, v *event.Violations) (begin, end time.Time) {
	first := from.first == 0
	read := func(field, text string, resolved *int64) time.Time {
		if text == "" {
			return time.Time{}
		}
		if ago, ok := parseAgo(text); ok {
			if first {
				*resolved = a.now().Add(-ago).UnixMilli()
			}
			return time.UnixMilli(*resolved).UTC()
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.Year() < 1970 {
			v.Add(field, periodText)
		}
		return t.UTC()
	}
	return read("query.since", since, &from.since), read("query.until", until, &from.until)
}

// parseAgo reads a duration that may be in days.
func parseAgo(text string) (time.Duration, bool) {
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n <= 20_000
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0 && d <= 20_000*24*time.Hour
}

// resolved is a time of the cursor in answers.
func resolved(millis int64) client.Time {
	if millis == 0 {
		return client.Time{}
	}
	return client.At(time.UnixMilli(millis))
}
