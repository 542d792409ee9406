// Package attempt makes one attempt: one HTTP request on the wire, built, signed, sent through the guarded dialer, its
// answer read within bounds and judged. It never sends a request twice, never follows a redirect, and knows nothing of
// storage or of retries. Start at Sender.Send.
package attempt

import (
	"container/list"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
)

// Limits of an answer, bytes.
const (
	maxHead  = 64 << 10 // status line and headers, interim responses included
	MaxKept  = 16 << 10 // of the body on record
	maxDrain = 64 << 10 // of the body read so that the connection can be used again
)

// MaxRetryAfter is the longest wait that a receiver may ask for.
const MaxRetryAfter = 24 * time.Hour

// Verdict is what an attempt came to, for the policy of retries.
type Verdict int

// The verdicts.
const (
	Failure Verdict = iota // worth another attempt
	Success                // 2xx
	Gone                   // 410: the webhook is to be disabled
	Refused                // the target must not be dialled: not worth an attempt soon
	Local                  // no resources here, or the way out is closed: no attempt of the receiver's schedule
)

// Error classes of attempts.
const (
	ClassHTTPStatus     = "http_status"     // neither 2xx nor 3xx
	ClassRedirect       = "redirect"        // 3xx
	ClassTimeout        = "timeout"         // the attempt's time was over
	ClassConnect        = "connect"         // no connection
	ClassSilent         = "silent"          // no connection stood when the time for it was over
	ClassProxy          = "proxy"           // the operator's egress proxy gave no connection
	ClassDNS            = "dns"             // the name cannot be resolved
	ClassTLS            = "tls"             // no trusted TLS connection
	ClassConnectionLost = "connection_lost" // the connection ended before an answer
	ClassBadResponse    = "bad_response"    // the answer is not HTTP
	ClassTooLarge       = "too_large"       // the answer's head, or the request's URL, is over its limit
	ClassRefused        = "refused"         // by the address guard
	ClassCancelled      = "cancelled"       // broken off by this side
	ClassLocal          = "local"           // this machine had no descriptor, port or memory for it; nothing was sent
)

// Classes are all of them.
var Classes = []string{ClassHTTPStatus, ClassRedirect, ClassTimeout, ClassConnect, ClassSilent, ClassProxy, ClassDNS,
	ClassTLS, ClassConnectionLost, ClassBadResponse, ClassTooLarge, ClassRefused, ClassCancelled, ClassLocal}

// Result is what is known of an attempt.
type Result struct {
	At         time.Time
	Duration   time.Duration
	Verdict    Verdict
	Sent       bool   // some of the request left for the receiver
	Status     int    // 0: no answer
	Class      string // empty when delivered
	Reason     string // of class tls: which of the reasons
	RetryAfter time.Duration
	Response   []byte // the start of the body
	KeyID      string // the signing key that X-Quantfolio-Signature-256 was made with
	Timings    Timings
	Headers    [][2]string // of the answer; of a target for tests only
	Err        error       // for the operator's log; never has a secret
}

// Timings are the phases of an attempt; zero for those that did not happen, as on a connection used again.
type Timings struct{ DNS, Connect, TLS, FirstByte time.Duration }

// Config is what a sender is made of. Guard is required.
type Config struct {
	Guard          *netguard.Guard
	Roots          func() *x509.CertPool // who is trusted, asked for each connection; nil: the system's
	SmallHello     bool                  // greet in a way that fits one packet; see smallGroups
	MaxIdlePerHost int                   // connections kept without use, of one origin; default 64
	MaxIdle        int                   // of all origins together; default 512
	UserAgent      string
}

// Sender makes attempts. Its methods may be called by any number of goroutines.
type Sender struct {
	cfg   Config
	pools pools
}

// New makes a sender; it has no goroutines of its own but those of HTTP/2 connections.
func New(cfg Config) *Sender {
	if cfg.MaxIdlePerHost <= 0 {
		cfg.MaxIdlePerHost = 64
	}
	if cfg.MaxIdle <= 0 {
		cfg.MaxIdle = 512
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "Quantfolio-Webhooks/1"
	}
	if cfg.Roots == nil {
		// crypto/tls reads the files once; without a descriptor then, it would trust nobody for as long as the process
		// runs.
		_, _ = x509.SystemCertPool()
	}
	s := &Sender{cfg: cfg, pools: pools{
		idleLimit: idleLimit, ageLimit: ageLimit, maxIdle: cfg.MaxIdlePerHost, maxKept: cfg.MaxIdle,
		byKey: map[string]*pool{}, kept: list.New(),
	}}
	s.pools.timer = time.AfterFunc(idleLimit, s.pools.sweep)
	return s
}

// CloseIdle closes the connections that are not in use, and those in use after their requests, as when the address
// rules change.
func (s *Sender) CloseIdle() { s.pools.closeIdle() }

// Close is CloseIdle at the end; nothing is left running, and the sender stays usable.
func (s *Sender) Close() { s.pools.closeIdle() }

