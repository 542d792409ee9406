package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzhttp"
)

// lines is a log that tests read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestPanics lets handlers panic at every moment of an answer, over real connections: it is a 500, or the connection is
// cut; either way the log has it, and the server goes on.
func TestPanics(t *testing.T) {
	t.Parallel()
	none := map[string]map[string]int{}["no such map"] // nil; the compiler does not know
	part := func(w http.ResponseWriter, size int) { _, _ = io.WriteString(w, strings.Repeat("x", size)) }
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		whole   bool // a 500; else the answer is cut
		silent  bool // not in the log
	}{
		"at once": {func(http.ResponseWriter, *http.Request) { panic("detail") }, true, false},
		"nil map": {func(http.ResponseWriter, *http.Request) { none["detail"]++ }, true, false},
		"with headers set": {func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Set-Cookie"} {
				w.Header().Set(name, "7")
			}
			panic("detail")
		}, true, false},
		"after early hints": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); panic("detail") },
			true,
			false},
		"after the header": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic("detail") },
			false,
			false},
		"after a flush": {func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			panic("detail")
		}, false, false},
		"after a small part": {func(w http.ResponseWriter, _ *http.Request) { part(w, 10); panic("detail") },
			false, false},
		"after a large part": {func(w http.ResponseWriter, _ *http.Request) { part(w, 100<<10); panic("detail") },
			false,
			false},
		"to abort": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, true},
		"to abort after some": {func(w http.ResponseWriter,
			_ *http.Request) {
			part(w, 10)
			panic(http.ErrAbortHandler)
		},
			false, true},
	} {
		for _, compressed := range []bool{false, true} {
			var log lines
			var h http.Handler = tt.handler
			if compressed {
				h = gzhttp.GzipHandler(h)
			}
			s := httptest.NewServer(Handler(Config{API: h, Logger: slog.New(slog.NewJSONHandler(&log, nil))}))
			resp, err := s.Client().Get(s.URL + "/v1/x")
			var b []byte
			if err == nil {
				b, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			whole := tt.whole || compressed && name == "after a flush" // which is held back, since nothing was written
			var p struct{ Status int }
			switch {
			case !whole && err == nil:
				t.Errorf("%s (compressed %v): the answer %s %q is whole, want it cut", name, compressed, resp.Status, b)
			case whole && (err != nil || json.Unmarshal(b, &p) != nil || p.Status != 500 || resp.StatusCode != 500 ||
				bytes.Contains(b, []byte(`"detail":"detail"`)) ||
				resp.Header.Get("Etag")+resp.Header.Get("Set-Cookie") != ""):
				t.Errorf("%s (compressed %v): %v %q, want a 500 problem with a fixed sentence", name, compressed,
					err, b)
			}
			if got := strings.Contains(log.String(), `"msg":"panic"`); got == tt.silent {
				t.Errorf("%s (compressed %v): the log is %q", name, compressed, log.String())
			}
			if resp, err := s.Client().Get(s.URL + "/livez"); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s (compressed %v): the server is gone: %v", name, compressed, err)
			}
			s.Close()
		}
	}
}

// TestFlushReaches: what is flushed arrives while the handler goes on, through whatever wraps it.
func TestFlushReaches(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"bare":       func(h http.Handler) http.Handler { return h },
		"compressed": func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) },
	} {
		end := make(chan struct{}) // closed by the test
		h := wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": connected\n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("%s: Flush = %v", name, err)
			}
			<-end
		}))
		s := httptest.NewServer(Handler(Config{API: h, Dashboard: h}))
		resp, err := s.Client().Get(s.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 13)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != ": connected\n\n" {
			t.Errorf("%s: %q, %v before the handler ends", name, b, err)
		}
		close(end)
		resp.Body.Close()
		s.Close()
	}
}
