package attempt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// newH2 begins HTTP/2 on a connection that negotiated it. Its ClientConn never sends a request again; only its
// Transport's RoundTrip would, and that is not used. To net/http it is one without TLS, so that the frames can be counted.
func newH2(ctx context.Context, c *frames, idle time.Duration) (*http.ClientConn, error) {
	t := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
		Protocols:   new(http.Protocols),
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second,
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: maxDrain},
		DisableCompression: true, MaxResponseHeaderBytes: maxHead, IdleConnTimeout: idle,
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	cc, err := t.NewClientConn(ctx, "http", c.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("begin HTTP/2: %w", err)
	}
	return cc, cc.Reserve()
}

// exchangeH2 is roundTrip over HTTP/2; the request has its place on cc already.
func exchangeH2(ctx context.Context, cc *http.ClientConn, t *Target, req *request, deadline time.Time,
	r *Result) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var body io.Reader
	if t.method == webhook.POST {
		body = bytes.NewReader(bytes.Clone(req.body)) // HTTP/2 may read it after this returns
	}
	hr, err := http.NewRequestWithContext(ctx, string(t.method), "https://"+t.origin.Host, body)
	if err != nil {
		return fmt.Errorf("build the request: %w", err)
	}
	// Opaque keeps path and query byte for byte, as they were saved and signed: net/http takes scheme and host away again.
	hr.URL = &url.URL{Scheme: "https", Host: t.origin.Host, Opaque: "//" + t.origin.Host + req.uri()}
	hr.GetBody = nil // nothing to send it again from
	req.each(func(name, value string, _ bool) {
		if name != "Content-Length" {
			hr.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
	})
	began := time.Now()
	r.Sent = true
	resp, err := cc.RoundTrip(hr)
	if err != nil {
		return h2Error(err)
	}
	defer resp.Body.Close()
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
	defer time.AfterFunc(bodyLimit, cancel).Stop()
	kept, err := readAtMost(resp.Body, MaxKept, -1)
	r.Response = kept
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain-MaxKept)
	}
	return nil
}
