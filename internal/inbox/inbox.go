// Package inbox is what our own receivers, of listen and of the demo, make of a webhook request: read within a bound,
// verified, and shown without what a terminal would obey. It never answers a request.
package inbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/inert"
	"github.com/quantfolio/qhook/signature"
)

// MaxBody bounds the body that our own receivers read.
const MaxBody = 1 << 20

// Request is one webhook request as our receivers saw it.
type Request struct {
	At        time.Time
	Method    string
	Path      string
	Query     string
	Header    http.Header
	Body      []byte
	EventID   string
	EventType string
	Signed    bool  // it carries a signature
	Verify    error // why the signature is not right; nil when right or not checked
	Checked   bool
}

// Receive reads a request and verifies it when there is a key.
func Receive(w http.ResponseWriter, req *http.Request, keys ...string) (Request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if err != nil {
		return Request{}, err
	}
	v := Request{At: time.Now(), Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Header: req.Header, Body: body}
	v.Signed = req.Header.Get(signature.HeaderQuantfolio) != "" || req.Header.Get(signature.HeaderSignature) != ""
	if len(keys) > 0 && keys[0] != "" {
		v.Checked = true
		v.Verify = signature.VerifyRequest(req, body, keys...)
	}
	var e struct{ ID, Type string }
	if req.Method == http.MethodGet {
		q := req.URL.Query()
		e.ID, e.Type = q.Get("id"), q.Get("type")
	} else if json.Unmarshal(body, &e) != nil {
		e.Type = "(not JSON)"
	}
	v.EventID, v.EventType = e.ID, cmp.Or(e.Type, "(no type)")
	return v, nil
}

// Verdict says in a few words what the check came to.
func (v *Request) Verdict() string {
	switch {
	case v.Checked && v.Verify == nil:
		return "verified ✓"
	case v.Checked:
		return "NOT VERIFIED ✗ (" + v.Verify.Error() + ")"
	case v.Signed:
		return "signed, not checked (no --signing-key)"
	default:
		return "not signed"
	}
}

// shownHeaders are printed when they are there; the values of the first one only in part.
var shownHeaders = []string{"Authorization", "Content-Type", "User-Agent", signature.HeaderQuantfolio,
	signature.HeaderID, signature.HeaderTimestamp, signature.HeaderSignature}

// Show prints the request in full: line, headers of interest (and those named in more), query or body.
func (v *Request) Show(w io.Writer, more ...string) {
	var b bytes.Buffer
	b.WriteString("    " + v.Method + " " + v.Path + "\n")
	for _, name := range append(append([]string{}, shownHeaders...), more...) {
		if value := v.Header.Get(name); value != "" {
			if strings.EqualFold(name, "Authorization") {
				value, _, _ = strings.Cut(value, " ")
				value += " …"
			}
			b.WriteString("    " + name + ": " + value + "\n")
		}
	}
	if v.Query != "" {
		b.WriteString("    ?" + strings.ReplaceAll(v.Query, "&", "\n    &") + "\n")
	}
	if len(v.Body) > 0 {
		b.WriteString("    ")
		if json.Indent(&b, v.Body, "    ", "  ") != nil {
			b.WriteString(strings.ToValidUTF8(string(v.Body[:min(len(v.Body), 4096)]), "?"))
		}
		b.WriteString("\n")
	}
	_, _ = w.Write(ForTerminal(b.Bytes()))
}

// ForTerminal is what a stranger sent, without what a terminal would obey.
func ForTerminal(b []byte) []byte {
	return inert.Text(bytes.ReplaceAll(b, []byte("\r"), []byte("␍")))
}

// LockedWriter lets several goroutines print whole blocks.
type LockedWriter struct {
	W  io.Writer
	mu sync.Mutex
}

// Write writes p in one piece.
func (l *LockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.W.Write(p)
}

// ServeUntil serves on ln until ctx ends, then lets what is in flight finish for up to a second.
func ServeUntil(ctx context.Context, srv *http.Server, ln net.Listener) error {
	ended := make(chan error, 1) // sent once by the goroutine below, never closed
	go func() { ended <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close()
		}
		err = <-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
