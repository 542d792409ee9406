package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"text/tabwriter"

	"github.com/quantfolio/qhook/client"
)

// demoTypes is the number of event types on the product page.
const demoTypes = 9

// faultIndent begins the lines of what is wrong but their first.
const faultIndent = "\n        "

// expectation is an event that a change must trigger.
type expectation struct {
	facts
	name  string // the object's
	cause string
}

// text is the data as facts have it.
func (d content) text() string {
	if len(d) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(d) // of JSON values, which never fails
	return string(b)
}

// expect adds an event that must arrive. The caller holds d.mu.
func (d *Receiver) expect(e expectation) {
	d.expected = append(d.expected, e)
	d.names[e.ObjectID] = e.name
}

// match finds the ID of each expected event: one whose POST says what is expected, another for each. It is empty
// when there is none. The caller holds d.mu.
func (d *Receiver) match() []string {
	ids := make([]string, len(d.expected))
	for i, want := range d.expected {
		for pair, s := range d.seen {
			if pair.method == http.MethodPost && s.facts == want.facts && !slices.Contains(ids, pair.event) {
				ids[i] = pair.event
				break
			}
		}
	}
	return ids
}

// complete tells whether every expected event was accepted by every webhook.
func (d *Receiver) complete() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.match() {
		for _, method := range methods {
			if s := d.seen[pair{id, method}]; s == nil || s.accepted == 0 {
				return false
			}
		}
	}
	return true
}

// summary prints what arrived beside what the API has on record, and is true when all of it is as it must be.
func (d *Receiver) summary(types []client.EventType, records []client.Delivery) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := d.match()
	record := map[pair]client.Delivery{}
	for _, r := range records {
		for _, h := range d.hooks {
			if h.ID == r.WebhookID {
				record[pair{r.EventID, h.Method}] = r
			}
		}
	}
	var wrong []string
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT TYPE\tCAUSED BY\tPOST\tGET")
	rows := 0
	for _, et := range types {
		before := rows
		for i, want := range d.expected {
			if want.Type != et.Type {
				continue
			}
			rows++
			fmt.Fprintf(w, "%s\t%s", want.Type, want.cause)
			for _, method := range methods {
				pair := pair{ids[i], method}
				mark := "✓"
				if fault := d.fault(pair, want.facts, record[pair]); fault != "" {
					mark = "✗"
					wrong = append(wrong,
						fmt.Sprintf("%s:%sThe %s of %s %s", want.cause, faultIndent, method, want.Type, fault))
				}
				fmt.Fprintf(w, "\t%d/%d %s", d.requests(pair), record[pair].Attempts, mark)
			}
			fmt.Fprintln(w)
		}
		if rows == before {
			wrong = append(wrong, "No change triggered "+et.Type+".")
		}
	}
	_ = w.Flush()
	wrong = append(wrong, d.surplus(ids)...)
	all := len(d.expected) * len(methods)
	if len(types) != demoTypes {
		wrong = append(wrong, fmt.Sprintf("The server has %d event types; there must be %d.", len(types), demoTypes))
	}
	if rows != len(d.expected) {
		wrong = append(wrong, "A change triggers an event type that the server does not list.")
	}
	if !d.failed || d.total != all+1 {
		wrong = append(wrong, fmt.Sprintf("%d requests arrived; there must be %d, one failed on purpose and retried.", d.total, all+1))
	}
	if len(records) != all {
		wrong = append(wrong, fmt.Sprintf("%d deliveries are on record; there must be %d.", len(records), all))
	}

	fmt.Fprintf(d.out, "\nSummary: requests that the receiver saw / attempts that the API has on record. ✓: accepted once, verified, with exactly\n"+
		"the IDs and the data that follow from the change, and on record as delivered with as many attempts as requests.\n\n%s\n", b.Bytes())
	if len(wrong) == 0 {
		fmt.Fprintf(d.out, "%d events of all %d types, %d deliveries, and nothing else arrived.\n"+
			"One request was failed on purpose (503); its retry arrived with the same bytes.\n", len(d.expected), len(types), all)
		return true
	}
	fmt.Fprintln(d.out, "NOT as it must be:")
	for _, s := range wrong {
		fmt.Fprintln(d.out, "    "+s)
	}
	return false
}

// fault says what is wrong with a delivery; nothing: "".
func (d *Receiver) fault(p pair, want facts, r client.Delivery) string {
	s := d.seen[p]
	switch {
	case s == nil:
		return "did not arrive. It must say" + d.tell(want.by(p.method), faultIndent)
	case s.facts != want.by(p.method):
		return "says" + d.tell(s.facts, faultIndent) + faultIndent + "It must say" +
			d.tell(want.by(p.method), faultIndent)
	case s.verified != s.requests:
		return "was not signed or authorised as it must be."
	case s.accepted != 1:
		return fmt.Sprintf("was accepted %d times.", s.accepted)
	case s.changed:
		return "was retried with other bytes."
	case r.Status != client.StatusDelivered || r.Attempts != s.requests:
		return fmt.Sprintf("is on record as %q with %d attempts, and %d requests were seen.", r.Status,
			r.Attempts, s.requests)
	}
	return ""
}

// surplus tells of each delivery that no change explains.
func (d *Receiver) surplus(ids []string) []string {
	var wrong []string
	for p, s := range d.seen {
		if !slices.Contains(ids, p.event) {
			wrong = append(wrong, fmt.Sprintf("No change explains the %s of %s %s, which says%s", p.method, s.facts.Type, p.event, d.tell(s.facts, faultIndent)))
		}
	}
	slices.Sort(wrong)
	return wrong
}

func (d *Receiver) requests(p pair) int {
	if s := d.seen[p]; s != nil {
		return s.requests
	}
	return 0
}
