package attempt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/webhook"
)

// scripted is a connection whose answer is written already. Its Write takes written bytes and fails if err is set.
type scripted struct {
	net.Conn
	answer  io.Reader
	written int
	err     error
}

func (s *scripted) Read(b []byte) (int, error)      { return s.answer.Read(b) }
func (s *scripted) SetDeadline(time.Time) error     { return nil }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }
func (s *scripted) Write(b []byte) (int, error) {
	if s.err != nil {
		return s.written, s.err
	}
	return len(b), nil
}

// exchange gives a connection that answers so a request of a test.
func exchange(s *scripted) (r Result, reusable bool, err error) {
	req := &request{wire: []byte("x"), t: &Target{test: true}}
	reusable, err = newConn(s).roundTrip(context.Background(), req, time.Now().Add(time.Minute), &r)
	return r, reusable, err
}

const head200 = "HTTP/1.1 200 OK\r\n"

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// Each limit of an answer's head is tried at it, one below and one above.
func TestLimitsOfTheHead(t *testing.T) {
	const length = "Content-Length: 0\r\n"
	for _, c := range []struct {
		name   string
		limit  int
		answer func(n int) string
		want   error
	}{
		{"bytes of the head", maxHead, func(n int) string {
			line := "X: " + repeat("x", 93) + "\r\n"
			left := n - len(head200) - len(length) - len("\r\n")
			s := repeat(line, left/len(line)-1)
			return head200 + length + s + "Y: " + repeat("y", left-len(s)-5) + "\r\n\r\n"
		}, errTooLarge},
		{"bytes of the head, in one line", maxHead, func(n int) string {
			return head200 + length + "X: " + repeat("x", n-len(head200)-len(length)-7) + "\r\n\r\n"
		}, errTooLarge},
		{"bytes of the head, interim responses included", maxHead, func(n int) string {
			early := "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
			return early + head200 + length + "X: " + repeat("x", n-len(early)-len(head200)-len(length)-7) + "\r\n\r\n"
		}, errTooLarge},
		{"interim responses", maxInterim, func(n int) string {
			return repeat("HTTP/1.1 100 Continue\r\n\r\n", n) + head200 + length + "\r\n"
		}, errBadResponse},
		{"status", 599, func(n int) string { return fmt.Sprintf("HTTP/1.1 %d X\r\n%s\r\n", n, length) },
			errBadResponse},
		{"status, from below", -200, func(n int) string { // 199 is an interim one, with nothing behind it
			return fmt.Sprintf("HTTP/1.1 %d X\r\n%s\r\n", -n, length)
		}, io.EOF},
		{"minor version", '1', func(n int) string {
			return fmt.Sprintf("HTTP/1.%c 200 OK\r\n%s\r\n", n, length)
		}, errBadResponse},
		{"trailers", 4 << 10, func(n int) string {
			return head200 + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + repeat("x", n-7) + "\r\n\r\n"
		}, nil},
	} {
		for n := c.limit - 1; n <= c.limit+1; n++ {
			_, reusable, err := exchange(&scripted{answer: strings.NewReader(c.answer(n))})
			switch {
			case n <= c.limit && (err != nil || reusable != (c.name != "minor version" || n == '1')):
				t.Errorf("%s: %d = %v, reusable %v, want it taken", c.name, n, err, reusable)
			case n > c.limit && (!errors.Is(err, c.want) || reusable):
				t.Errorf("%s: %d = %v, reusable %v, want %v", c.name, n, err, reusable, c.want)
			}
		}
	}
}

// The bytes of a body that are kept, and those that are read so that the connection can be used again.
func TestLimitsOfTheBody(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, MaxKept - 1, MaxKept, MaxKept + 1, maxDrain - 1, maxDrain,
		maxDrain + 1} {
		body := repeat("x", n)
		known, chunked := fmt.Sprintf("Content-Length: %d\r\n", n), "Transfer-Encoding: chunked\r\n"
		chunks := fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n\r\n", n, body)
		if n == 0 {
			chunks = "\r\n0\r\n\r\n"
		}
		for name, c := range map[string]struct {
			answer   string
			reusable bool
		}{
			"of a known length": {known + "\r\n" + body, n <= maxDrain},
			"in one chunk":      {chunked + chunks, n < maxDrain},
			"to the end":        {"\r\n" + body, false},
			"cut":               {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n+1, body), false},
			"in half a chunk":   {fmt.Sprintf("%s\r\n%x\r\n%s", chunked, n+1, body), false},
			"of both":           {known + chunked + chunks, false},
		} {
			r, reusable, err := exchange(&scripted{answer: strings.NewReader(head200 + c.answer)})
			if err != nil || string(r.Response) != body[:min(n, MaxKept)] || reusable != c.reusable {
				t.Errorf("%d bytes %s: %v, %d kept, reusable %v, want %v", n, name, err, len(r.Response),
					reusable, c.reusable)
			}
		}
	}
	for _, n := range []int{1, 512, 1000, MaxKept - 1, MaxKept} { // of what has a length
		body := bytes.NewReader(make([]byte, n))
		if got := testing.AllocsPerRun(10, func() {
			body.Seek(0, io.SeekStart)
			_, _ = readAtMost(body, MaxKept, int64(n))
		}); got != 1 {
			t.Errorf("reading %d bytes takes %v allocations, want 1", n, got)
		}
	}
}

