package attempt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/quantfolio/qhook/internal/webhook"
)

// peer is a receiver at the level of frames, on one connection.
type peer struct {
	net.Conn
	*http2.Framer
}

// h2Request is what a peer was asked.
type h2Request struct {
	stream uint32
	fields map[string]string
	body   []byte
}

// peers listens with HTTP/2 and HTTP/1.1, at the client's choice. serve gets each HTTP/2 connection after the client's
// preface; the answer to HTTP/1.1 is ok204.
type peers struct {
	*wire
	roots    *x509.CertPool
	one, two atomic.Int64 // connections by HTTP/1.1 and by HTTP/2
}

func newPeers(t testing.TB, serve func(p *peer)) (*peers, *Sender) {
	t.Helper()
	cfg, roots := testTLS(t)
	cfg.NextProtos = []string{"h2", "http/1.1"}
	p := &peers{wire: &wire{answer: say(ok204)}, roots: roots}
	plain := &wire{answer: say(ok204)}
	p.handle = func(c net.Conn) {
		tc := tls.Server(c, cfg)
		defer tc.Close()
		if tc.Handshake() != nil {
			return
		}
		if tc.ConnectionState().NegotiatedProtocol != "h2" {
			p.one.Add(1)
			plain.serve(tc)
			return
		}
		p.two.Add(1)
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(tc, preface); err != nil || string(preface) != http2.ClientPreface {
			return
		}
		serve(newPeer(tc))
	}
	listen(t, p.wire)
	s := wireSender(t)
	s.cfg.Roots = trusting(roots)
	return p, s
}

func newPeer(c net.Conn) *peer {
	p := &peer{Conn: c, Framer: http2.NewFramer(c, c)}
	p.AllowIllegalWrites = true
	return p
}

func (p *peers) target(t testing.TB, m webhook.Method, tail string, timeout time.Duration) *Target {
	t.Helper()
	tt, err := NewTarget(&webhook.Webhook{URL: "https://" + p.Addr().String() + tail, Method: m, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// request reads up to the end of the next request, or of its head only.
func (p *peer) request(whole bool) (r h2Request, ok bool) {
	p.ReadMetaHeaders = hpackDecoder(p)
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return r, false
		}
		ended := false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			r.stream, r.fields, ended = f.StreamID, map[string]string{}, f.StreamEnded()
			for _, hf := range f.Fields {
				r.fields[hf.Name] = hf.Value
			}
		case *http2.DataFrame:
			r.body, ended = append(r.body, f.Data()...), f.StreamEnded()
		}
		if r.stream != 0 && (ended || !whole) {
			return r, true
		}
	}
}

func hpackDecoder(p *peer) *hpack.Decoder {
	if p.ReadMetaHeaders != nil {
		return p.ReadMetaHeaders
	}
	return hpack.NewDecoder(4096, nil)
}

// block encodes fields given as name, value, name, value.
func block(fields ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	enc.SetMaxDynamicTableSize(0)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// head sends HEADERS.
func (p *peer) head(stream uint32, end bool, fields ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(fields...), EndHeaders: true,
		EndStream: end})
}

// settle sends settings, answers the client's, and gives its first request.
func (p *peer) settle(settings ...http2.Setting) h2Request {
	_ = p.WriteSettings(settings...)
	_ = p.WriteSettingsAck()
	r, _ := p.request(true)
	return r
}

// drain reads until the client closes.
func (p *peer) drain() { _, _ = io.Copy(io.Discard, p.Conn) }

// dialH2 is a connection as Sender has it, with its first request begun.
func (p *peers) dialH2(t testing.TB, change func(*http.Transport)) *h2Conn {
	t.Helper()
	nc, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(p.Addr().String(), ":")
	tc := tls.Client(nc, &tls.Config{ServerName: name, RootCAs: p.roots, NextProtos: []string{"h2"}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	f := newFrames(tc, newConn(tc).r, func() {})
	tr := h2Transport(f, time.Minute)
	if change != nil {
		change(tr)
	}
	cc, err := tr.NewClientConn(t.Context(), "https", p.Addr().String())
	if err != nil || cc.Reserve() != nil {
		t.Fatal(err)
	}
	c := &h2Conn{ClientConn: cc, frames: f}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask makes a request on a connection of dialH2.
func (c *h2Conn) ask(ctx context.Context, tt *Target) (r Result, err error) {
	var b buffer
	r.At = time.Now()
	req := tt.build(&b, wireEvent(), r.At, "test")
	err = c.exchange(ctx, tt, &req, r.At.Add(tt.timeout), &r)
	return r, err
}
