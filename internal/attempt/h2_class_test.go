package attempt

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/quantfolio/qhook/internal/webhook"
)

// What happens over HTTP/2 has the class that it has over HTTP/1.1.
func TestHTTP2Classes(t *testing.T) {
	many := func(n int, status, name, value string) []string {
		return append([]string{":status", status}, slices.Repeat([]string{name, value}, n)...)
	}
	for _, c := range []struct {
		name   string
		serve  func(p *peer, r h2Request) // then the connection is closed
		class  string
		status int
	}{
		{"200", func(p *peer, r h2Request) { p.head(r.stream, true, ":status", "200"); p.drain() }, "", 200},
		{"nothing, then closed", func(*peer, h2Request) {}, ClassConnectionLost, 0},
		{"cut in the middle of a frame", func(p *peer, r h2Request) {
			_, _ = p.Write([]byte{0, 0, 100, 1, 4, 0, 0, 0, 1, 0x88})
		}, ClassConnectionLost, 0},
		{"REFUSED_STREAM", func(p *peer, r h2Request) {
			_ = p.WriteRSTStream(r.stream, http2.ErrCodeRefusedStream)
			p.drain()
		}, ClassConnectionLost, 0},
		{"INTERNAL_ERROR", func(p *peer, r h2Request) {
			_ = p.WriteRSTStream(r.stream, http2.ErrCodeInternal)
			p.drain()
		}, ClassConnectionLost, 0},
		{"NO_ERROR without an answer", func(p *peer, r h2Request) {
			_ = p.WriteRSTStream(r.stream, http2.ErrCodeNo)
			p.drain()
		}, ClassConnectionLost, 0},
		{"an unknown code", func(p *peer, r h2Request) {
			_ = p.WriteRSTStream(r.stream, 0xffff)
			p.drain()
		}, ClassConnectionLost, 0},
		{"PROTOCOL_ERROR", func(p *peer, r h2Request) {
			_ = p.WriteRSTStream(r.stream, http2.ErrCodeProtocol)
			p.drain()
		}, ClassBadResponse, 0},
		{"GOAWAY before this request", func(p *peer, r h2Request) {
			_ = p.WriteGoAway(0, http2.ErrCodeNo, nil)
			p.drain()
		}, ClassConnectionLost, 0},
		{"GOAWAY before this request, with an error", func(p *peer, r h2Request) {
			_ = p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			p.drain()
		}, ClassConnectionLost, 0},
		{"GOAWAY after this request, then closed", func(p *peer, r h2Request) {
			_ = p.WriteGoAway(r.stream, http2.ErrCodeInternal, nil)
		}, ClassConnectionLost, 0},
		{"GOAWAY after this request, then the answer", func(p *peer, r h2Request) {
			_ = p.WriteGoAway(r.stream, http2.ErrCodeNo, nil)
			p.head(r.stream, true, ":status", "201")
		}, "", 201},
		{"cut in the middle of the body", func(p *peer, r h2Request) {
			p.head(r.stream, false, ":status", "200", "content-length", "10")
			_ = p.WriteData(r.stream, false, []byte("abc"))
		}, "", 200},
		{"frames that are none after the head", func(p *peer, r h2Request) {
			p.head(r.stream, false, ":status", "503")
			_, _ = p.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			p.drain()
		}, ClassHTTPStatus, 503},
		{"HTTP/1.1", func(p *peer, r h2Request) {
			_, _ = io.WriteString(p.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			p.drain()
		}, ClassBadResponse, 0},
		{"a frame over 16 KiB", func(p *peer, r h2Request) {
			_ = p.WriteRawFrame(http2.FrameData, 0, r.stream, make([]byte, 16385))
			p.drain()
		}, ClassBadResponse, 0},
		{"no settings first", nil, ClassBadResponse, 0},
		{"DATA before the head", func(p *peer, r h2Request) {
			_ = p.WriteData(r.stream, true, []byte("x"))
			p.drain()
		}, ClassBadResponse, 0},
		{"PUSH_PROMISE", func(p *peer, r h2Request) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: r.stream, PromiseID: 2, EndHeaders: true})
			p.drain()
		}, ClassBadResponse, 0},
		{"padding without a length", func(p *peer, r h2Request) {
			_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, r.stream, nil)
			p.drain()
		}, ClassBadResponse, 0},
		{"HPACK that is none", func(p *peer, r h2Request) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: r.stream, EndHeaders: true,
				BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
			p.drain()
		}, ClassBadResponse, 0},
		{"no status", func(p *peer, r h2Request) {
			p.head(r.stream, true, "x", "y")
			p.drain()
		}, ClassBadResponse, 0},
		{"status 99", func(p *peer, r h2Request) {
			p.head(r.stream, true, ":status", "99")
			p.drain()
		}, ClassBadResponse, 0},
		{"status 600", func(p *peer, r h2Request) {
			p.head(r.stream, false, ":status", "600")
			p.drain()
		}, ClassBadResponse, 0},
		{"status +200", func(p *peer, r h2Request) {
			p.head(r.stream, true, ":status", "+200")
			p.drain()
		}, ClassBadResponse, 0},
		{"name in upper case", func(p *peer, r h2Request) {
			p.head(r.stream, true, ":status", "200", "X", "y")
			p.drain()
		}, ClassBadResponse, 0},
		{"LF in a value", func(p *peer, r h2Request) {
			p.head(r.stream, true, ":status", "200", "x", "a\nb")
			p.drain()
		}, ClassBadResponse, 0},
		{"101", func(p *peer, r h2Request) {
			p.head(r.stream, false, ":status", "101")
			p.drain()
		}, ClassBadResponse, 0},
		{"as many interim responses as may come", func(p *peer, r h2Request) {
			for range maxInterim {
				p.head(r.stream, false, ":status", "103", "link", "x")
			}
			p.head(r.stream, true, ":status", "204")
			p.drain()
		}, "", 204},
		{"one interim response more", func(p *peer, r h2Request) {
			for range maxInterim + 1 {
				p.head(r.stream, false, ":status", "103", "link", "x")
			}
			p.head(r.stream, true, ":status", "204")
			p.drain()
		}, ClassBadResponse, 0},
		{"13,000 small headers", func(p *peer, r h2Request) {
			p.longHead(r.stream, true, many(13000, "200", "a", "")...)
			p.drain()
		}, "", 200},
		{"head over 64 KiB", func(p *peer, r h2Request) {
			p.longHead(r.stream, true, many(17, "200", "a", strings.Repeat("~", 4000))...)
			p.drain()
		}, ClassTooLarge, 0},
		{"head over 64 KiB, compressed", func(p *peer, r h2Request) {
			p.longHead(r.stream, true, many(17, "200", "a", strings.Repeat("0", 4000))...)
			p.drain()
		}, ClassTooLarge, 0},
		{"head over 1 MiB", func(p *peer, r h2Request) {
			p.longHead(r.stream, true, many(256, "200", "a", strings.Repeat("0", 4096))...)
			p.drain()
		}, ClassTooLarge, 0},
		{"interim heads over 64 KiB", func(p *peer, r h2Request) {
			for range 3 {
				p.longHead(r.stream, false, many(6, "103", "a", strings.Repeat("0", 4000))...)
			}
			p.head(r.stream, true, ":status", "204")
			p.drain()
		}, ClassTooLarge, 0},
		{"a silent receiver", func(p *peer, r h2Request) { p.drain() }, ClassTimeout, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, s := newPeers(t, func(p *peer) {
				if c.serve == nil {
					_ = p.WritePing(false, [8]byte{})
					p.drain()
					return
				}
				c.serve(p, p.settle())
			})
			timeout := 20 * time.Second
			if c.class == ClassTimeout {
				timeout = 300 * time.Millisecond
			}
			r := s.Send(t.Context(), srv.target(t, webhook.POST, "/hook", timeout), wireEvent())
			if r.Class != c.class || r.Status != c.status || !r.Sent && c.serve != nil {
				t.Errorf("Send = %+v, want class %q, status %d, sent", r, c.class, c.status)
			}
		})
	}
}

