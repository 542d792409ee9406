package attempt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// maxList is the most of an answer's fields as HTTP/2 counts them, 32 bytes more for each (RFC 9113, section 6.5.2):
// what HTTP/1.1 can have in maxHead, where a field has a line of at least 4 bytes.
const maxList = maxHead / 4 * 33

// h2Conn is a connection that HTTP/2 goes over.
type h2Conn struct {
	*http.ClientConn
	frames  *frames
	retired atomic.Bool // it takes no more requests
}

// newH2 begins HTTP/2 on a connection that negotiated it, with a place for one request; if it has ended already, its
// exchange says so. Its ClientConn never sends a request again; only its Transport's RoundTrip would, and that is not
// used. required is called when the other side requires HTTP/1.1.
func newH2(ctx context.Context, c *tls.Conn, in *bufio.Reader, idle time.Duration, required func()) (*h2Conn, error) {
	f := newFrames(c, in, required)
	cc, err := h2Transport(f, idle).NewClientConn(ctx, "https", c.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("begin HTTP/2: %w", err)
	}
	_ = cc.Reserve()
	return &h2Conn{ClientConn: cc, frames: f}, nil
}

// h2Transport is what makes a ClientConn. The protocol is named unencrypted since it sees no *tls.Conn.
func h2Transport(f *frames, idle time.Duration) *http.Transport {
	t := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return f, nil },
		Protocols:      new(http.Protocols),
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second,
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: maxDrain},
		DisableCompression: true, MaxResponseHeaderBytes: maxList, IdleConnTimeout: idle,
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// Reserve takes a place for a request, if there is one.
func (c *h2Conn) Reserve() error {
	if c.retired.Load() {
		return errLost
	}
	err := c.ClientConn.Reserve()
	if err == nil {
		c.frames.begin()
	}
	return err
}

// offer has put called, which takes the connection in for other requests, as soon as the other side's settings say how
// many it wants at a time. after is to be called when the first request has ended.
func (c *h2Conn) offer(put func() bool) (after func()) {
	take := sync.OnceFunc(func() {
		if !put() {
			closeUnused(c.ClientConn)
		}
	})
	c.frames.whenSettled(take)
	return func() {
		if c.frames.haveSettings() {
			take()
		} else {
			_ = c.Close()
		}
	}
}

// stale tells whether a request found that its place on a connection was gone.
func (c *h2Conn) stale(r *Result) bool { return !r.Sent && c.frames.reused() && c.Available() == 0 }

// exchange is roundTrip over HTTP/2; the request has its place on c already. When it fails before anything was sent,
// r.Sent is false.
func (c *h2Conn) exchange(ctx context.Context, t *Target, req *request, deadline time.Time, r *Result) error {
	defer c.frames.end()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	h := h2Head{left: maxHead}
	hr := req.forH2().WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:   func() { h.wrote.Store(true) },
		Got1xxResponse: h.interim,
	}))
	began, seen := time.Now(), c.frames.seen()
	r.Sent = true
	resp, err := c.RoundTrip(hr)
	if err != nil {
		if timedOut(err) && c.frames.seen() == seen { // not one frame came: HTTP/1.1 takes a new connection too
			c.retired.Store(true)
			closeUnused(c.ClientConn)
		}
		if r.Sent = h.wrote.Load() || ctx.Err() != nil; !r.Sent { // it may be writing still
			err = c.frames.cause(err)
		}
		return h2Error(err)
	}
	if err := h.final(resp); err != nil {
		go resp.Body.Close()
		return err
	}
	r.Timings.FirstByte = time.Since(began)
	r.Status, r.RetryAfter = resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"), r.At)
	if keep := t.keep(r); keep != nil {
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			for _, value := range resp.Header[name] {
				if len(*keep) < maxKeptHeaders {
					*keep = append(*keep, [2]string{name, value})
				}
			}
		}
	}
	r.Response = readH2Body(ctx, resp.Body)
	return nil
}

