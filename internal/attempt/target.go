package attempt

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

// Target is a webhook prepared for sending; immutable, made once for each of its versions.
type Target struct {
	origin   webhook.Origin
	poolKey  string // connections are shared by targets with the same origin
	path     string // request target: path and query as saved
	method   webhook.Method
	timeout  time.Duration
	headers  []header // authentication and custom ones
	webhook  *webhook.Webhook
	signers  []*signature.Signer // of the webhook's signing keys, in their order
	secrets  [][]byte            // that no answer may show
	sessions tls.ClientSessionCache
	test     bool   // the answer's headers are kept
	asks     string // for whom the request asks for consent; empty: it is a webhook's
}

// Origin names the target's scheme, host and port; targets with the same share connections.
func (t *Target) Origin() string { return t.poolKey }

// ForTest is the target of a request whose answer is shown in full.
func (t *Target) ForTest() *Target {
	c := *t
	c.test = true
	return &c
}

// ForConsent is the target of a request that asks whether requests of a sender are welcome, whom a DNS name identifies:
// the validation request of CloudEvents' HTTP 1.1 Web Hooks, section 4.1. It carries no secret and no signature, since
// who is asked may be anybody.
func (t *Target) ForConsent(sender string) *Target {
	c := *t.ForTest()
	c.method, c.asks, c.headers = "OPTIONS", sender, nil
	return &c
}

// Consents tells whether the answer to a request of ForConsent allows the sender's (the same, section 4.2.1). Its
// status says nothing of that.
func Consents(r *Result, sender string) bool {
	return slices.ContainsFunc(r.Headers, func(h [2]string) bool {
		v := strings.TrimSpace(h[1])
		return strings.EqualFold(h[0], "WebHook-Allowed-Origin") && (v == "*" || strings.EqualFold(v, sender))
	})
}

// maxKeptHeaders bounds the header lines that are kept of an answer to a test.
const maxKeptHeaders = 100

// keep is where the answer's headers are kept; nil: nowhere.
func (t *Target) keep(r *Result) *[][2]string {
	if !t.test {
		return nil
	}
	return &r.Headers
}

type header struct {
	name, value string
	secret      bool
}

// NewTarget prepares a webhook that was checked.
func NewTarget(w *webhook.Webhook) (*Target, error) {
	o, path, err := webhook.SplitURL(w.URL)
	if err != nil {
		return nil, fmt.Errorf("target URL: %w", err)
	}
	t := &Target{origin: o, poolKey: o.Host, path: path, method: w.Method, timeout: w.Timeout, webhook: w}
	if o.TLS {
		t.poolKey = "tls " + o.Host
		t.sessions = tls.NewLRUClientSessionCache(4)
	}
	switch w.Auth.Type {
	case webhook.AuthBasic: // RFC 7617, section 2
		v := base64.StdEncoding.EncodeToString([]byte(w.Auth.Username + ":" + w.Auth.Secret.Reveal()))
		t.headers = append(t.headers, header{"Authorization", "Basic " + v, true})
	case webhook.AuthBearer: // RFC 6750, section 2.1
		t.headers = append(t.headers, header{"Authorization", "Bearer " + w.Auth.Secret.Reveal(), true})
	case webhook.AuthAPIKey:
		t.headers = append(t.headers, header{w.Auth.Header, w.Auth.Secret.Reveal(), true})
	}
	for _, h := range w.Headers {
		t.headers = append(t.headers, header{h.Name, h.Value.Reveal(), true})
	}
	for _, k := range w.SigningKeys {
		t.signers = append(t.signers, signature.NewSigner(k.Key.Reveal()))
	}
	t.secrets = secretsOf(w)
	return t, nil
}

// signer signs with one of the webhook's keys.
func (t *Target) signer(keyID string) *signature.Signer {
	for i, k := range t.webhook.SigningKeys {
		if k.ID == keyID {
			return t.signers[i]
		}
	}
	return nil // no key of KeysAt
}

