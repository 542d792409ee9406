package attempt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

// wire is a receiver at the level of bytes: it counts the whole requests it reads and answers as a test wants.
type wire struct {
	net.Listener
	requests, conns atomic.Int64
	// answer gets the connection after each whole request; false closes it.
	answer func(c net.Conn, req *http.Request, body []byte, raw []byte) bool
	// handle, if set, gets each connection instead.
	handle func(c net.Conn)
}

func newWire(t testing.TB, answer func(net.Conn, *http.Request, []byte, []byte) bool) *wire {
	t.Helper()
	return listen(t, &wire{answer: answer})
}

func listen(t testing.TB, w *wire) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.Listener = l
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil { // a test took the descriptors away
				runtime.Gosched()
				continue
			}
			w.conns.Add(1)
			go w.serve(c)
		}
	}()
	return w
}

func (w *wire) serve(c net.Conn) {
	defer c.Close()
	if w.handle != nil {
		w.handle(c)
		return
	}
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		raw.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		w.requests.Add(1)
		if !w.answer(c, req, body, bytes.Clone(raw.Bytes())) {
			return
		}
	}
}

func say(text string) func(net.Conn, *http.Request, []byte, []byte) bool {
	return func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

func wireSender(t testing.TB) *Sender {
	t.Helper()
	g, err := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Guard: g})
	t.Cleanup(s.Close)
	return s
}