// Send makes one attempt for the event. It returns within the webhook's timeout and soon after ctx ends.
func (s *Sender) Send(ctx context.Context, t *Target, e *event.Event) (r Result) {
	r.At = time.Now()
	deadline := r.At.Add(t.timeout)
	b := getBuffer()
	defer putBuffer(b)
	req := t.build(b, e, r.At, s.cfg.UserAgent)
	r.KeyID = req.keyID
	var err error
	if req.tooLong {
		err = errTooLarge
	} else {
		err = s.exchange(ctx, t, &req, deadline, &r)
	}
	r.Duration = time.Since(r.At)
	defer t.hide(&r, &req)
	if r.Status != 0 {
		r.Verdict, r.Class = judge(r.Status)
		if r.Status != http.StatusTooManyRequests && r.Status != http.StatusServiceUnavailable {
			r.RetryAfter = 0
		}
		return r
	}
	r.Err = err
	r.Verdict, r.Class = classify(ctx, err)
	if te := (tlsError{}); r.Class == ClassTLS && errors.As(err, &te) {
		r.Reason = te.reason
	}
	if !r.Sent && r.Class != ClassCancelled && netguard.Shortage(err) {
		r.Verdict, r.Class = Local, ClassLocal
	}
	return r
}

// judge is the policy of status codes.
func judge(status int) (Verdict, string) {
	switch {
	case status >= 200 && status <= 299:
		return Success, ""
	case status >= 300 && status <= 399:
		return Failure, ClassRedirect
	case status == http.StatusGone:
		return Gone, ClassHTTPStatus
	}
	return Failure, ClassHTTPStatus
}

var (
	errTooLarge    = errors.New("over the size limit")
	errBadResponse = errors.New("the answer is not HTTP")
)

// dialError says that an attempt failed before there was a connection.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

func classify(ctx context.Context, err error) (Verdict, string) {
	var te tlsError
	var pe *netguard.ProxyError
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Failure, ClassCancelled
	case errors.As(err, new(*netguard.RefusedError)):
		return Refused, ClassRefused
	case errors.As(err, &pe) && pe.Outage:
		return Local, ClassProxy
	case pe != nil:
		return Failure, ClassProxy
	case errors.As(err, new(*netguard.ResolveError)):
		return Failure, ClassDNS
	case errors.As(err, new(dialError)) && timedOut(err):
		return Failure, ClassSilent
	case errors.As(err, &te) && te.reason == ReasonHelloDropped:
		return Failure, ClassTLS
	case timedOut(err):
		return Failure, ClassTimeout
	case te.error != nil:
		return Failure, ClassTLS
	case errors.As(err, new(dialError)):
		return Failure, ClassConnect
	case errors.Is(err, errTooLarge):
		return Failure, ClassTooLarge
	case errors.Is(err, errBadResponse):
		return Failure, ClassBadResponse
	case errors.Is(err, errLost), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err,
		syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return Failure, ClassConnectionLost
	}
	return Failure, ClassBadResponse
}

// timedOut tells whether a time was over.
func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) &&
		ne.Timeout()
}

// exchange sends the request on a connection and reads the answer.
func (s *Sender) exchange(ctx context.Context, t *Target, req *request, deadline time.Time, r *Result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, gen := s.pools.take(t.poolKey)
	used := c != nil
	if c == nil {
		var err error
		if c, err = s.connect(ctx, t, deadline, r); netguard.Shortage(err) && s.pools.relieve() {
			c, err = s.connect(ctx, t, deadline, r)
		}
		if err != nil {
			return err
		}
		c.gen = gen
		if c.h2 != nil {
			defer c.h2.offer(func() bool { return s.pools.put(t.poolKey, c) })()
		}
	}
	began := time.Now()
	var err error
	if c.h2 != nil {
		if err = c.h2.exchange(ctx, t, req, deadline, r); err != nil && c.h2.stale(r) {
			return s.exchange(ctx, t, req, deadline, r)
		}
	} else {
		var reusable bool
		if reusable, err = c.roundTrip(ctx, req, deadline, r); !reusable || !s.pools.put(t.poolKey, c) {
			c.Close()
		}
	}
	if used && r.Status == 0 && ctx.Err() == nil {
		s.pools.distrust(t.poolKey, began, !timedOut(err))
	}
	if isAlert(err) { // in place of an answer
		err = tlsError{err, c.tlsReason(err)}
	}
	return err
}

// Limits of the phases before the request.
const (
	ConnectLimit = 10 * time.Second // for the name and the connection
	tlsLimit     = 10 * time.Second
)

func (s *Sender) connect(ctx context.Context, t *Target, deadline time.Time, r *Result) (*conn, error) {
	began := time.Now()
	dctx, cancel := context.WithDeadline(ctx, earlier(deadline, began.Add(ConnectLimit)))
	defer cancel()
	nc, resolving, err := s.cfg.Guard.Dial(dctx, t.origin.Name, t.origin.Port, !t.origin.TLS)
	r.Timings.DNS, r.Timings.Connect = resolving, time.Since(began)-resolving
	if err != nil {
		return nil, dialError{err}
	}
	c := newConn(nc)
	if !t.origin.TLS {
		return c, nil
	}
	began = time.Now()
	tc, err := s.handshake(ctx, c, t, deadline)
	r.Timings.TLS = time.Since(began)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.Conn = tc
	if tc.ConnectionState().NegotiatedProtocol == "h2" {
		tctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		required := func() { s.pools.require(t.poolKey) }
		if c.h2, err = newH2(tctx, tc, c.r, s.pools.idleLimit, required); err != nil {
			c.Close()
			return nil, tlsError{err, ReasonOther}
		}
	}
	return c, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date; 0 when it says nothing usable.
func retryAfter(v string, now time.Time) time.Duration {
	var d time.Duration
	if v != "" && strings.Trim(v, "0123456789") == "" { // of any size
		if d = MaxRetryAfter; len(v) < 10 {
			n, _ := strconv.Atoi(v)
			d = time.Duration(n) * time.Second
		}
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), MaxRetryAfter)
}