// longHead sends a head in as many frames as it takes.
func (p *peer) longHead(stream uint32, end bool, fields ...string) {
	b := block(fields...)
	n := min(len(b), maxFrame)
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b[:n], EndHeaders: n == len(b),
		EndStream: end})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), maxFrame)
		_ = p.WriteContinuation(stream, n == len(b), b[:n])
	}
}

// A connection that ended before its first request says why.
func TestHTTP2EndedBeforeTheRequest(t *testing.T) {
	for _, c := range []struct {
		name, class string
		serve       func(p *peer)
	}{
		{"closed", ClassConnectionLost, func(*peer) {}},
		{"HTTP/1.1", ClassBadResponse, func(p *peer) {
			_, _ = io.WriteString(p.Conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}},
		{"a flood", ClassBadResponse, func(p *peer) {
			var err error
			for _ = p.WriteSettings(); err == nil; {
				err = p.WriteWindowUpdate(0, 1)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, _ := newPeers(t, func(p *peer) {
				c.serve(p)
				p.Close()
			})
			ended := make(chan struct{}, 8)
			conn := srv.dialH2(t, nil)
			conn.SetStateHook(func(cc *http.ClientConn) {
				if cc.Err() != nil {
					ended <- struct{}{}
				}
			})
			<-ended
			r, err := conn.ask(t.Context(), srv.target(t, webhook.POST, "/", 20*time.Second))
			if _, class := classify(t.Context(), err); class != c.class || r.Sent {
				t.Errorf("exchange = %+v, %v, class %q, want %q, not sent", r, err, class, c.class)
			}
		})
	}
}

func TestHTTP2Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	srv, s := newPeers(t, func(p *peer) {
		p.settle()
		cancel()
		p.drain()
	})
	if r := s.Send(ctx, srv.target(t, webhook.GET, "/", 20*time.Second), wireEvent()); r.Class != ClassCancelled ||
		!r.Sent {
		t.Errorf("Send = %+v, want cancelled, sent", r)
	}
}

// A connection that answers no ping is lost.
func TestHTTP2PingTimeout(t *testing.T) {
	t.Parallel()
	srv, _ := newPeers(t, func(p *peer) {
		p.settle()
		p.drain()
	})
	c := srv.dialH2(t, func(tr *http.Transport) {
		tr.HTTP2.SendPingTimeout, tr.HTTP2.PingTimeout = 50*time.Millisecond, 50*time.Millisecond
	})
	r, err := c.ask(t.Context(), srv.target(t, webhook.POST, "/", 20*time.Second))
	if _, class := classify(t.Context(), err); class != ClassConnectionLost || !r.Sent {
		t.Errorf("exchange = %+v, %v, class %q, want %q", r, err, class, ClassConnectionLost)
	}
}

// A place on a connection that is gone before the request was written is no attempt: the request goes elsewhere.
func TestHTTP2PlaceThatIsGone(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}) // closed by the receiver when the client knows that it goes away
	srv, _ := newPeers(t, func(p *peer) {
		r := p.settle()
		p.head(r.stream, true, ":status", "204")
		_ = p.WriteGoAway(r.stream+2, http2.ErrCodeNo, nil)
		_ = p.WritePing(false, [8]byte{})
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.PingFrame); ok && f.IsAck() {
				close(gone)
			}
		}
	})
	c, tt := srv.dialH2(t, nil), srv.target(t, webhook.POST, "/", 20*time.Second)
	if err := c.Reserve(); err != nil {
		t.Fatal(err)
	}
	if r, err := c.ask(t.Context(), tt); err != nil || r.Status != 204 {
		t.Fatalf("exchange = %+v, %v, want 204", r, err)
	}
	<-gone
	r, err := c.ask(t.Context(), tt)
	if err == nil || r.Sent || !c.stale(&r) {
		t.Errorf("exchange = %+v, %v, want an error before anything was sent", r, err)
	}
	if _, class := classify(t.Context(), err); class != ClassConnectionLost {
		t.Errorf("class = %q, want %q", class, ClassConnectionLost)
	}
}
