package ui

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// local carries a client's requests to a handler in this process.
type local struct{ api http.Handler }

// RoundTrip calls the handler. An answer of server-sent events, which has to be asked for, is given while it is written; any
// other once it is whole.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &answer{request: r, header: http.Header{}, begun: make(chan struct{})}
	if !strings.Contains(r.Header.Get("Accept"), eventStream) {
		l.api.ServeHTTP(w, r)
		w.end(nil)
		return w.response(io.NopCloser(&w.body)), nil
	}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				w.end(fmt.Errorf("panic: %v", p))
			}
		}()
		l.api.ServeHTTP(w, r)
		w.end(nil)
	}()
	<-w.begun
	if w.stream != nil {
		return w.response(w.stream), nil
	}
	return w.response(io.NopCloser(&w.body)), nil
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

// end finishes the answer; err is why a stream breaks off.
func (a *answer) end(err error) {
	if a.WriteHeader(http.StatusOK); a.events != nil {
		_ = a.events.CloseWithError(err) // never fails
		return
	}
	close(a.begun)
}

func (a *answer) response(body io.ReadCloser) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: body, ContentLength: -1, Request: a.request,
	}
}
