package attempt

import (
	"bytes"
	"context"
	"log"
	"net"
	"net/http/httptrace"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/quantfolio/qhook/internal/webhook"
)

// A receiver that requires HTTP/1.1 gets it from the next attempt on, for an hour.
func TestHTTP2ServerRequiresHTTP1(t *testing.T) {
	for name, ask := range map[string]func(p *peer, stream uint32){
		"RST_STREAM": func(p *peer, stream uint32) { _ = p.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) },
		"GOAWAY":     func(p *peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeHTTP11Required, nil) },
		"GOAWAY for its TLS": func(p *peer, _ uint32) {
			_ = p.WriteGoAway(0, http2.ErrCodeInadequateSecurity, nil)
		},
		"GOAWAY after the stream": func(p *peer, stream uint32) {
			_ = p.WriteGoAway(stream, http2.ErrCodeHTTP11Required, nil)
			p.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, s := newPeers(t, func(p *peer) {
				ask(p, p.settle().stream)
				p.drain()
			})
			tt := srv.target(t, webhook.POST, "/", 20*time.Second)
			if r := s.Send(t.Context(), tt, wireEvent()); r.Class != ClassConnectionLost {
				t.Errorf("Send = %+v, want %s", r, ClassConnectionLost)
			}
			mustSucceed(t, s, tt)
			mustSucceed(t, s, tt)
			if one, two := srv.one.Load(), srv.two.Load(); one != 1 || two != 1 {
				t.Errorf("%d connections by HTTP/1.1, %d by HTTP/2, want 1 and 1", one, two)
			}
			s.CloseIdle()
			s.pools.mu.Lock()
			s.pools.required[tt.poolKey] = time.Now().Add(-requiredFor)
			s.pools.mu.Unlock()
			s.Send(t.Context(), tt, wireEvent())
			if two := srv.two.Load(); two != 2 {
				t.Errorf("%d connections by HTTP/2, want a second one after an hour", two)
			}
		})
	}
}

func TestRequiredIsBounded(t *testing.T) {
	t.Parallel()
	s := wireSender(t)
	for i := range maxRequired + 10 {
		s.pools.require("tls host" + strconv.Itoa(i))
	}
	if n := len(s.pools.required); n != maxRequired {
		t.Errorf("%d origins are remembered, want %d", n, maxRequired)
	}
	for i, want := range map[int][]string{0: {"h2", "http/1.1"}, 10: {"http/1.1"}, maxRequired + 9: {"http/1.1"}} {
		if got := s.pools.protocols("tls host" + strconv.Itoa(i)); !slices.Equal(got, want) {
			t.Errorf("origin %d is offered %v, want %v", i, got, want)
		}
	}
	if s.pools.put("tls host10", &conn{h2: &h2Conn{}}) {
		t.Error("an HTTP/2 connection was kept to an origin that requires HTTP/1.1")
	}
}

// Until the receiver's settings say how many requests it takes at a time, a connection has one.
func TestHTTP2OneStreamUntilSettings(t *testing.T) {
	t.Parallel()
	asked, finish := make(chan struct{}), make(chan struct{}) // closed by the receiver; by the test
	var conns atomic.Int64
	srv, s := newPeers(t, func(p *peer) {
		r, _ := p.request(true)
		if conns.Add(1) == 1 {
			close(asked)
			<-finish
		}
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		for ; r.stream != 0; r, _ = p.request(true) {
			p.head(r.stream, true, ":status", "204")
		}
	})
	tt, done := srv.target(t, webhook.POST, "/", 20*time.Second), make(chan Result, 1)
	go func() { done <- s.Send(context.Background(), tt, wireEvent()) }()
	<-asked
	mustSucceed(t, s, tt)
	for available(s) == 0 { // the place of a request is free a moment after its answer
		runtime.Gosched()
	}
	mustSucceed(t, s, tt)
	close(finish)
	if r := <-done; r.Verdict != Success {
		t.Errorf("Send = %+v, want success", r)
	}
	if n := srv.two.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// available is how many requests the kept HTTP/2 connections would take now.
func available(s *Sender) (n int) {
	s.pools.mu.Lock()
	defer s.pools.mu.Unlock()
	for _, p := range s.pools.byKey {
		for _, c := range p.two {
			n += c.h2.Available()
		}
	}
	return n
}

// SETTINGS_MAX_HEADER_LIST_SIZE is advice: what is larger is sent, as by HTTP/1.1.
func TestHTTP2HeaderListSizeIsAdvice(t *testing.T) {
	t.Parallel()
	srv, s := newPeers(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: maxFrame},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 10})
		for r, _ := p.request(true); r.stream != 0; r, _ = p.request(true) {
			p.head(r.stream, true, ":status", "204")
		}
	})
	tt := srv.target(t, webhook.GET, "/", 20*time.Second)
	mustSucceed(t, s, tt)
	mustSucceed(t, s, tt)
	if n := srv.two.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Frames without a meaning are passed over (RFC 9113, section 5.5), and nothing is logged of them.
