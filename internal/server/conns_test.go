package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Connections over the bound wait; when most places are taken, connections end with their answers.
func TestConnsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 4
	conns := NewConns(most)
	s := HTTPServer(Handler(Config{API: http.NotFoundHandler(), Closing: conns.Crowded}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}) // closed when the server has ended
	go func() { defer close(ended); _ = conns.Serve(s, l, nil) }()
	defer func() { s.Close(); <-ended }()
	ask := func(c net.Conn) *http.Response {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var open []net.Conn
	for range most + 1 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	for limit := time.Now().Add(5 * time.Second); conns.open.Load() < most && time.Now().Before(limit); {
		runtime.Gosched()
	}
	if n := conns.open.Load(); n != most {
		t.Fatalf("%d connections are taken in, want %d", n, most)
	}
	if r := ask(open[0]); r.StatusCode != http.StatusOK || !r.Close {
		t.Errorf("the first connection got %d, close %v, want 200 and its end", r.StatusCode, r.Close)
	}
	if r := ask(open[most]); r.StatusCode != http.StatusOK { // in its place
		t.Errorf("the connection that waited got %d, want 200", r.StatusCode)
	}
}

func TestCrowded(t *testing.T) {
	t.Parallel()
	c := NewConns(8)
	for n, want := range map[int64]bool{0: false, 6: false, 7: true, 8: true} {
		c.open.Store(n)
		if got := c.Crowded(); got != want {
			t.Errorf("Crowded with %d of 8 = %v, want %v", n, got, want)
		}
	}
}

// While a node starts only health answers, and while it ends connections end.
func TestStartingAndClosing(t *testing.T) {
	t.Parallel()
	var serving, closing atomic.Bool
	h := Handler(Config{
		API: http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		}), Serving: serving.Load, Closing: closing.Load,
	})
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/v1/events": 503, "/": 503} {
		w := call(h, "GET", path)
		if w.Code != want || (want == 503) != (w.Header().Get("Retry-After") == "1") ||
			w.Header().Get("Connection") != "" {
			t.Errorf("GET %s while starting = %d %v, want %d", path, w.Code, w.Header(), want)
		}
	}
	serving.Store(true)
	closing.Store(true)
	for _, path := range []string{"/livez", "/v1/events"} {
		if w := call(h, "GET", path); w.Header().Get("Connection") != "close" || w.Code >= 300 {
			t.Errorf("GET %s while closing = %d %v, want a success that ends the connection", path, w.Code, w.Header())
		}
	}
}

// Health tells the truth within a second, whatever hangs behind it.
func TestReadyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		back := make(chan struct{}) // closed when what hangs answers again
		h := Handler(Config{API: http.NotFoundHandler(), Ready: func(context.Context) error {
			if asked.Add(1) == 1 {
				<-back // and does not heed its context
			}
			return nil
		}})
		answers := make(chan *httptest.ResponseRecorder, 10) // sent to by each request
		began := time.Now()
		for range 10 {
			go func() { answers <- call(h, "GET", "/readyz") }()
		}
		for range 10 {
			if w := <-answers; w.Code != http.StatusServiceUnavailable {
				t.Errorf("/readyz while it hangs = %d, want 503", w.Code)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("/readyz took %v, want at most a second", took)
		}
		if w := call(h, "GET", "/readyz"); w.Code != http.StatusServiceUnavailable || asked.Load() != 1 {
			t.Errorf("/readyz again = %d after %d questions, want 503 after 1: they must not pile up", w.Code,
				asked.Load())
		}
		close(back)
		synctest.Wait()
		if w := call(h, "GET", "/readyz"); w.Code != http.StatusOK {
			t.Errorf("/readyz later = %d, want 200", w.Code)
		}
	})
}

func TestReadyPanics(t *testing.T) {
	t.Parallel()
	p := &probe{ask: func(context.Context) error { panic("detail") }}
	if err := p.ready(); err == nil {
		t.Error("ready of what panics = nil, want an error")
	}
	p.ask = func(context.Context) error { return errors.New("away") }
	if err := p.ready(); err == nil || err.Error() != "away" {
		t.Errorf("ready = %v, want away", err)
	}
}
