package attempt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"
)

const (
	maxInterim  = 20          // 1xx responses before the answer
	writeInline = 32 << 10    // bytes of a request that a socket takes without the other side reading
	bodyLimit   = time.Second // for the rest of an answer's body, which is for the record only
)

// roundTrip writes the request and reads the answer. reusable: the connection is at the end of the answer.
func (c *conn) roundTrip(ctx context.Context, req *request, deadline time.Time, r *Result) (reusable bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return false, err
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer func() { reusable = stop() && reusable }()
	}
	began := time.Now()
	c.noting, c.noted = true, c.noted[:0]
	written := c.send(req.wire)
	h, err := readHead(c.r, req.t.keep(r))
	c.noting = false
	n, werr := written()
	r.Sent = n > 0
	if err != nil {
		if r.Response = bytes.Clone(c.noted); werr != nil && !errors.Is(werr, errUnread) {
			return false, fmt.Errorf("write the request: %w", errors.Join(werr, err))
		}
		return false, fmt.Errorf("read the answer: %w", err)
	}
	r.Timings.FirstByte = time.Since(began)
	r.Status, r.RetryAfter = h.status, retryAfter(h.retryAfter, r.At)
	c.keep = h.keep
	if h.length < 0 || int64(c.r.Buffered()) < h.length {
		_ = c.SetReadDeadline(earlier(deadline, time.Now().Add(bodyLimit)))
		if ctx.Err() != nil { // it may have ended before
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
	}
	ended := false
	if r.Response, ended = readBody(c.r, h); len(r.Response) == 0 {
		r.Response = nil
	}
	if werr != nil { // the other side answered before it read everything; it is its word that counts
		return false, fmt.Errorf("write the request: %w", werr)
	}
	return ended && !h.close && c.r.Buffered() == 0 && !c.unread(), nil
}

// errUnread says that a request was answered, or the answer failed, before the other side had read all of it.
var errUnread = errors.New("not all of the request was read")

// send writes the request. A large one is written beside the reading of the answer, which may come before the other
// side has read everything, on a connection that stays open. The function that it returns ends what is left of it.
func (c *conn) send(wire []byte) (written func() (int, error)) {
	if len(wire) <= writeInline {
		n, err := c.Write(wire)
		return func() (int, error) { return n, err }
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := c.Write(wire)
		done <- result{n, err}
	}()
	return func() (int, error) {
		select {
		case x := <-done:
			return x.n, x.err
		default:
		}
		_ = c.SetWriteDeadline(time.Unix(1, 0))
		x := <-done
		if x.err != nil {
			x.err = errUnread
		}
		return x.n, x.err
	}
}

// head is what matters of an answer's status line and headers.
type head struct {
	status     int
	length     int64 // -1: not said
	chunked    bool
	coded      bool // there is a Transfer-Encoding
	close      bool
	keep       time.Duration // see conn
	retryAfter string
}

// readHead reads RFC 9112, sections 4 and 5, passing over interim responses. It takes no more than maxHead bytes. The
// header lines are put into keep, unless it is nil.
func readHead(r *bufio.Reader, keep *[][2]string) (head, error) {
	left := maxHead
	for range maxInterim + 1 {
		h, err := readOneHead(r, &left, keep)
		if err != nil || h.status >= 200 {
			return h, err
		}
		if h.status == 101 {
			return head{}, fmt.Errorf("%w: it switches protocols", errBadResponse)
		}
	}
	return head{}, fmt.Errorf("%w: too many interim responses", errBadResponse)
}

func readOneHead(r *bufio.Reader, left *int, keep *[][2]string) (head, error) {
	h := head{length: -1}
	if keep != nil {
		*keep = nil // of an interim response
	}
	line, err := readLine(r, left)
	if err != nil {
		return h, err
	}
	// HTTP/1.x SP 3DIGIT [SP reason]
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return h, fmt.Errorf("%w: bad status line", errBadResponse)
	}
	h.close = line[7] == '0'
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			return h, fmt.Errorf("%w: bad status code", errBadResponse)
		}
		h.status = h.status*10 + int(d-'0')
	}
	if h.status < 100 || h.status > 599 {
		return h, fmt.Errorf("%w: bad status code", errBadResponse)
	}
	for {
		line, err := readLine(r, left)
		if err != nil {
			return h, err
		}
		if len(line) == 0 {
			h.check()
			return h, nil
		}
		if line, err = unfold(r, line, left); err != nil {
			return h, err
		}
		if err := h.header(line); err != nil {
			return h, err
		}
		if keep != nil && len(*keep) < maxKeptHeaders {
			name, value, _ := strings.Cut(string(line), ":")
			*keep = append(*keep, [2]string{name, strings.Trim(value, " \t")})
		}
	}
}

