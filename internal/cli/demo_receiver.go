package cli

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"net/http"
	"sync"
	"text/tabwriter"

	"github.com/quantfolio/qhook/client"
)

// demoFails is the event type whose first POST is answered with 503.
const demoFails = "qap.investor.advice.completed"

// demoTypes is the number of event types on the product page.
const demoTypes = 9

// demoHook is a webhook of the demo and what its requests must carry.
type demoHook struct {
	ID, Method         string
	key                string
	username, password string      // basic authentication, when set
	header             http.Header // headers with their values
}

// demoPair is one delivery as the receiver knows it.
type demoPair struct{ event, method string }

// demoSeen is what arrived for one delivery.
type demoSeen struct {
	requests, verified, accepted int
	content                      string // what the first request carried
	changed                      bool   // a later one carried something else
}

// demoReceiver verifies, prints and counts. It answers 503 once.
type demoReceiver struct {
	out *lockedWriter

	mu     sync.Mutex
	hooks  map[string]demoHook // by method
	seen   map[demoPair]demoSeen
	failed bool
	total  int
}

func newDemoReceiver(out *lockedWriter) *demoReceiver {
	return &demoReceiver{out: out, hooks: map[string]demoHook{}, seen: map[demoPair]demoSeen{}}
}

func (d *demoReceiver) expect(h demoHook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks[h.Method] = h
}

// ServeHTTP receives one webhook request.
func (d *demoReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d.mu.Lock()
	h := d.hooks[req.Method]
	d.mu.Unlock()
	v, err := receive(w, req, h.key)
	if err != nil {
		http.Error(w, "unreadable", http.StatusRequestEntityTooLarge)
		return
	}
	authorised := h.authorised(req)
	status := d.judge(&v, authorised)

	var b bytes.Buffer
	d.mu.Lock()
	d.total++
	auth := "authentication and headers ✓"
	if !authorised {
		auth = "authentication or headers WRONG ✗"
	}
	fmt.Fprintf(&b, "%s  #%d %s  %s, %s → %d\n", v.At.Format("15:04:05.000"), d.total, v.EventType, v.verdict(), auth, status)
	d.mu.Unlock()
	v.write(&b, "X-Demo-System")
	if status == http.StatusServiceUnavailable {
		b.WriteString("    The receiver fails this one on purpose; its retry comes in about a second.\n")
	}
	b.WriteString("\n")
	_, _ = d.out.Write(b.Bytes())
	w.WriteHeader(status)
}

// judge counts the request and says how it is answered.
func (d *demoReceiver) judge(v *received, authorised bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	pair := demoPair{v.EventID, v.Method}
	s := d.seen[pair]
	s.requests++
	content := v.Query + "\n" + string(v.Body)
	if s.requests == 1 {
		s.content = content
	}
	s.changed = s.changed || s.content != content
	status := http.StatusNoContent
	switch {
	case !v.Checked || v.Verify != nil || !authorised:
		status = http.StatusUnauthorized
	case v.EventType == demoFails && v.Method == http.MethodPost && !d.failed:
		d.failed = true
		s.verified++
		status = http.StatusServiceUnavailable
	default:
		s.verified++
		s.accepted++
	}
	d.seen[pair] = s
	return status
}

func (h *demoHook) authorised(req *http.Request) bool {
	if h.username != "" {
		u, p, _ := req.BasicAuth()
		if !same(u, h.username) || !same(p, h.password) {
			return false
		}
	}
	for name := range h.header {
		if !same(req.Header.Get(name), h.header.Get(name)) {
			return false
		}
	}
	return h.key != ""
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// summary prints what arrived beside what the API has on record, and is true when all of it is as it should be.
func (d *demoReceiver) summary(published []client.Published, hooks []demoHook, records []client.Delivery) bool {
	byPair := map[demoPair]client.Delivery{}
	for _, r := range records {
		for _, h := range hooks {
			if h.ID == r.WebhookID {
				byPair[demoPair{r.EventID, h.Method}] = r
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	good, all := 0, len(published)*len(hooks)
	fmt.Fprintln(d.out, "Summary: what the receiver saw, and what the API has on record.")
	fmt.Fprintln(d.out)
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT TYPE\tWEBHOOK\tREQUESTS\tVERIFIED\tON RECORD\tATTEMPTS\t")
	for _, p := range published {
		for _, h := range hooks {
			pair := demoPair{p.ID, h.Method}
			s, r := d.seen[pair], byPair[pair]
			ok := s.accepted == 1 && s.verified == s.requests && !s.changed && r.Status == client.StatusDelivered && r.Attempts == s.requests
			mark := "✗"
			if ok {
				mark = "✓"
				good++
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%d\t%s\n", p.Type, h.Method, s.requests, s.verified, r.Status, r.Attempts, mark)
		}
	}
	_ = w.Flush()
	_, _ = d.out.Write(b.Bytes())
	ok := good == all && len(published) == demoTypes && d.failed && d.total == all+1
	fmt.Fprintf(d.out, "\n%d of %d deliveries arrived, verified, and are on record with as many attempts as requests were seen.\n", good, all)
	if ok {
		fmt.Fprintf(d.out, "One request was failed on purpose (503); its retry arrived with the same bytes.\n")
	}
	if !ok {
		fmt.Fprintf(d.out, "NOT as it should be: %d requests seen, %d expected.\n", d.total, all+1)
	}
	return ok
}
