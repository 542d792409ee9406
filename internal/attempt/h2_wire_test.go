package attempt

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/webhook"
)

// h2Wire is a receiver of HTTP/2 at the level of frames. play gets a connection after its first request's headers, with
// that stream's number.
type h2Wire struct {
	*wire
	s *Sender
}

func newH2Wire(t *testing.T, play func(fr *http2.Framer, c net.Conn, stream uint32)) *h2Wire {
	t.Helper()
	config, roots := testTLS(t)
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	w := &wire{}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	w.handle = func(nc net.Conn) {
		c := tls.Server(nc, config)
		if c.Handshake() != nil {
			return
		}
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			w.serveOne(c)
			return
		}
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.HeadersFrame); ok {
				w.requests.Add(1)
				go func() { _, _ = io.Copy(io.Discard, c) }()
				play(fr, c, h.StreamID)
				<-done // so that only what play does ends the connection
				return
			}
		}
	}
	s := wireSender(t)
	s.cfg.RootCAs = roots
	return &h2Wire{listen(t, w), s}
}

// serveOne answers by HTTP/1.1.
func (w *wire) serveOne(c net.Conn) {
	b := make([]byte, 64<<10)
	if _, err := c.Read(b); err == nil {
		w.requests.Add(1)
		_, _ = io.WriteString(c, ok204)
	}
}

func (w *h2Wire) hook(t *testing.T) *Target {
	t.Helper()
	tt, err := NewTarget(&webhook.Webhook{URL: "https://" + w.Addr().String() + "/hook", Method: webhook.POST, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// answerHead is a block of headers with a status.
func answerHead(status string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	for i := 0; i+1 < len(more); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return b.Bytes()
}

func headers(fr *http2.Framer, stream uint32, end bool, block []byte) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true, EndStream: end})
}

// TestHTTP2HasTheSameClasses: what happens over HTTP/2 has the class that the same has over HTTP/1.1.
func TestHTTP2HasTheSameClasses(t *testing.T) {
	t.Parallel()
	reset := func(code http2.ErrCode) func(*http2.Framer, net.Conn, uint32) {
		return func(fr *http2.Framer, _ net.Conn, s uint32) {
			_ = fr.WriteRSTStream(s, code)
		}
	}
	for name, c := range map[string]struct {
		play   func(fr *http2.Framer, c net.Conn, stream uint32)
		class  string
		status int
	}{
		"204": {func(fr *http2.Framer, _ net.Conn, s uint32) { headers(fr, s, true, answerHead("204")) }, "", 204},
		"interim": {func(fr *http2.Framer, _ net.Conn, s uint32) {
			headers(fr, s, false, answerHead("103"))
			headers(fr, s, true, answerHead("200"))
		}, "", 200},
		"early, left open": {func(fr *http2.Framer, c net.Conn, s uint32) {
			headers(fr, s, true, answerHead("202"))
			<-time.After(time.Second)
		}, "", 202},
		"early, no error": {func(fr *http2.Framer, _ net.Conn, s uint32) {
			headers(fr, s, true, answerHead("200"))
			_ = fr.WriteRSTStream(s, http2.ErrCodeNo)
		}, "", 200},
		"half a body": {func(fr *http2.Framer, c net.Conn, s uint32) {
			headers(fr, s, false, answerHead("200", "content-length", "100"))
			_ = fr.WriteData(s, false, []byte("half"))
			c.Close()
		}, "", 200},
		"cut":                   {func(_ *http2.Framer, c net.Conn, _ uint32) { c.Close() }, ClassConnectionLost, 0},
		"cancel":                {reset(http2.ErrCodeCancel), ClassConnectionLost, 0},
		"internal":              {reset(http2.ErrCodeInternal), ClassConnectionLost, 0},
		"refused":               {reset(http2.ErrCodeRefusedStream), ClassConnectionLost, 0},
		"protocol, by the peer": {reset(http2.ErrCodeProtocol), ClassConnectionLost, 0},
		"going away": {func(fr *http2.Framer, c net.Conn, _ uint32) {
			_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, ClassConnectionLost, 0},
		"going away with an error": {func(fr *http2.Framer, c net.Conn, s uint32) {
			_ = fr.WriteGoAway(s, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
			c.Close()
		}, ClassConnectionLost, 0},
		"no frames": {func(_ *http2.Framer, c net.Conn, _ uint32) {
			_, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 200 OK\r\n", 2000))
		}, ClassBadResponse, 0},
		"bad headers": {func(fr *http2.Framer, _ net.Conn, s uint32) {
			headers(fr, s, true, []byte{0x80})
		}, ClassBadResponse, 0},
		"no status": {func(fr *http2.Framer, _ net.Conn, s uint32) {
			headers(fr, s, true, nil)
		}, ClassBadResponse, 0},
		"large headers": {func(fr *http2.Framer, _ net.Conn, s uint32) { largeHead(fr, s) }, ClassTooLarge, 0},
		"silent":        {func(*http2.Framer, net.Conn, uint32) {}, ClassTimeout, 0},
		"redirect":      {func(fr *http2.Framer, _ net.Conn, s uint32) { headers(fr, s, true, answerHead("301", "location", "/")) }, ClassRedirect, 301},
		"retry later": {func(fr *http2.Framer, _ net.Conn, s uint32) {
			headers(fr, s, true, answerHead("429", "retry-after", "7"))
		}, ClassHTTPStatus, 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newH2Wire(t, c.play)
			r := w.s.Send(t.Context(), w.hook(t), wireEvent())
			if r.Class != c.class || r.Status != c.status || !r.Sent {
				t.Errorf("Send = class %q, status %d, sent %v, %v; want %q, %d", r.Class, r.Status, r.Sent, r.Err, c.class, c.status)
			}
			if name == "retry later" && r.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After = %v, want 7s", r.RetryAfter)
			}
			if n := w.requests.Load(); n != 1 {
				t.Errorf("the receiver saw %d requests of one attempt, want 1", n)
			}
		})
	}
}

