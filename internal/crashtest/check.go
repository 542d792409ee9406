// Package crashtest shows that nothing accepted is lost: it kills, starves and breaks a real node under load, and then
// compares three logs by sets: what the publisher had answered, what the receiver got, and what the product's own
// record says. It is not part of the product. Start at Check.
package crashtest

import (
	"fmt"
	"sort"
)

// Key names a delivery: an event's ID and a webhook's.
type Key struct{ Event, Webhook string }

// Logs is what the three sides wrote down.
type Logs struct {
	Accepted []Key       // deliveries owed for events that the publisher was answered 202 for
	Unsure   []string    // IDs of events whose answer was never read: accepted or not, but wholly one of them
	Requests map[Key]int // whole requests that the receiver read
	Answered map[Key]int // those of them that it answered with 2xx
	Record   map[Key]Entry
}

// Entry is the product's own record of one delivery.
type Entry struct {
	Status string
	Sent   int // attempts on record for which a request left
}

// Report is what a comparison came to.
type Report struct {
	Findings   []string // broken promises; none: all is well
	Duplicates int      // requests answered with 2xx beyond the first of each delivery
	Unrecorded int      // requests that are on no record, since the node died between the response and its commit
}

// Check compares the logs. At most inFlight requests may be unrecorded for each kill: those under way when it came.
func Check(l Logs, kills, inFlight int) Report {
	var r Report
	bad := func(format string, args ...any) { r.Findings = append(r.Findings, fmt.Sprintf(format, args...)) }
	unsure := map[string]bool{}
	for _, id := range l.Unsure {
		unsure[id] = true
	}
	owed := map[Key]bool{}
	for _, k := range l.Accepted {
		owed[k] = true
		if l.Answered[k] == 0 {
			bad("lost: event %s was answered 202 and never arrived at webhook %s", k.Event, k.Webhook)
		}
		if e, ok := l.Record[k]; !ok {
			bad("unknown: event %s was answered 202 and its delivery to %s is not on record", k.Event, k.Webhook)
		} else if e.Status != "delivered" {
			bad("unsettled: event %s to %s is %s on record", k.Event, k.Webhook, e.Status)
		}
	}
	for k, n := range l.Answered {
		r.Duplicates += max(0, n-1)
		if !owed[k] && !unsure[k.Event] {
			bad("invented: event %s arrived at %s and nobody published it", k.Event, k.Webhook)
		}
	}
	for k, n := range l.Requests {
		r.Unrecorded += max(0, n-l.Record[k].Sent)
	}
	for k, e := range l.Record {
		if e.Status == "delivered" && l.Answered[k] == 0 {
			bad("false record: event %s to %s is delivered on record and the receiver answered no request for it",
				k.Event, k.Webhook)
		}
		if !owed[k] && !unsure[k.Event] {
			bad("invented record: event %s to %s is on record and nobody published it", k.Event, k.Webhook)
		}
	}
	if limit := kills * inFlight; r.Unrecorded > limit {
		bad("unrecorded: %d requests are on no record; %d kills explain at most %d", r.Unrecorded, kills, limit)
	}
	if r.Duplicates > r.Unrecorded {
		bad("duplicates: %d second deliveries, but only %d requests are unrecorded", r.Duplicates, r.Unrecorded)
	}
	sort.Strings(r.Findings)
	return r
}
