package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func call(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer canary-key")
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerRoutes(t *testing.T) {
	t.Parallel()
	answer := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
	}
	h := Handler(Config{API: answer("api"), Metrics: answer("metrics"),
		Ready: func(context.Context) error { return nil }})
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ready\n", "/metrics": "metrics",
		"/v1/events": "api", "/": "api"} {
		w := call(h, "GET", path)
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("GET %s = %d %q, want 200 %q", path, w.Code, w.Body, want)
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := w.Header().Get(name); got != value {
				t.Errorf("GET %s: %s = %q, want %q", path, name, got, value)
			}
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
			t.Errorf("GET %s: policy %q, want default-src 'none'", path, got)
		}
	}
	if w := call(h, "POST", "/livez"); w.Code != 405 || w.Header().Get("Content-Type") != "application/problem+json" ||
		w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /livez = %d %v, want a 405 problem", w.Code, w.Header())
	}
	if w := call(Handler(Config{API: answer("api")}), "GET", "/metrics"); w.Body.String() != "api" {
		t.Errorf("/metrics without metrics = %q, want the API's answer", w.Body)
	}
}

func TestReadyFails(t *testing.T) {
	t.Parallel()
	h := Handler(Config{API: http.NotFoundHandler(),
		Ready: func(context.Context) error { return errors.New("canary-detail") }})
	w := call(h, "GET", "/readyz")
	if w.Code != 503 || strings.Contains(w.Body.String(), "canary") ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("/readyz = %d %s %q, want a 503 problem without detail", w.Code,
			w.Header().Get("Content-Type"), w.Body)
	}
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := Handler(Config{
		API:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }),
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	call(h, "POST", "/v1/events?token=canary-query")
	if got := log.String(); strings.Contains(got, "canary") || !strings.Contains(got, `"status":418`) ||
		!strings.Contains(got, `"path":"/v1/events"`) {
		t.Errorf("log = %s, want path and status, and no secret", got)
	}
}

func TestHTTPServerEndsSlowClients(t *testing.T) {
	t.Parallel()
	s := HTTPServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.IdleTimeout <= 0 || s.WriteTimeout <= 0 ||
		s.MaxHeaderBytes <= 0 {
		t.Fatalf("HTTPServer has no limit somewhere: %+v", s)
	}
	s.ReadHeaderTimeout = 20 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow")
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the connection of a slow client = %v, want it closed", err)
	}
}

// The head of a request may have maxHeaderBytes; net/http lets pass 4 KiB more.
func TestHeadOfARequestIsBounded(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(nil)
	s.Config = HTTPServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	s.Start()
	defer s.Close()
	for n, want := range map[int]int{
		maxHeaderBytes - 1: http.StatusNoContent, maxHeaderBytes: http.StatusNoContent,
		maxHeaderBytes + 8<<10: http.StatusRequestHeaderFieldsTooLarge,
	} {
		const head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: \r\n\r\n"
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fill := strings.Repeat("x", n-len(head))
		_, _ = io.WriteString(c, strings.Replace(head, "X: ", "X: "+fill, 1))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("a head of %d bytes = %v, %v, want %d", n, resp, err, want)
		}
	}
}