func (w *wire) target(t testing.TB, m webhook.Method, change func(*webhook.Webhook)) *Target {
	t.Helper()
	hook := &webhook.Webhook{URL: "http://" + w.Addr().String() + "/hook", Method: m, Timeout: 10 * time.Second}
	if change != nil {
		change(hook)
	}
	tt, err := NewTarget(hook)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

func wireEvent() *event.Event {
	typ, _ := event.Lookup("qap.investor.created")
	e := typ.Example(time.Date(2023, 3, 15, 12, 46, 0, 0, time.UTC))
	e.ID = uuid.MustParse("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44")
	return &e
}

const ok204 = "HTTP/1.1 204 No Content\r\n\r\n"

func TestHostileAnswers(t *testing.T) {
	body := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name, answer string
		verdict      Verdict
		class        string
		status       int
		retryAfter   time.Duration
	}{
		{name: "204", answer: ok204, verdict: Success, status: 204},
		{name: "200 with a body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", verdict: Success,
			status: 200},
		{name: "no reason", answer: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", verdict: Success, status: 200},
		{name: "chunks and trailers", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", verdict: Success, status: 200},
		{name: "endless body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + body, verdict: Success,
			status: 200},
		{name: "endless chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + body,
			verdict: Success, status: 200},
		{name: "length and chunks", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", verdict: Success, status: 200},
		{name: "compressed", answer: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", verdict: Success, status: 200},
		{name: "redirect", answer: "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
			class: ClassRedirect, status: 302},
		{name: "permanent redirect", answer: "HTTP/1.1 308 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
			class: ClassRedirect, status: 308},
		{name: "gone", answer: "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", verdict: Gone, class: ClassHTTPStatus,
			status: 410},
		{name: "429", answer: "HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", class: ClassHTTPStatus,
			status: 429, retryAfter: 7 * time.Second},
		{name: "503, a year", answer: "HTTP/1.1 503 X\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n",
			class: ClassHTTPStatus, status: 503, retryAfter: MaxRetryAfter},
		{name: "503, negative", answer: "HTTP/1.1 503 X\r\nRetry-After: -7\r\nContent-Length: 0\r\n\r\n",
			class: ClassHTTPStatus, status: 503},
		{name: "500 asks too", answer: "HTTP/1.1 500 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
			class: ClassHTTPStatus, status: 500},
		{name: "interim", answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok204, verdict: Success, status: 204},
		{name: "endless interim", answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000),
			class: ClassBadResponse},
		{name: "switches", answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", class: ClassBadResponse},
		{name: "endless headers", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("y", 1000)+"\r\n", 200), class: ClassTooLarge},
		{name: "endless header", answer: "HTTP/1.1 200 OK\r\nX-A: " + body, class: ClassTooLarge},
		{name: "endless status", answer: body, class: ClassTooLarge},
		{name: "garbage", answer: "SSH-2.0-OpenSSH_9.2\r\n", class: ClassBadResponse},
		{name: "HTTP/2 in the clear", answer: "HTTP/2 200\r\n\r\n", class: ClassBadResponse},
		{name: "status 000", answer: "HTTP/1.1 000 X\r\n\r\n", class: ClassBadResponse},
		{name: "status 999", answer: "HTTP/1.1 999 X\r\n\r\n", class: ClassBadResponse},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
			class: ClassBadResponse},
		{name: "negative length", answer: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", class: ClassBadResponse},
		{name: "no colon", answer: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", class: ClassBadResponse},
		{name: "folded header", answer: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", verdict: Success, status: 200},
		{name: "folded Retry-After", answer: "HTTP/1.1 503 X\r\nRetry-After:\r\n\t 7\r\nContent-Length: 0\r\n\r\n",
			class: ClassHTTPStatus, status: 503, retryAfter: 7 * time.Second},
		{name: "folded length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n", class: ClassBadResponse},
		{name: "fold before a header", answer: "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", class: ClassBadResponse},
		{name: "space before the colon", answer: "HTTP/1.1 200 OK\r\nServer : x\r\nContent-Length: 0\r\n\r\n",
			verdict: Success, status: 200},
		{name: "the same length in a list", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", verdict: Success,
			status: 200},
		{name: "strange coding", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", verdict: Success,
			status: 200},
		{name: "coding without chunks", answer: "HTTP/1.1 201 X\r\nTransfer-Encoding: identity\r\n\r\nok",
			verdict: Success, status: 201},
		{name: "many interim", answer: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim) + ok204, verdict: Success,
			status: 204},
		{name: "closes at once", answer: "", class: ClassConnectionLost},
		{name: "half a head", answer: "HTTP/1.1 200 OK\r\nContent-Le", class: ClassConnectionLost},
		{name: "half a body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", verdict: Success,
			status: 200},
	} {
		for _, m := range []webhook.Method{webhook.POST, webhook.GET} {
			t.Run(c.name+" "+string(m), func(t *testing.T) {
				t.Parallel()
				w := newWire(t, func(c2 net.Conn, _ *http.Request, _, _ []byte) bool {
					_, _ = io.WriteString(c2, c.answer)
					return false
				})
				r := wireSender(t).Send(t.Context(),
					w.target(t, m, func(h *webhook.Webhook) { h.Timeout = 5 * time.Second }), wireEvent())
				if r.Verdict != c.verdict || r.Class != c.class || r.Status != c.status ||
					r.RetryAfter != c.retryAfter || !r.Sent {
					t.Errorf("Send = %+v, want verdict %d, class %q, status %d, Retry-After %v", r, c.verdict, c.class,
						c.status, c.retryAfter)
				}
				if len(r.Response) > MaxKept {
					t.Errorf("%d bytes of the body are kept, want at most %d", len(r.Response), MaxKept)
				}
				if n := w.requests.Load(); n != 1 {
					t.Errorf("the receiver saw %d requests of one attempt, want 1", n)
				}
			})
		}
	}
}

// TestNoRequestIsRepeated has a receiver that reads the second request on a kept connection and closes: net/http would
// send a GET again.
func TestNoRequestIsRepeated(t *testing.T) {
	for _, m := range []webhook.Method{webhook.POST, webhook.GET} {
		var n atomic.Int64
		w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
			if n.Add(1) == 1 {
				_, _ = io.WriteString(c, ok204)
				return true
			}
			return false
		})
		s, tt := wireSender(t), w.target(t, m, nil)
		if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
			t.Fatalf("Send = %+v, want success", r)
		}
		r := s.Send(t.Context(), tt, wireEvent())
		if r.Class != ClassConnectionLost || !r.Sent || w.requests.Load() != 2 || w.conns.Load() != 1 {
			t.Errorf("%s: Send = %+v with %d requests on %d connections, want a lost connection, 2 on 1", m, r,
				w.requests.Load(), w.conns.Load())
		}
	}
}

func TestTimeIsBounded(t *testing.T) {
	short := func(h *webhook.Webhook) { h.Timeout = 300 * time.Millisecond }
	drip := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		for _, b := range []byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return false
			}
			<-time.After(50 * time.Millisecond) // the pace of the drip
		}
		return false
	})
	r := wireSender(t).Send(t.Context(), drip.target(t, webhook.POST, short), wireEvent())
	if r.Class != ClassTimeout || r.Duration < 250*time.Millisecond || r.Duration > 4*time.Second {
		t.Errorf("Send to a dripping receiver = %+v, want a timeout after 300 ms", r)
	}
	body := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow")
		_, _ = io.Copy(io.Discard, c)
		return false
	})
	if r := wireSender(t).Send(t.Context(), body.target(t, webhook.GET, short), wireEvent()); r.Verdict != Success ||
		string(r.Response) != "slow" || r.Duration > 4*time.Second {
		t.Errorf("Send to a receiver with a slow body = %+v, want success by its status", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hang := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		cancel()
		_, _ = io.Copy(io.Discard, c)
		return false
	})
	long := hang.target(t, webhook.POST, func(h *webhook.Webhook) { h.Timeout = time.Minute })
	if r := wireSender(t).Send(ctx, long, wireEvent()); r.Class != ClassCancelled || !r.Sent {
		t.Errorf("Send = %+v, want cancelled", r)
	}
}