// buffer is the memory of one request, used again.
type buffer struct{ wire, content, scratch []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func putBuffer(b *buffer) {
	if cap(b.content) <= 64<<10 { // a large event's memory is not kept
		buffers.Put(b)
	}
}

// request is one request, built: its bytes for HTTP/1.1, and its parts for HTTP/2 and for showing.
type request struct {
	wire    []byte
	body    []byte // nil for GET
	keyID   string
	tooLong bool
	b       *buffer
	t       *Target
	at      time.Time
	agent   string
	id      string
	signed  [2][2]int // where the signatures are in wire
}

// build makes the request. Its content, which is what is signed, is the body of a POST or the query of a GET.
func (t *Target) build(b *buffer, e *event.Event, now time.Time, agent string) request {
	r := request{b: b, t: t, at: now, agent: agent, id: e.ID.String()}
	b.content = b.content[:0]
	w := b.wire[:0]
	switch {
	case t.asks != "":
		w = append(append(w, "OPTIONS "...), t.path...)
	case t.method == webhook.GET:
		if _, query, ok := strings.Cut(t.path, "?"); ok && query != "" {
			b.content = append(append(b.content, strings.TrimSuffix(query, "&")...), '&')
		}
		b.content = e.AppendQuery(b.content)
		path, _, _ := strings.Cut(t.path, "?")
		w = append(append(append(w, "GET "...), path...), '?')
		w = append(w, b.content...)
		r.tooLong = len(t.scheme())+len(t.origin.Host)+len(w)-len("GET ") > webhook.MaxGETurl
	default:
		b.content = e.AppendJSON(b.content)
		r.body = b.content
		w = append(append(w, "POST "...), t.path...)
	}
	w = append(append(w, " HTTP/1.1\r\nHost: "...), t.origin.Host...)
	w = append(w, "\r\n"...)
	r.each(func(name, value string, _ bool) {
		w = append(append(w, name...), ": "...)
		switch from := len(w); name {
		case signature.HeaderQuantfolio:
			r.signed[0] = [2]int{from, from + len(value)}
		case signature.HeaderSignature:
			r.signed[1] = [2]int{from, from + len(value)}
		}
		w = append(append(w, value...), "\r\n"...)
	})
	w = append(w, "\r\n"...)
	w = append(w, r.body...)
	b.wire, r.wire = w, w
	return r
}

// each calls f for every header but Host, in the order that they are sent in.
func (r *request) each(f func(name, value string, secret bool)) {
	f("User-Agent", r.agent, false)
	if r.t.asks != "" {
		f("WebHook-Request-Origin", r.t.asks, false)
		return
	}
	if r.t.method == webhook.GET {
		f("Cache-Control", "no-store", false)
	} else {
		f("Content-Type", "application/json", false)
		f("Content-Length", strconv.Itoa(len(r.body)), false)
	}
	for _, h := range r.t.headers {
		f(h.name, h.value, h.secret)
	}
	one, all := r.t.webhook.KeysAt(r.at)
	if len(all) == 0 {
		return
	}
	r.keyID = one.ID
	s := r.t.signer(one.ID).AppendQuantfolio(r.b.scratch[:0], r.b.content)
	f(signature.HeaderQuantfolio, string(s), false)
	f(signature.HeaderID, r.id, false)
	f(signature.HeaderTimestamp, strconv.FormatInt(r.at.Unix(), 10), false)
	s = s[:0]
	for i, k := range all {
		if i > 0 {
			s = append(s, ' ')
		}
		s = r.t.signer(k.ID).AppendStandard(s, r.id, r.at.Unix(), r.b.content)
	}
	f(signature.HeaderSignature, string(s), false)
	r.b.scratch = s
}

// Preview is a request as it is sent, with the values of secret headers hidden.
type Preview struct {
	Method  string
	URL     string
	Headers [][2]string
	Body    []byte // nil for GET
}

// Preview builds the request for an event at a time, and shows it.
func (t *Target) Preview(e *event.Event, at time.Time) Preview {
	var b buffer
	r := t.build(&b, e, at, "Quantfolio-Webhooks/1")
	p := Preview{Method: string(t.method), URL: t.scheme() + t.origin.Host + r.uri(),
		Headers: [][2]string{{"Host", t.origin.Host}}, Body: r.body}
	r.each(func(name, value string, secret bool) {
		if secret {
			value = webhook.Secret{}.String()
		}
		p.Headers = append(p.Headers, [2]string{name, value})
	})
	return p
}

// scheme is what the target's URL begins with.
func (t *Target) scheme() string {
	if t.origin.TLS {
		return "https://"
	}
	return "http://"
}

// uri is the path and query of the request.
func (r *request) uri() string {
	line := r.wire[len(r.t.method)+1:]
	end := 0
	for line[end] != ' ' {
		end++
	}
	return string(line[:end])
}