func TestHTTP2UnknownFrames(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	srv, s := newPeers(t, func(p *peer) {
		r := p.settle()
		unknown := func() {
			_ = p.WriteRawFrame(0xa, 0, 0, []byte("\x00\x00h2=\":443\"")) // ALTSVC, RFC 7838
			_ = p.WriteRawFrame(0xfe, 0xff, r.stream, make([]byte, maxFrame))
			_ = p.WritePriority(r.stream, http2.PriorityParam{Weight: 1})
		}
		unknown()
		p.head(r.stream, false, ":status", "200")
		unknown()
		_ = p.WriteData(r.stream, false, []byte("hel"))
		unknown()
		_ = p.WriteData(r.stream, true, []byte("lo"))
		p.drain()
	})
	r := mustSucceed(t, s, srv.target(t, webhook.POST, "/", 20*time.Second))
	s.Close()
	if string(r.Response) != "hello" || logged.Len() > 0 {
		t.Errorf("the answer is %q, the log %q, want hello and nothing", r.Response, &logged)
	}
}

// An answer that comes before the request was read is a delivery.
func TestHTTP2EarlyAnswers(t *testing.T) {
	noWindow := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0} // so the body cannot come
	for _, c := range []struct {
		name    string
		timeout time.Duration
		answer  func(p *peer, stream uint32)
	}{
		{"complete", 20 * time.Second, func(p *peer, stream uint32) { p.head(stream, true, ":status", "200") }},
		{"complete, then NO_ERROR", 20 * time.Second, func(p *peer, stream uint32) {
			p.head(stream, true, ":status", "200")
			_ = p.WriteRSTStream(stream, http2.ErrCodeNo)
		}},
		{"head, then NO_ERROR", 20 * time.Second, func(p *peer, stream uint32) {
			p.head(stream, false, ":status", "200")
			_ = p.WriteRSTStream(stream, http2.ErrCodeNo)
		}},
		{"the stream stays open", 300 * time.Millisecond, func(p *peer, stream uint32) {
			p.head(stream, false, ":status", "200")
			_ = p.WriteData(stream, false, []byte("early"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, s := newPeers(t, func(p *peer) {
				_ = p.WriteSettings(noWindow)
				_ = p.WriteSettingsAck()
				for r, _ := p.request(false); r.stream != 0; r, _ = p.request(false) {
					c.answer(p, r.stream)
				}
			})
			tt := srv.target(t, webhook.POST, "/", c.timeout)
			for range 2 {
				if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success || r.Status != 200 {
					t.Errorf("Send = %+v, want success", r)
				} else if c.timeout < time.Second && string(r.Response) != "early" {
					t.Errorf("the answer is %q, want what came of it", r.Response)
				}
			}
			if n := srv.two.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// An answer counts though the request could not be written to its end.
func TestHTTP2AnswerWhileWritingFails(t *testing.T) {
	for name, class := range map[string]string{"answer": "", "none": ClassConnectionLost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := make(chan struct{}) // closed when the client has failed to write
			srv, _ := newPeers(t, func(p *peer) {
				_ = p.WriteSettings()
				<-failed
				if name == "answer" {
					p.head(1, true, ":status", "202")
				}
			})
			c := srv.dialH2(t, nil)
			_ = c.frames.NetConn().(*net.TCPConn).CloseWrite()
			ctx := httptrace.WithClientTrace(t.Context(),
				&httptrace.ClientTrace{WroteHeaders: func() { close(failed) }})
			r, err := c.ask(ctx, srv.target(t, webhook.POST, "/", 20*time.Second))
			if name == "answer" && r.Status == 202 {
				return
			}
			if _, got := classify(t.Context(), err); got != class {
				t.Errorf("exchange = %+v, %v, class %q, want %q", r, err, got, class)
			}
		})
	}
}

// A connection that fell silent takes no more requests; one that gave a sign of life does.
func TestHTTP2SilentConnection(t *testing.T) {
	for name, want := range map[string]int64{"silent": 2, "alive": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, s := newPeers(t, func(p *peer) {
				r := p.settle()
				for ; r.stream != 0 && r.fields[":path"] != "/slow"; r, _ = p.request(true) {
					p.head(r.stream, true, ":status", "204")
				}
				if name == "silent" {
					p.drain()
					return
				}
				_ = p.WritePing(false, [8]byte{})
				for r, _ = p.request(true); r.stream != 0; r, _ = p.request(true) {
					p.head(r.stream, true, ":status", "204")
				}
			})
			tt := srv.target(t, webhook.POST, "/", 20*time.Second)
			mustSucceed(t, s, tt)
			slow := srv.target(t, webhook.POST, "/slow", 300*time.Millisecond)
			if r := s.Send(t.Context(), slow, wireEvent()); r.Class != ClassTimeout {
				t.Errorf("Send = %+v, want %s", r, ClassTimeout)
			}
			mustSucceed(t, s, tt)
			if n := srv.two.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
		})
	}
}