func TestLinesOfTheHead(t *testing.T) {
	const none, chunked, end = "Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n", "\r\n0\r\n\r\n"
	for name, c := range map[string]struct {
		answer   string
		reusable bool
		err      error
	}{
		"HTTP/1.0 ends":      {"HTTP/1.0 200 OK\r\n" + none, false, nil},
		"begins with a CR":   {head200 + "\rX: y\r\n" + none, false, errBadResponse},
		"begins with a NUL":  {head200 + "\x00X: y\r\n" + none, false, errBadResponse},
		"no name":            {head200 + ": y\r\n" + none, false, errBadResponse},
		"name of one letter": {head200 + "X: y\r\n" + none, true, nil},
		"length 0, then 1": {head200 + "Content-Length: 0\r\nContent-Length: 1\r\n\r\nx", false,
			errBadResponse},
		"length 0 twice":           {head200 + "Content-Length: 0\r\n" + none, true, nil},
		"length 0 and chunks":      {head200 + "Content-Length: 0\r\n" + chunked + end, false, nil},
		"chunked twice":            {head200 + chunked + chunked + end, false, nil},
		"greatest length":          {head200 + "Content-Length: 9223372036854775807\r\n\r\n", false, nil},
		"length over the greatest": {head200 + "Content-Length: 9223372036854775808\r\n\r\n", false, errBadResponse},
		"status line of 11":        {"HTTP/1.1 20\r\n" + none, false, errBadResponse},
		"status line of 12":        {"HTTP/1.1 200\r\n" + none, true, nil},
		"status of four digits":    {"HTTP/1.1 2000\r\n" + none, false, errBadResponse},
		"status with a /":          {"HTTP/1.1 2/0\r\n" + none, false, errBadResponse},
		"status with a :":          {"HTTP/1.1 2:0\r\n" + none, false, errBadResponse},
		"status 099":               {"HTTP/1.1 099 X\r\n" + none, false, errBadResponse},
		"status 100":               {"HTTP/1.1 100 X\r\n\r\n" + head200 + none, true, nil},
		"status 290":               {"HTTP/1.1 290 X\r\n" + none, true, nil},
		"204 with a length of 0":   {"HTTP/1.1 204 X\r\n" + none, true, nil},
		"204 with a length of 1":   {"HTTP/1.1 204 X\r\nContent-Length: 1\r\n\r\n", false, nil},
		"a line of the buffer":     {head200 + "X: " + repeat("x", 4<<10-5) + "\r\n" + none, true, nil},
		"a line one over":          {head200 + "X: " + repeat("x", 4<<10-4) + "\r\n" + none, true, nil},
	} {
		_, reusable, err := exchange(&scripted{answer: strings.NewReader(c.answer)})
		if reusable != c.reusable || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, reusable %v, want %v, %v", name, err, reusable, c.err, c.reusable)
		}
	}
}

// What was written counts as sent, be it one byte; and an answer that came before all was written is the answer.
func TestRequestThatCannotBeWritten(t *testing.T) {
	for _, c := range []struct {
		written int
		answer  string
		status  int
	}{
		{0, "", 0}, {1, "", 0}, {1, "HTTP/1.1 413 X\r\n\r\n", 413}, {0,
			"HTTP/1.1 503 X\r\nRetry-After: 7\r\n\r\n", 503},
	} {
		r, reusable, err := exchange(&scripted{answer: strings.NewReader(c.answer), written: c.written,
			err: syscall.EPIPE})
		if !errors.Is(err, syscall.EPIPE) || reusable || r.Sent != (c.written > 0) || r.Status != c.status {
			t.Errorf("%+v: %v, reusable %v, sent %v, status %d", c, err, reusable, r.Sent, r.Status)
		}
		if want := map[int]time.Duration{503: 7 * time.Second}[c.status]; r.RetryAfter != want {
			t.Errorf("%+v: Retry-After %v, want %v", c, r.RetryAfter, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	const day = MaxRetryAfter
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "86399": day - time.Second, "86400": day, "86401": day, "2147483647": day,
		"2147483648": day, "9999999999": day, "10000000000": day,
		"99999999999999999999999999": day, "0000000000000000000001": day, "-1": 0, "+1": 0, " 1": 0, "1.5": 0, "soon": 0,
		date(-time.Second): 0, date(0): 0, date(time.Second): time.Second,
		date(day - time.Second): day - time.Second, date(day): day, date(day + time.Second): day,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", in, got, want)
		}
	}
}

// The headers of an answer to a test are kept up to a number, by HTTP/2 too.
func TestKeptHeaders(t *testing.T) {
	for _, n := range []int{0, 1, maxKeptHeaders - 1, maxKeptHeaders, maxKeptHeaders + 1} {
		answer := "HTTP/1.1 103 X\r\nEarly: z\r\n\r\nHTTP/1.1 204 X\r\n" + repeat("X: y\r\n", n) + "\r\n"
		r, _, err := exchange(&scripted{answer: strings.NewReader(answer)})
		if err != nil || len(r.Headers) != min(n, maxKeptHeaders) || n > 0 && r.Headers[0] != [2]string{"X", "y"} {
			t.Errorf("of %d headers %d are kept, %v, want %d", n, len(r.Headers), err, min(n, maxKeptHeaders))
		}
		srv, s := newSecure(t, true, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			for range n {
				w.Header().Add("X", "y")
			}
			w.WriteHeader(http.StatusNoContent)
		})
		two := s.Send(t.Context(), srv.target(t, 5*time.Second).ForTest(), wireEvent())
		if two.Verdict != Success || len(two.Headers) != min(n, maxKeptHeaders) {
			t.Errorf("of %d headers by HTTP/2 %d are kept, want %d: %+v", n, len(two.Headers),
				min(n, maxKeptHeaders), two)
		}
	}
}

