package ui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// local carries a client's requests to a handler in this process. The handler's panic becomes what it is over the
// network: a 500, or an answer that breaks off. The handler logs it.
type local struct{ api http.Handler }

// RoundTrip calls the handler. An answer of server-sent events, which has to be asked for, is given while it is written; any
// other once it is whole.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr, _ = r.Context().Value(visitorKey{}).(string)
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &answer{request: r, header: http.Header{}, begun: make(chan struct{})}
	if !strings.Contains(r.Header.Get("Accept"), eventStream) {
		l.serve(w, r)
	} else {
		go l.serve(w, r)
	}
	<-w.begun
	if w.stream != nil {
		return w.response(w.stream), nil
	}
	if w.broken != nil {
		return nil, w.broken
	}
	return w.response(io.NopCloser(&w.body)), nil
}

// serve calls the handler and ends the answer, whatever the handler does.
func (l local) serve(w *answer, r *http.Request) {
	err := errors.New("the handler ended its goroutine") // unless it returns or panics
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p != http.ErrAbortHandler && w.status == 0:
			w.WriteHeader(http.StatusInternalServerError)
			err = nil
		default:
			err = io.ErrUnexpectedEOF
		}
		w.end(err)
	}()
	l.api.ServeHTTP(w, r)
	err = nil
}

// visitorKey is the key of the visitor's address in a context: whose key is good from some networks only is judged by it.
type visitorKey struct{}

func withVisitor(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), visitorKey{}, r.RemoteAddr))
}

const eventStream = "text/event-stream"

// answer is the http.ResponseWriter of a local call.
type answer struct {
	request *http.Request
	header  http.Header
	status  int
	body    bytes.Buffer
	stream  io.ReadCloser // server-sent events
	events  *io.PipeWriter
	broken  error         // why an answer that is no stream broke off; read it after begun
	begun   chan struct{} // closed by WriteHeader when the answer is a stream, and else by end
}

// Header is the answer's header.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader sets the status.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if a.header.Get("Content-Type") == eventStream {
		a.stream, a.events = io.Pipe()
		close(a.begun)
	}
}

// Write adds to the body.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.events != nil {
		return a.events.Write(b)
	}
	return a.body.Write(b)
}

// Flush does nothing: what is written to a stream is there at once.
func (a *answer) Flush() {}

// end finishes the answer; err is why it breaks off.
func (a *answer) end(err error) {
	if err == nil {
		a.WriteHeader(http.StatusOK)
	}
	if a.events != nil {
		_ = a.events.CloseWithError(err) // never fails
		return
	}
	a.broken = err
	close(a.begun)
}

func (a *answer) response(body io.ReadCloser) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: body, ContentLength: -1, Request: a.request,
	}
}
