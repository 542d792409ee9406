// Package server puts the API, health and metrics on one handler, with the middleware in one visible order, and sets
// the time limits of the listener. It knows no call of the API and never logs a query string, a header or a body.
// Start at Handler.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// Time and size limits of a connection.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second // headers and body
	writeTimeout      = 3 * time.Minute  // longer than the longest test send
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Config is what the handler is made of. API is required; the rest works as zero.
type Config struct {
	API http.Handler
	// Dashboard answers what the others do not; nil: there is none.
	Dashboard http.Handler
	Ready     func(ctx context.Context) error // asked by /readyz; it may hang; nil: always ready
	// Serving tells whether the API and the dashboard answer yet; nil: always.
	Serving func() bool
	// Closing tells whether connections end with their answers; nil: never.
	Closing func() bool
	Metrics http.Handler // nil: no /metrics here, for example since it has its own listener
	Host    string       // as in the Host header, that requests must be for; empty: any
	TLS     bool         // browsers come over TLS, also where it ends before this server
	Logger  *slog.Logger
}

// Handler answers everything that the product answers. From the outside in: access log, panics, connections, headers,
// host, routes.
func Handler(cfg Config) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &probe{ask: cfg.Ready}
	live := func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") }
	own := map[string]http.Handler{
		"/livez":  http.HandlerFunc(live),
		"/readyz": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ready(cfg, p, w, r) }),
	}
	if cfg.Metrics != nil {
		own["/metrics"] = cfg.Metrics
	}
	routes := func(w http.ResponseWriter, r *http.Request) {
		h, ok := own[r.URL.Path]
		switch {
		case !ok && cfg.Serving != nil && !cfg.Serving():
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusServiceUnavailable, "The server is starting. Try again in a moment.")
		case !ok && (cfg.Dashboard == nil || isAPI(r.URL.Path)):
			cfg.API.ServeHTTP(w, r)
		case !ok:
			cfg.Dashboard.ServeHTTP(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "This path can only be read.")
		default:
			h.ServeHTTP(w, r)
		}
	}
	inner := strict(cfg.TLS, secured(forHost(cfg.Host, http.HandlerFunc(routes))))
	return logged(cfg.Logger, Recovered(cfg.Logger, closing(cfg.Closing, inner)))
}

// isAPI tells whether a path is the API's.
func isAPI(path string) bool {
	return path == "/v1" || strings.HasPrefix(path, "/v1/") || path == "/docs" || path == "/openapi.json"
}

// HTTPServer is a server with limits for every phase of a request, so that slow clients hold nothing for long.
func HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

func ready(cfg Config, p *probe, w http.ResponseWriter, r *http.Request) {
	if cfg.Ready != nil {
		if err := p.ready(); err != nil {
			cfg.Logger.WarnContext(r.Context(), "not ready", "error", err)
			problem(w, http.StatusServiceUnavailable, "The server is not ready.")
			return
		}
	}
	text(w, http.StatusOK, "ready\n")
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s))
}

// problem writes an RFC 9457 problem document; detail needs no escaping.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	b := []byte(`{"title":"` + http.StatusText(status) + `","status":`)
	b = append(b, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
	_, _ = w.Write(append(b, `,"detail":"`+detail+`"}`+"\n"...))
}

// The values of the security headers; shared between answers, nobody writes to them.
var (
	nosniff  = []string{"nosniff"}
	noStore  = []string{"no-store"}
	policy   = []string{"default-src 'none'; frame-ancestors 'none'"} // /docs sets its own, with its style
	referrer = []string{"no-referrer"}
)

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Cache-Control"] = noStore
		h["Content-Security-Policy"] = policy
		h["Referrer-Policy"] = referrer
		next.ServeHTTP(w, r)
	})
}

// closeAfter is the value of the header that ends a connection with its answer.
var closeAfter = []string{"close"}

func closing(is func() bool, next http.Handler) http.Handler {
	if is == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if is() {
			w.Header()["Connection"] = closeAfter
		}
		next.ServeHTTP(w, r)
	})
}

// Recovered turns a panic of next into a 500 with a fixed sentence; what it was is in the log. An answer that has begun
// is broken off: nobody takes it for whole. http.ErrAbortHandler is passed on.
func Recovered(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counted{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			log.ErrorContext(r.Context(), "panic", "method", r.Method, "path", r.URL.Path, "panic", p,
				"stack", string(debug.Stack()))
			if c.status != 0 {
				panic(http.ErrAbortHandler)
			}
			for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Set-Cookie"} {
				w.Header().Del(name)
			}
			problem(w, http.StatusInternalServerError, "Something went wrong here. It is in the server's log.")
		}()
		next.ServeHTTP(c, r)
	})
}

// logged writes a line per request at debug: method, path, status, size and time; never what could be a secret.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		begin, c := time.Now(), &counted{ResponseWriter: w}
		defer func() {
			log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("method", r.Method),
				slog.String("path", r.URL.Path),
				slog.Int("status", c.status), slog.Int64("bytes", c.bytes), slog.Duration("duration",
					time.Since(begin)))
		}()
		next.ServeHTTP(c, r)
	})
}

// counted remembers what was answered.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the status, if it is the answer's.
func (c *counted) WriteHeader(status int) {
	if c.status == 0 && status >= http.StatusOK {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write notes the size.
func (c *counted) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

// Flush is FlushError for those who know only http.Flusher, as what compresses the pages does.
func (c *counted) Flush() { _ = c.FlushError() }

// FlushError sends what was written, which begins the answer.
func (c *counted) FlushError() error {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