// The URL of a GET, with the event's parameters, has a limit of its own.
func TestLengthOfTheFinalURL(t *testing.T) {
	for _, scheme := range []string{"http://", "https://"} {
		for n := webhook.MaxGETurl - 1; n <= webhook.MaxGETurl+1; n++ {
			url := scheme + "example.com/?"
			w := &webhook.Webhook{URL: url, Method: webhook.GET}
			w.URL += repeat("x", n-len(url)-1-len(wireEvent().AppendQuery(nil)))
			tt, err := NewTarget(w)
			if err != nil {
				t.Fatal(err)
			}
			var b buffer
			r := tt.build(&b, wireEvent(), time.Now(), "")
			if got := len(tt.Preview(wireEvent(), time.Now()).URL); got != n || r.tooLong != (n > webhook.MaxGETurl) {
				t.Errorf("a final URL of %d bytes has %d, too long: %v", n, got, r.tooLong)
			}
		}
	}
}

func TestUserAgentAndKeysOfARequest(t *testing.T) {
	now := time.Now()
	for set, want := range map[string]string{"": "Quantfolio-Webhooks/1", "Own/2": "Own/2"} {
		got := make(chan http.Header, 1) // sent to by the receiver
		w := newWire(t, func(c net.Conn, req *http.Request, _, _ []byte) bool {
			got <- req.Header
			_, err := io.WriteString(c, ok204)
			return err == nil
		})
		s := New(Config{Guard: wireSender(t).cfg.Guard, UserAgent: set})
		t.Cleanup(s.Close)
		tt := w.target(t, webhook.POST, func(h *webhook.Webhook) {
			h.Rotate(webhook.NewSecret("old"), now, now.Add(-time.Second), 0)
			h.Rotate(webhook.NewSecret("new"), now, now.Add(time.Hour), time.Hour)
		})
		mustSucceed(t, s, tt)
		h := <-got
		if v := h.Get("User-Agent"); v != want {
			t.Errorf("User-Agent %q is sent as %q, want %q", set, v, want)
		}
		if parts := strings.Split(h.Get("Webhook-Signature"), " "); len(parts) != 2 || parts[0] == "" ||
			parts[1] == "" {
			t.Errorf("webhook-signature = %q, want two parted by a space", parts)
		}
		for _, line := range tt.Preview(wireEvent(), now).Headers {
			if strings.TrimSpace(line[1]) != line[1] {
				t.Errorf("%s: %q has space around", line[0], line[1])
			}
		}
	}
}

// slowNames resolves every name to this machine, not at once.
type slowNames struct{}

func (slowNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	<-time.After(20 * time.Millisecond) // what is measured
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func TestPhasesAreWithinTheAttempt(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	g, err := netguard.New(netguard.Config{Resolver: slowNames{}, Allow: loopback})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Guard: g})
	t.Cleanup(s.Close)
	w := newWire(t, say(ok204))
	r := mustSucceed(t, s, w.target(t, webhook.POST, func(h *webhook.Webhook) {
		h.URL = strings.Replace(h.URL, "127.0.0.1", "hook.example", 1)
	}))
	p := r.Timings
	if p.DNS < 20*time.Millisecond || p.Connect <= 0 || p.FirstByte <= 0 || p.DNS+p.Connect+p.FirstByte > r.Duration {
		t.Errorf("the phases are %+v of %v", p, r.Duration)
	}
}