func TestRefusedAndUnreachable(t *testing.T) {
	w := newWire(t, say(ok204))
	g, err := netguard.New(netguard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if r := New(Config{Guard: g}).Send(t.Context(), w.target(t, webhook.POST, nil), wireEvent()); r.Verdict != Refused || r.Class != ClassRefused || r.Sent {
		t.Errorf("Send to a private address = %+v, want refused, not sent", r)
	}
	tt := w.target(t, webhook.POST, nil)
	w.Close()
	if r := wireSender(t).Send(t.Context(), tt, wireEvent()); r.Class != ClassConnect || r.Sent {
		t.Errorf("Send to a closed port = %+v, want class connect, not sent", r)
	}
	secure := newWire(t, say(ok204))
	tt = secure.target(t, webhook.POST, func(h *webhook.Webhook) {
		h.URL = "https://" + secure.Addr().String() + "/"
		h.Timeout = 2 * time.Second
	})
	if r := wireSender(t).Send(t.Context(), tt, wireEvent()); r.Sent || r.Verdict != Failure {
		t.Errorf("Send by TLS to a receiver without = %+v, want a failure, not sent", r)
	}
	w2 := newWire(t, say(ok204))
	long := w2.target(t, webhook.GET, func(h *webhook.Webhook) { h.URL += "?x=" + strings.Repeat("y", webhook.MaxGETurl) })
	if r := wireSender(t).Send(t.Context(), long, wireEvent()); r.Class != ClassTooLarge || r.Sent ||
		w2.requests.Load() != 0 {
		t.Errorf("Send of an over-long GET = %+v, want too_large, not sent", r)
	}
}

func TestRequestBytes(t *testing.T) {
	const key = "a-signing-key-of-some-length"
	type captured struct {
		req       *http.Request
		body, raw []byte
	}
	got := make(chan captured, 1) // sent to by the receiver
	w := newWire(t, func(c net.Conn, req *http.Request, body, raw []byte) bool {
		got <- captured{req, body, raw}
		_, err := io.WriteString(c, ok204)
		return err == nil
	})
	s := wireSender(t)
	sign := func(h *webhook.Webhook) {
		h.Rotate(webhook.NewSecret(key), time.Now(), time.Now().Add(-time.Second), 0)
	}
	for _, c := range []struct {
		name   string
		method webhook.Method
		change func(*webhook.Webhook)
		line   string
		header [2]string
	}{
		{"basic", webhook.POST, func(h *webhook.Webhook) {
			h.Auth = webhook.Auth{Type: webhook.AuthBasic, Username: "u", Secret: webhook.NewSecret("p")}
		}, "POST /hook HTTP/1.1", [2]string{"Authorization", "Basic dTpw"}},
		{"bearer", webhook.POST, func(h *webhook.Webhook) {
			h.Auth = webhook.Auth{Type: webhook.AuthBearer, Secret: webhook.NewSecret("tok")}
		}, "POST /hook HTTP/1.1", [2]string{"Authorization", "Bearer tok"}},
		{"API key", webhook.GET, func(h *webhook.Webhook) {
			h.URL += "?source=a%20b&"
			h.Auth = webhook.Auth{Type: webhook.AuthAPIKey, Header: "X-Key", Secret: webhook.NewSecret("v")}
		}, "GET /hook?source=a%20b&id=0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44&type=qap.investor.created&", [2]string{"X-Key", "v"}},
		{"custom header", webhook.GET, func(h *webhook.Webhook) {
			h.Headers = []webhook.Header{{Name: "X-System", Value: webhook.NewSecret("crm")}}
		}, "GET /hook?id=0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44&type=qap.investor.created&", [2]string{"X-System", "crm"}},
	} {
		tt := w.target(t, c.method, func(h *webhook.Webhook) { sign(h); c.change(h) })
		if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success || !strings.HasPrefix(r.KeyID, "k_") {
			t.Fatalf("%s: Send = %+v, want success and the key's ID", c.name, r)
		}
		g := <-got
		if !bytes.HasPrefix(g.raw, []byte(c.line)) {
			t.Errorf("%s: the request begins %.120q, want %q", c.name, g.raw, c.line)
		}
		if v := g.req.Header.Values(c.header[0]); len(v) != 1 || v[0] != c.header[1] {
			t.Errorf("%s: %s = %q, want %q", c.name, c.header[0], v, c.header[1])
		}
		if err := signature.VerifyRequest(g.req, g.body, key); err != nil {
			t.Errorf("%s: VerifyRequest = %v", c.name, err)
		}
		if c.method == webhook.GET {
			if g.req.Header.Get("Content-Type") != "" || len(g.body) != 0 ||
				g.req.Header.Get("Cache-Control") != "no-store" || g.req.Header.Get("Content-Length") != "" {
				t.Errorf("%s: a GET has a body or the wrong headers:\n%s", c.name, g.raw)
			}
		} else if want := wireEvent().AppendJSON(nil); !bytes.Equal(g.body, want) ||
			g.req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: the body is %s, want %s", c.name, g.body, want)
		}
		p := fmt.Sprint(tt.Preview(wireEvent(), time.Now()))
		if strings.Contains(p, c.header[1]+"]") || !strings.Contains(p, "[secret]") {
			t.Errorf("%s: the preview shows a secret: %s", c.name, p)
		}
	}
}

func TestJudgeEveryStatus(t *testing.T) {
	for status := 100; status <= 599; status++ {
		v, class := judge(status)
		switch {
		case status >= 200 && status < 300:
			if v != Success || class != "" {
				t.Errorf("judge(%d) = %d, %q, want success", status, v, class)
			}
		case v == Success || class == "":
			t.Errorf("judge(%d) = %d, %q, want a failure with a class", status, v, class)
		case (v == Gone) != (status == 410) || (class == ClassRedirect) != (status >= 300 && status < 400):
			t.Errorf("judge(%d) = %d, %q", status, v, class)
		}
	}
}

func FuzzReadHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(raw), 4<<10)
		h, err := readHead(r, nil)
		if err != nil {
			return
		}
		if h.status < 200 || h.status > 599 {
			t.Fatalf("readHead(%q) has the status %d", raw, h.status)
		}
		if kept, _ := readBody(r, h); len(kept) > MaxKept {
			t.Fatalf("readBody keeps %d bytes", len(kept))
		}
	})
}
