package attempt

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// newH2 begins HTTP/2 on a connection that negotiated it. Its ClientConn never sends a request again; only its
// Transport's RoundTrip would, and that is not used.
func newH2(ctx context.Context, c *tls.Conn, idle time.Duration) (*http.ClientConn, error) {
	t := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
		Protocols:      new(http.Protocols),
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second,
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: maxDrain},
		DisableCompression: true, MaxResponseHeaderBytes: maxHead, IdleConnTimeout: idle,
	}
	t.Protocols.SetHTTP2(true)
	cc, err := t.NewClientConn(ctx, "https", c.RemoteAddr().String())
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
	// Opaque keeps the path byte for byte, as it was saved and signed.
	path, query, _ := strings.Cut(req.uri(), "?")
	hr.URL = &url.URL{Scheme: "https", Host: t.origin.Host, Opaque: path, RawQuery: query}
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
		return err
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
	kept, err := readAtMost(resp.Body, MaxKept, -1)
	r.Response = kept
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain-MaxKept)
	}
	return nil
}