// largeHead sends headers over the limit.
func largeHead(fr *http2.Framer, stream uint32) {
	var more []string
	for i := range 20 {
		more = append(more, fmt.Sprintf("x-%d", i), strings.Repeat("y", 8<<10))
	}
	block := answerHead("200", more...)
	first := true
	for len(block) > 0 {
		n := min(len(block), 16<<10)
		part, last := block[:n], n == len(block)
		if first {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndHeaders: last, EndStream: true})
		} else {
			_ = fr.WriteContinuation(stream, last, part)
		}
		block, first = block[n:], false
	}
}

// TestHTTP11Required: who asks for HTTP/1.1 gets it from the next attempt on.
func TestHTTP11Required(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(*http2.Framer, net.Conn, uint32){
		"reset": func(fr *http2.Framer, _ net.Conn, s uint32) {
			_ = fr.WriteRSTStream(s, http2.ErrCodeHTTP11Required)
		},
		"going away": func(fr *http2.Framer, c net.Conn, s uint32) {
			_ = fr.WriteGoAway(s, http2.ErrCodeHTTP11Required, nil)
			c.Close()
		},
	} {
		w := newH2Wire(t, play)
		first := w.s.Send(t.Context(), w.hook(t), wireEvent())
		second := w.s.Send(t.Context(), w.hook(t), wireEvent())
		if first.Class != ClassConnectionLost || second.Verdict != Success || second.Status != 204 {
			t.Errorf("%s: attempts = %q, %v, then %q, %v; want a lost one, then a success", name, first.Class, first.Err, second.Class,
				second.Err)
		}
	}
}

