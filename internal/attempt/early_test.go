package attempt

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// largeEvent is one that no socket takes without the other side reading.
func largeEvent() *event.Event {
	e := *wireEvent()
	e.Data = []byte(`{"x":"` + strings.Repeat("y", 8<<20) + `"}`)
	return &e
}

// TestEarlyAnswer: an answer before the request's body was read is the answer, though the connection stays open and
// nobody reads the rest; whatever comes instead, the attempt ends in its time.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	config, roots := testTLS(t)
	for _, c := range []struct {
		answer, class string
		status        int
	}{
		{ok204, "", 204}, {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "", 200},
		{"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n", ClassHTTPStatus, 413},
		{"HTTP/1.1 102 X\r\n\r\n" + ok204, "", 204}, {"nonsense\r\n\r\n", ClassBadResponse, 0}, {"", ClassTimeout, 0},
	} {
		for _, secured := range []bool{false, true} {
			done := make(chan struct{})
			w := listen(t, &wire{handle: func(nc net.Conn) {
				c2 := nc
				if secured {
					c2 = tls.Server(nc, config)
				}
				_, _ = bufio.NewReaderSize(c2, 16).ReadString('\n')
				_, _ = io.WriteString(c2, c.answer)
				<-done
			}})
			s := wireSender(t)
			s.cfg.Roots = trusting(roots)
			tt := w.target(t, webhook.POST, func(h *webhook.Webhook) {
				h.Timeout = 3 * time.Second
				if secured {
					h.URL = strings.Replace(h.URL, "http:", "https:", 1)
				}
			})
			if secured {
				h := webhook.Webhook{URL: "https://" + w.Addr().String() + "/hook", Method: webhook.POST, Timeout: 3 * time.Second}
				tt, _ = NewTarget(&h)
			}
			r := s.Send(t.Context(), tt, largeEvent())
			close(done)
			if r.Class != c.class || r.Status != c.status || !r.Sent || r.Status != 0 && r.Duration > 2900*time.Millisecond {
				t.Errorf("TLS %v, answer %q: Send = %d %s after %v, %v; want %d %s", secured, c.answer, r.Status, r.Class, r.Duration,
					r.Err, c.status, c.class)
			}
			if n := idle(s); n != 0 {
				t.Errorf("answer %q: a connection whose request was not read is kept", c.answer)
			}
		}
	}
}

// TestRefusedAnswersAreOnRecord: what came of an answer that is none is kept, bounded.
func TestRefusedAnswersAreOnRecord(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"SSH-2.0-OpenSSH_9.2\r\n":                   "SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n<html>": "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n<html>",
		"HTTP/1.1 200 OK\r\nContent-Le":             "HTTP/1.1 200 OK\r\nContent-Le",
		strings.Repeat("x", 100_000):                strings.Repeat("x", MaxKept),
		ok204:                                       "",
	} {
		w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
			_, _ = io.WriteString(c, answer)
			return false
		})
		if r := wireSender(t).Send(t.Context(), w.target(t, webhook.POST, nil), wireEvent()); string(r.Response) != want {
			t.Errorf("of %.60q on record: %.60q (%d bytes), want %.60q", answer, r.Response, len(r.Response), want)
		}
	}
}

// TestEndlessBodyHoldsNoPlace: an answer whose body does not end is a delivery as soon as its time for the record is
// over, long before the attempt's.
func TestEndlessBodyHoldsNoPlace(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		w := newWire(t, func(c net.Conn, _ *http.Request, _, _ []byte) bool {
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, c)
			return false
		})
		r := wireSender(t).Send(t.Context(), w.target(t, webhook.POST, func(h *webhook.Webhook) { h.Timeout = time.Minute }), wireEvent())
		if r.Verdict != Success || string(r.Response) != "hello" || r.Duration > 20*time.Second {
			t.Errorf("%q: Send = %+v, want success with what came", answer, r)
		}
	}
}