// forH2 is the request for HTTP/2. Its Opaque keeps the path byte for byte, as it was saved and signed: net/http takes
// scheme and host off again (RFC 9113, section 8.3.1).
func (r *request) forH2() *http.Request {
	hr := &http.Request{Method: string(r.t.method), Host: r.t.origin.Host, Header: http.Header{},
		URL: &url.URL{Scheme: "https", Host: r.t.origin.Host, Opaque: "//" + r.t.origin.Host + r.uri()}}
	if r.body != nil {
		// HTTP/2 may read it after the attempt.
		hr.Body, hr.ContentLength = io.NopCloser(bytes.NewReader(bytes.Clone(r.body))), int64(len(r.body))
	}
	r.each(func(name, value string, _ bool) {
		if name != "Content-Length" {
			name = http.CanonicalHeaderKey(name)
			hr.Header[name] = append(hr.Header[name], value)
		}
	})
	return hr
}

// h2Head holds an answer's heads to the limits of HTTP/1.1.
type h2Head struct {
	wrote    atomic.Bool // the request's head was written
	left     int         // bytes of maxHead
	interims int
}

func (h *h2Head) interim(status int, header textproto.MIMEHeader) error {
	h.interims++
	switch {
	case status == 101: // RFC 9113, section 8.6
		return fmt.Errorf("%w: it switches protocols", errBadResponse)
	case h.interims > maxInterim:
		return fmt.Errorf("%w: too many interim responses", errBadResponse)
	}
	return h.take(header)
}

func (h *h2Head) final(resp *http.Response) error {
	status, _, _ := strings.Cut(resp.Status, " ")
	if status != strconv.Itoa(resp.StatusCode) || resp.StatusCode < 200 || resp.StatusCode > 599 {
		return fmt.Errorf("%w: bad status code", errBadResponse)
	}
	return h.take(resp.Header)
}

// take counts a head as it would be in HTTP/1.1.
func (h *h2Head) take(header map[string][]string) error {
	h.left -= len("HTTP/1.1 200 \r\n\r\n")
	for name, values := range header {
		for _, v := range values {
			h.left -= len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	if h.left < 0 {
		return fmt.Errorf("the answer's head: %w", errTooLarge)
	}
	return nil
}

// readH2Body keeps the start of a body and drains a bounded rest, for as long as ctx. Then it is closed, since ctx
// alone does not end a stream whose request waits for a window. Nobody waits for a connection that takes no bytes.
func readH2Body(ctx context.Context, body io.ReadCloser) []byte {
	done := make(chan []byte, 1)
	go func() {
		kept, err := readAtMost(body, MaxKept, -1)
		if err == nil {
			_, _ = io.CopyN(io.Discard, body, maxDrain-MaxKept)
		}
		_ = body.Close()
		done <- kept
	}()
	select {
	case kept := <-done:
		return kept
	case <-ctx.Done():
		go body.Close()
	}
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case kept := <-done:
		return kept
	case <-t.C:
		return nil
	}
}

var errLost = errors.New("the connection was lost")

// h2Error says of an error of HTTP/2 what the same has over HTTP/1.1. What is none of those below is a fault of what
// came in.
func h2Error(err error) error {
	var se http2.StreamError
	text := err.Error()
	switch {
	case errors.As(err, new(ioError)), errors.Is(err, errLost), errors.Is(err, errBadResponse),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &se):
		return streamError(se)
	case strings.Contains(text, "GOAWAY"), strings.Contains(text, "client conn"): // lost, closed, not usable
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return fmt.Errorf("%w: %s", errBadResponse, text)
}

func streamError(se http2.StreamError) error {
	switch {
	case errors.Is(se.Cause, errTooLarge), errors.Is(se.Cause, errBadResponse): // of h2Head
		return se.Cause
	case se.Cause != nil && strings.Contains(se.Cause.Error(), "header list"):
		return fmt.Errorf("the answer's head: %w: %w", errTooLarge, se)
	}
	switch se.Code {
	case http2.ErrCodeProtocol, http2.ErrCodeFlowControl, http2.ErrCodeFrameSize, http2.ErrCodeCompression:
		return fmt.Errorf("%w: %w", errBadResponse, se)
	}
	return fmt.Errorf("%w: %w", errLost, se)
}
