package demo

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/inbox"
)

// failsFirst is the event type whose first POST is answered with 503.
const failsFirst = "qap.investor.advice.completed"

// methods are the methods of the demo's webhooks, one each.
var methods = []string{http.MethodPost, http.MethodGet}

// hook is a webhook of the demo and what its requests must carry.
type hook struct {
	ID, Method         string
	key                string
	username, password string      // basic authentication, when set
	header             http.Header // headers with their values
}

// facts are what an event says, but its ID and time.
type facts struct {
	Type, ObjectID, ObjectOwnerID, OwnerID string
	Data                                   string // JSON with sorted keys; a GET has none
}

// by is what a request of the method says.
func (f facts) by(method string) facts {
	if method == http.MethodGet {
		f.Data = ""
	}
	return f
}

// pair is one delivery as the receiver knows it.
type pair struct{ event, method string }

// arrival is what arrived for one delivery.
type arrival struct {
	facts                        facts // of the first request
	requests, verified, accepted int
	content                      string // what the first request carried
	changed                      bool   // a later one carried something else
}

// Receiver verifies, prints and counts. It answers 503 once.
type Receiver struct {
	out *inbox.LockedWriter

	mu       sync.Mutex // held from a request's check until it is printed
	hooks    map[string]hook
	names    map[string]string // of objects, by ID
	expected []expectation
	seen     map[pair]*arrival
	shown    map[string]bool // methods of which a request was printed in full
	failed   bool
	total    int
}

// NewReceiver makes the receiver of a firm's webhooks, which prints to out.
func NewReceiver(out *inbox.LockedWriter) *Receiver {
	return &Receiver{out: out, hooks: map[string]hook{}, names: map[string]string{}, seen: map[pair]*arrival{},
		shown: map[string]bool{}}
}

func (d *Receiver) register(h hook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks[h.Method] = h
}

// ServeHTTP receives one webhook request.
func (d *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hooks[req.Method]
	v, err := inbox.Receive(w, req, h.key)
	if err != nil {
		http.Error(w, "unreadable", http.StatusRequestEntityTooLarge)
		return
	}
	authorised := h.authorised(req)
	seen, status := d.judge(&v, authorised)
	d.print(&v, authorised, seen, status)
	w.WriteHeader(status)
}

// judge counts the request and says how it is answered.
func (d *Receiver) judge(v *inbox.Request, authorised bool) (*arrival, int) {
	d.total++
	pair := pair{v.EventID, v.Method}
	content := v.Query + "\n" + string(v.Body)
	s := d.seen[pair]
	if s == nil {
		s = &arrival{facts: factsOf(v), content: content}
		d.seen[pair] = s
	}
	s.requests++
	s.changed = s.changed || s.content != content
	if !v.Checked || v.Verify != nil || !authorised {
		return s, http.StatusUnauthorized
	}
	s.verified++
	if v.EventType == failsFirst && v.Method == http.MethodPost && !d.failed {
		d.failed = true
		return s, http.StatusServiceUnavailable
	}
	s.accepted++
	return s, http.StatusNoContent
}

// factsOf reads what the request says; what cannot be read is empty.
func factsOf(v *inbox.Request) facts {
	if v.Method == http.MethodGet {
		q, _ := url.ParseQuery(v.Query)
		return facts{v.EventType, q.Get("object_id"), q.Get("object_owner_id"), q.Get("owner_id"), q.Get("data")}
	}
	var e struct {
		Object      string  `json:"object_id"`
		ObjectOwner string  `json:"object_owner_id"`
		Owner       string  `json:"owner_id"`
		Data        content `json:"data"`
	}
	_ = json.Unmarshal(v.Body, &e)
	return facts{v.EventType, e.Object, e.ObjectOwner, e.Owner, e.Data.text()}
}

func (d *Receiver) print(v *inbox.Request, authorised bool, s *arrival, status int) {
	auth := "authentication and headers ✓"
	if !authorised {
		auth = "authentication or headers WRONG ✗"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "    %s  #%d %s %s  %s, %s → %d", v.At.Format("15:04:05.000"), d.total, v.Method, v.EventType,
		v.Verdict(), auth, status)
	if d.shown[v.Method] {
		b.WriteString(d.tell(s.facts, "\n       ") + "\n")
	} else {
		d.shown[v.Method] = true
		b.WriteString("\n")
		v.Show(&b, "X-Demo-System")
	}
	switch {
	case status == http.StatusServiceUnavailable:
		b.WriteString("       The receiver fails this one on purpose; its retry comes in about a second.\n")
	case s.requests > 1 && !s.changed:
		b.WriteString("       The retry, with the same bytes.\n")
	}
	_, _ = d.out.Write(b.Bytes())
}

// tell shows facts with the ends of IDs and the names that they stand for, each line after indent.
func (d *Receiver) tell(f facts, indent string) string {
	id := func(id string) string {
		end := id
		if len(id) == 36 {
			end = "…" + id[30:]
		}
		if name := d.names[id]; name != "" {
			end += " (" + name + ")"
		}
		return end
	}
	text := indent + "object_id " + id(f.ObjectID) + ", object_owner_id " + id(f.ObjectOwnerID) + ", owner_id " +
		id(f.OwnerID)
	if f.Data != "" && f.Data != "{}" {
		text += indent + "data " + f.Data
	}
	return text
}

// await waits until all that is expected by now was accepted, for stepTime at most, and tells whether it was.
func (d *Receiver) await(ctx context.Context) bool {
	for end := time.Now().Add(stepTime); ctx.Err() == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if d.complete() {
			return true
		}
	}
	return false
}

func (h *hook) authorised(req *http.Request) bool {
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
