package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quantfolio/qhook/internal/inert"
	"github.com/quantfolio/qhook/signature"
)

// maxReceived bounds the body that our own receivers read.
const maxReceived = 1 << 20

// received is one webhook request as our receivers saw it.
type received struct {
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

// receive reads a request and verifies it when there is a key.
func receive(w http.ResponseWriter, req *http.Request, keys ...string) (received, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		return received{}, err
	}
	v := received{At: time.Now(), Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Header: req.Header, Body: body}
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

// verdict says in a few words what the check came to.
func (v *received) verdict() string {
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

// write prints the request in full: line, headers of interest (and those named in more), query or body.
func (v *received) write(w io.Writer, more ...string) {
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
	_, _ = w.Write(forTerminal(b.Bytes()))
}

// forTerminal is what a stranger sent, without what a terminal would obey.
func forTerminal(b []byte) []byte {
	return inert.Text(bytes.ReplaceAll(b, []byte("\r"), []byte("␍")))
}

// lockedWriter lets several goroutines print whole blocks.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes p in one piece.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
