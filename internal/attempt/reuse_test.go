package attempt

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

func mustSucceed(t *testing.T, s *Sender, tt *Target) Result {
	t.Helper()
	r := s.Send(t.Context(), tt, wireEvent())
	if r.Verdict != Success || !r.Sent {
		t.Fatalf("Send = %+v, want success", r)
	}
	return r
}

func TestConnectionsAreKeptAndDeadOnesAreNot(t *testing.T) {
	w := newWire(t, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	s, tt := wireSender(t), w.target(t, webhook.POST, nil)
	for range 10 {
		if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
			t.Fatalf("Send = %+v, want success", r)
		}
	}
	if n := w.conns.Load(); n != 1 {
		t.Errorf("10 requests took %d connections, want 1", n)
	}
	closed := make(chan struct{}, 10) // sent to by the receiver
	short := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		_, _ = io.WriteString(c, ok204)
		c.Close()
		closed <- struct{}{}
		return false
	})
	tt = short.target(t, webhook.POST, nil)
	for range 10 {
		if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
			t.Fatalf("Send to a receiver that closes after each answer = %+v, want success", r)
		}
		<-closed
	}
	if n := short.requests.Load(); n != 10 {
		t.Errorf("%d requests, want 10", n)
	}
}

// A connection outlives the deadline of the request that used it before.
func TestIdleConnectionOutlivesTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWire(t, say(ok204))
	s, tt := wireSender(t), w.target(t, webhook.POST, func(h *webhook.Webhook) { h.Timeout = 500 * time.Millisecond })
	mustSucceed(t, s, tt)
	<-time.After(550 * time.Millisecond) // the deadline itself
	mustSucceed(t, s, tt)
	if n := w.conns.Load(); n != 1 {
		t.Errorf("2 requests, the second after the first's deadline, took %d connections, want 1", n)
	}
}

func idle(s *Sender) (n int) {
	s.pools.mu.Lock()
	defer s.pools.mu.Unlock()
	for _, p := range s.pools.byKey {
		n += len(p.idle) + len(p.two)
	}
	return n
}

func origins(s *Sender) int {
	s.pools.mu.Lock()
	defer s.pools.mu.Unlock()
	return len(s.pools.byKey)
}

// Idle connections are closed after their time even when nobody sends to that origin again.
func TestIdleConnectionsAreSwept(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}) // closed by the receiver when the sender has closed the connection
	w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		_, _ = io.WriteString(c, ok204)
		_, _ = io.Copy(io.Discard, c)
		close(gone)
		return false
	})
	s := wireSender(t)
	s.pools.idleLimit = 700 * time.Millisecond
	mustSucceed(t, s, w.target(t, webhook.POST, nil))
	select {
	case <-gone:
	case <-time.After(5 * time.Second): // less than ten times the limit
		t.Fatal("an idle connection is still open long after its limit")
	}
	if s.pools.timer.Stop() {
		t.Error("the timer runs without a connection")
	}
	if n := origins(s); n != 0 {
		t.Errorf("%d origins are kept without a connection, want 0", n)
	}
}

// A connection that was in use when the address rules changed is not kept: it was dialled under the old ones.
func TestCloseIdleReachesConnectionsInUse(t *testing.T) {
	t.Parallel()
	busy, finish := make(chan struct{}), make(chan struct{}) // closed by the receiver; by the test
	w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		close(busy)
		<-finish
		_, _ = io.WriteString(c, ok204)
		return true
	})
	s, tt, done := wireSender(t), w.target(t, webhook.POST, nil), make(chan Result, 1)
	go func() { done <- s.Send(context.Background(), tt, wireEvent()) }()
	<-busy
	s.CloseIdle()
	close(finish)
	if r := <-done; r.Verdict != Success {
		t.Errorf("Send = %+v, want success: CloseIdle leaves requests alone", r)
	}
	if n := idle(s); n != 0 {
		t.Errorf("%d connections are kept from before CloseIdle, want 0", n)
	}
}

func TestMostIdleConnections(t *testing.T) {
	t.Parallel()
	const all, most = 5, 2
	var busy sync.WaitGroup // until every request is under way
	busy.Add(all)
	w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
		busy.Done()
		busy.Wait()
		_, err := io.WriteString(c, ok204)
		return err == nil
	})
	s, tt := wireSender(t), w.target(t, webhook.POST, nil)
	s.pools.maxIdle = most
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if r := s.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
				t.Errorf("Send = %+v, want success", r)
			}
		})
	}
	wg.Wait()
	if n := idle(s); n != most {
		t.Errorf("%d connections are kept, want %d", n, most)
	}
	s.Close()
	if s.pools.timer.Stop() {
		t.Error("the timer runs after Close")
	}
}

// Answers after which the connection's place in the stream is not certain end it; the next request takes a new one.
func TestUncertainFramingEndsTheConnection(t *testing.T) {
	for _, c := range []struct{ name, answer string }{
		{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"},
		{"304 with chunks", "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"asks for it", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"a second answer", ok204 + ok204},
		{"a line over the buffer", "HTTP/1.1 200 OK\r\nConnection: " + strings.Repeat("x", 5000) + ", close\r\nContent-Length: 0\r\n\r\n"},
		{"length padded over the buffer",
			"HTTP/1.1 200 OK\r\nContent-Length: " + strings.Repeat("0", 5000) + "5\r\n\r\n"},
		{"length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: -0\r\n\r\n"},
		{"name with a tab", "HTTP/1.1 200 OK\r\nContent-Length\t: 5\r\nContent-Length: 0\r\n\r\n"},
		{"bare CR", "HTTP/1.1 200 OK\r\nX: y\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n"},
		{"CR in the status line", "HTTP/1.1 200 OK\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n"},
		{"NUL", "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, say(c.answer))
			s, tt := wireSender(t), w.target(t, webhook.POST, func(h *webhook.Webhook) { h.Timeout = time.Second })
			s.Send(t.Context(), tt, wireEvent())
			if n := idle(s); n != 0 {
				t.Errorf("the connection is kept after %.60q", c.answer)
			}
			s.Send(t.Context(), tt, wireEvent())
			if r, n := w.requests.Load(), w.conns.Load(); r != 2 || n != 2 {
				t.Errorf("%d requests on %d connections, want 2 on 2", r, n)
			}
		})
	}
}

func TestCertainFramingKeepsTheConnection(t *testing.T) {
	for _, answer := range []string{
		ok204,
		"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 02\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000) + "\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			w := newWire(t, say(answer))
			s, tt := wireSender(t), w.target(t, webhook.POST, nil)
			mustSucceed(t, s, tt)
			mustSucceed(t, s, tt)
			if n := w.conns.Load(); n != 1 {
				t.Errorf("2 requests took %d connections, want 1, with %.60q", n, answer)
			}
		})
	}
}