// TestFloodOfFrames: whatever frames come without end, few are taken, and the attempt ends. The log has the CPU time.
func TestFloodOfFrames(t *testing.T) {
	floods := map[string]func(fr *http2.Framer, s uint32) error{
		"PING":          func(fr *http2.Framer, _ uint32) error { return fr.WritePing(false, [8]byte{}) },
		"SETTINGS":      func(fr *http2.Framer, _ uint32) error { return fr.WriteSettings() },
		"WINDOW_UPDATE": func(fr *http2.Framer, _ uint32) error { return fr.WriteWindowUpdate(0, 1) },
		"PRIORITY":      func(fr *http2.Framer, s uint32) error { return fr.WritePriority(s, http2.PriorityParam{StreamDep: 0}) },
		"unknown":       func(fr *http2.Framer, s uint32) error { return fr.WriteRawFrame(0xfe, 0, s, nil) },
		"interim":       func(fr *http2.Framer, s uint32) error { headers(fr, s, false, answerHead("103")); return nil },
		"empty DATA":    func(fr *http2.Framer, s uint32) error { return fr.WriteData(s, false, nil) },
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			var sent int
			var over sync.WaitGroup
			over.Add(1)
			w := newH2Wire(t, func(fr *http2.Framer, c net.Conn, s uint32) {
				defer over.Done()
				if name == "empty DATA" {
					headers(fr, s, false, answerHead("200"))
				}
				_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
				for sent = 0; sent < 200_000 && flood(fr, s) == nil; sent++ {
				}
			})
			before := cpuTime(t)
			r := w.s.Send(t.Context(), w.hook(t), wireEvent())
			used := cpuTime(t) - before
			over.Wait()
			t.Logf("%d frames were sent, %v of CPU for both sides, class %q", sent, used, r.Class)
			if name != "empty DATA" && (r.Class != ClassBadResponse && r.Class != ClassConnectionLost || r.Duration > 2900*time.Millisecond) {
				t.Errorf("Send = class %q after %v, %v; want it ended by the flood", r.Class, r.Duration, r.Err)
			}
			if name == "empty DATA" && r.Status != 200 {
				t.Errorf("Send = %+v, want its status", r)
			}
		})
	}
}

// cpuTime is for how long this process has computed.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHTTP2URLs: every URL that can be saved goes out over HTTP/2 as over HTTP/1.1, byte for byte, by POST and GET.
func TestHTTP2URLs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got string
	note := func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = r.Method + " " + r.RequestURI
		mu.Unlock()
	}
	two, s := newSecure(t, true, nil, note)
	one := newWire(t, func(c net.Conn, r *http.Request, _, _ []byte) bool {
		note(nil, r)
		_, err := io.WriteString(c, ok204)
		return err == nil
	})
	s1 := wireSender(t)
	send := func(s *Sender, base, path string, m webhook.Method) (string, bool) {
		h := &webhook.Webhook{URL: base + path, Method: m, Timeout: 10 * time.Second}
		url, err := webhook.NormalizeURL(h.URL, m)
		if err != nil {
			return "", false
		}
		h.URL = url
		tt, err := NewTarget(h)
		if err != nil {
			return "", false
		}
		r := s.Send(t.Context(), tt, wireEvent())
		if r.Verdict != Success {
			t.Errorf("%s %s%s: Send = %v, %v, want success", m, base, path, r.Class, r.Err)
		}
		mu.Lock()
		defer mu.Unlock()
		return got, true
	}
	try := func(path string) {
		for _, m := range []webhook.Method{webhook.POST, webhook.GET} {
			a, ok := send(s1, "http://"+one.Addr().String(), path, m)
			b, _ := send(s, two.URL, path, m)
			if ok && a != b {
				t.Errorf("%s: HTTP/1.1 asks for %q, HTTP/2 for %q", path, a, b)
			}
		}
	}
	for _, path := range []string{"/", "//", "//a//b", "/?", "/x?", "/x?a=b&c", "/%2F%2f", "/a%20b?x=%20+", "/a;b,c=d", "/*", "/a:b@c",
		"/x?/y?z", "/%C3%A9", "/(a)'!$&", "/x?a[]=1", "/.", "/..", "/a/../b", "/{}|"} {
		try(path)
	}
	rapid.Check(t, func(t *rapid.T) {
		try("/" + rapid.StringMatching("[a-zA-Z0-9/?%;:@&=+$,.!~*'()_-]{0,40}").Draw(t, "path"))
	})
}
