package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// MaxResponse bounds what is read of one answer; the largest page the API gives is well below.
const MaxResponse = 64 << 20

// Client calls the API of one server with one API key. It is safe for concurrent use.
type Client struct {
	base   string
	key    string
	tenant string
	agent  string
	http   *http.Client
}

// Option changes a Client that New makes.
type Option func(*Client)

// WithHTTPClient takes h for the requests, in place of a client of its own with a limit of a minute a request and up to
// 64 idle connections. Nil is passed over.
func WithHTTPClient(h *http.Client) Option {
	return func(c *Client) {
		if h != nil {
			c.http = h
		}
	}
}

// WithTenant names the tenant that the operator's key acts for, in the header X-Tenant. A tenant's own key needs none.
func WithTenant(id string) Option { return func(c *Client) { c.tenant = id } }

// WithUserAgent sets the User-Agent header.
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// New makes a client of the server at baseURL (such as "http://127.0.0.1:8080") with an API key. It does not connect;
// a baseURL that is none shows as an error of the first call.
func New(baseURL, apiKey string, opts ...Option) *Client {
	c := &Client{base: strings.TrimRight(baseURL, "/"), key: apiKey, agent: "qhook-client"}
	for _, o := range opts {
		o(c)
	}
	if c.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		c.http = &http.Client{Transport: t, Timeout: time.Minute}
	}
	return c
}

// String shows the server and no key.
func (c *Client) String() string { return "client of " + c.base }

// GoString shows the server and no key.
func (c *Client) GoString() string { return c.String() }

// Problem is an RFC 9457 problem document: what the API answers when it refuses something.
type Problem struct {
	Type   string       `json:"type,omitempty" format:"uri" doc:"The problem's address, where it is described; absent: what the status says."`
	Title  string       `json:"title" doc:"The HTTP status in words."`
	Status int          `json:"status" doc:"The HTTP status."`
	Detail string       `json:"detail,omitempty" doc:"What went wrong and what to do, in a sentence."`
	Rule   string       `json:"rule,omitempty" doc:"Of the advisory platform, that the request broke."`
	Errors []FieldError `json:"errors,omitempty" doc:"Every rule that the request broke."`
	// Refused is the ID of the published event, or its tenant, when that is refused for what it is: the same again
	// would be refused again. Only the server itself sets it, no proxy before it.
	Refused string `json:"refused,omitempty" doc:"A published event, or its tenant, that would be refused again."`
}

// FieldError is one broken rule of a request: where, and what to do.
type FieldError struct {
	Location string `json:"location" doc:"A field, like headers[0].name, or a parameter, like query.limit."`
	Message  string `json:"message" doc:"What is wrong and what to do."`
}

// Error is one line: the status, the sentence, and every broken rule with its field.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", p.Status)
	switch {
	case p.Detail != "":
		b.WriteString(" " + p.Detail)
	case p.Title != "":
		b.WriteString(" " + p.Title)
	default:
		b.WriteString(" " + http.StatusText(p.Status))
	}
	for i, e := range p.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + strings.TrimPrefix(e.Location+": ", ": ") + e.Message)
	}
	return b.String()
}

// IsStatus tells whether err is a *Problem of that HTTP status, such as http.StatusNotFound.
func IsStatus(err error, status int) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == status
}

type onceKey struct{}

// Once is a context for a call that makes something: with the same key the same call makes nothing new for 24 hours,
// so that it can be repeated when there was no answer.
func Once(ctx context.Context, idempotencyKey string) context.Context {
	return context.WithValue(ctx, onceKey{}, idempotencyKey)
}

// request is one call; out is decoded from the answer's JSON unless nil.
type request struct {
	method, path string
	query        url.Values
	ifMatch      string
	once         string // idempotency key; empty: none
	in, out      any
	raw          *[]byte // takes the answer as it is, in place of out
	want         int     // the one status of success; 0: every 2xx
}

// errStranger says that an answer is no server's.
var errStranger = errors.New("the answer is no receipt for these events; is the URL that of a qhook server?")

// newRequest makes the HTTP request of a call.
func (c *Client) newRequest(ctx context.Context, q request) (*http.Request, error) {
	var body io.Reader
	if q.in != nil {
		b, err := marshal(q.in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", q.method, q.path, err)
		}
		body = bytes.NewReader(b)
	}
	target := c.base + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Accept", "application/json, application/problem+json")
	r.Header.Set("User-Agent", c.agent)
	if q.in != nil {
		r.Header.Set("Content-Type", contentType(q.method))
	}
	if q.ifMatch != "" {
		r.Header.Set("If-Match", q.ifMatch)
	}
	if once, _ := ctx.Value(onceKey{}).(string); once != "" && q.once == "" && q.method == http.MethodPost {
		q.once = once
	}
	if q.once != "" {
		r.Header.Set("Idempotency-Key", q.once)
	}
	if c.tenant != "" {
		r.Header.Set("X-Tenant", c.tenant)
	}
	return r, nil
}

func (c *Client) do(ctx context.Context, q request) (http.Header, error) {
	r, err := c.newRequest(ctx, q)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", q.method, q.path, err)
	}
	if len(b) > MaxResponse {
		return nil, fmt.Errorf("%s %s: the answer is over %d bytes", q.method, q.path, MaxResponse)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, problem(resp, b)
	}
	if q.want != 0 && resp.StatusCode != q.want {
		return nil, fmt.Errorf("%s %s: %d: %w", q.method, q.path, resp.StatusCode, errStranger)
	}
	if q.raw != nil {
		*q.raw = b
	} else if q.out != nil {
		if err := json.Unmarshal(b, q.out); err != nil {
			return nil, fmt.Errorf("%s %s: decode the answer (is the URL that of a qhook server?): %w", q.method,
				q.path, err)
		}
	}
	return resp.Header, nil
}

// marshal is json.Marshal without the escaping of <, > and &, so that data goes out as it was given.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func contentType(method string) string {
	if method == http.MethodPatch {
		return "application/merge-patch+json"
	}
	return "application/json"
}

// problem makes a *Problem of any refusal, also of one that is no problem document (a proxy's page, say).
func problem(resp *http.Response, b []byte) *Problem {
	var p Problem
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if json.Unmarshal(b, &p) != nil {
			p = Problem{}
		}
	}
	p.Status = resp.StatusCode
	if p.Title == "" && p.Detail == "" {
		p.Title = http.StatusText(resp.StatusCode)
		if s := strings.TrimSpace(string(b[:min(len(b), 200)])); s != "" {
			p.Detail = p.Title + ": " + strings.ToValidUTF8(s, "?")
		}
	}
	return &p
}