// unfold adds to a header's line those that go on with it: obs-fold of RFC 9112, section 5.2, each a space.
func unfold(r *bufio.Reader, line []byte, left *int) ([]byte, error) {
	for own := false; ; {
		if !own && r.Buffered() == 0 {
			line, own = bytes.Clone(line), true // the buffer is filled anew
		}
		next, err := r.Peek(1)
		if err != nil || next[0] != ' ' && next[0] != '\t' {
			return line, nil // what is wrong is told by the next read
		}
		if !own {
			line, own = bytes.Clone(line), true
		}
		more, err := readLine(r, left)
		if err != nil {
			return nil, err
		}
		line = append(append(line, ' '), bytes.Trim(more, " \t")...)
	}
}

// readLine gives a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader, left *int) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	*left -= len(line)
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull && *left >= 0 {
			var more []byte
			more, err = r.ReadSlice('\n')
			line = append(line, more...)
			*left -= len(more)
		}
	}
	if *left < 0 {
		return nil, fmt.Errorf("the answer's head: %w", errTooLarge)
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, fmt.Errorf("%w: CR or NUL in a line", errBadResponse)
	}
	return line, nil
}

func (h *head) header(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	name := bytes.TrimRight(line[:max(colon, 0)], " \t")
	if len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return fmt.Errorf("%w: bad header line", errBadResponse)
	}
	h.close = h.close || len(name) < colon // RFC 9112, section 5.1: nobody may send it
	value := bytes.Trim(line[colon+1:], " \t")
	switch {
	case is(name, "content-length"):
		for part := range bytes.SplitSeq(value, []byte(",")) { // RFC 9112, section 6.3, item 5: the same several times
			n, err := strconv.ParseUint(string(bytes.Trim(part, " \t")), 10, 63) // no sign
			if err != nil || h.length >= 0 && h.length != int64(n) {
				return fmt.Errorf("%w: bad Content-Length", errBadResponse)
			}
			h.length = int64(n)
		}
	case is(name, "transfer-encoding"):
		// RFC 9112, section 6.3, item 4: by chunks if that is the last coding, else until the connection ends.
		last := value[bytes.LastIndexByte(value, ',')+1:]
		h.close = h.close || h.coded || !is(value, "chunked")
		h.chunked = is(bytes.Trim(last, " \t"), "chunked")
		h.coded = true
	case is(name, "connection"):
		for part := range strings.SplitSeq(string(value), ",") {
			h.close = h.close || strings.EqualFold(strings.TrimSpace(part), "close")
		}
	case is(name, "keep-alive"):
		h.keepAlive(string(value))
	case is(name, "retry-after"):
		h.retryAfter = string(value)
	}
	return nil
}

// keepMargin is how much earlier than the other side a connection is given up: its time began before ours, and a
// request is on its way for a while.
const keepMargin = time.Second

// keepAlive reads the timeout of RFC 2068, section 19.7.1.1, which is in use since; seconds.
func (h *head) keepAlive(value string) {
	for part := range strings.SplitSeq(value, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		if n, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 31); err == nil {
			h.keep = time.Duration(n)*time.Second - keepMargin
			h.close = h.close || h.keep <= 0
		}
	}
}

// is compares without regard to case; lower is in lower case.
func is(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}

// check holds RFC 9112, section 6.3. Both a length and chunks, or either where there is no body, smell of smuggling;
// the connection is not used again.
func (h *head) check() {
	if h.coded && h.length >= 0 {
		h.close, h.length = true, -1
	}
	if h.status < 200 || h.status == 204 || h.status == 304 {
		h.close = h.close || h.coded || h.length > 0
		h.length, h.chunked = 0, false
	}
}

// readBody keeps the start of the body and drains a bounded rest. ended: the body was read to its end, and the end is
// known. A body that breaks off does not matter: the answer is its status.
func readBody(r *bufio.Reader, h head) (kept []byte, ended bool) {
	var body io.Reader = r
	switch {
	case h.chunked:
		body = httputil.NewChunkedReader(r)
	case h.length == 0:
		return nil, true
	case h.length > 0:
		body = io.LimitReader(r, h.length)
	}
	kept, err := readAtMost(body, MaxKept, h.length)
	if err == nil { // there may be more
		_, err = io.CopyN(io.Discard, body, maxDrain-MaxKept)
	}
	switch {
	case h.chunked:
		return kept, err == io.EOF && readTrailers(r)
	case h.length > 0:
		return kept, body.(*io.LimitedReader).N == 0
	}
	return kept, false // it ends with the connection
}

// readAtMost reads up to limit bytes; io.EOF: that was all. What has a known length takes one allocation.
func readAtMost(r io.Reader, limit int, length int64) ([]byte, error) {
	size := 512
	if length > 0 {
		size = int(min(length, int64(limit)))
	}
	b := make([]byte, 0, size)
	for len(b) < limit {
		if len(b) == cap(b) {
			if length > 0 && int64(len(b)) == length {
				return b, io.EOF
			}
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), limit)])
		b = b[:len(b)+n]
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// readTrailers passes over what follows the last chunk.
func readTrailers(r *bufio.Reader) bool {
	left := 4 << 10
	for {
		line, err := readLine(r, &left)
		if err != nil {
			return false
		}
		if len(line) == 0 {
			return true
		}
	}
}
