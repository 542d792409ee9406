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

// maxInterim is how many 1xx responses may come before the answer.
const maxInterim = 5

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
	n, err := c.Write(req.wire)
	r.Sent = n > 0
	if err != nil {
		// The other side may have answered before it read everything; it is its word that counts.
		h, herr := readHead(c.r, nil)
		if herr == nil {
			r.Status, r.RetryAfter = h.status, retryAfter(h.retryAfter, r.At)
		}
		return false, fmt.Errorf("write the request: %w", errors.Join(err, herr))
	}
	h, err := readHead(c.r, req.t.keep(r))
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	r.Timings.FirstByte = time.Since(began)
	r.Status, r.RetryAfter = h.status, retryAfter(h.retryAfter, r.At)
	ended := false
	if r.Response, ended = readBody(c.r, h); len(r.Response) == 0 {
		r.Response = nil
	}
	return ended && !h.close && c.r.Buffered() == 0 && !c.unread(), nil
}

// head is what matters of an answer's status line and headers.
type head struct {
	status     int
	length     int64 // -1: not said
	chunked    bool
	close      bool
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
			return h, h.check()
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
	if colon <= 0 || bytes.ContainsAny(line[:colon], " \t") {
		return fmt.Errorf("%w: bad header line", errBadResponse)
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch {
	case is(name, "content-length"):
		n, err := strconv.ParseUint(string(value), 10, 63) // no sign
		if err != nil || h.length >= 0 && h.length != int64(n) {
			return fmt.Errorf("%w: bad Content-Length", errBadResponse)
		}
		h.length = int64(n)
	case is(name, "transfer-encoding"):
		if h.chunked || !is(value, "chunked") {
			return fmt.Errorf("%w: transfer coding that is not chunked", errBadResponse)
		}
		h.chunked = true
	case is(name, "connection"):
		for part := range strings.SplitSeq(string(value), ",") {
			h.close = h.close || strings.EqualFold(strings.TrimSpace(part), "close")
		}
	case is(name, "retry-after"):
		h.retryAfter = string(value)
	}
	return nil
}

// is compares without regard to case; lower is in lower case.
func is(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}

// check holds RFC 9112, section 6.3. Both a length and chunks, or either where there is no body, smell of smuggling;
// the connection is not used again.
func (h *head) check() error {
	if h.chunked && h.length >= 0 {
		h.close, h.length = true, -1
	}
	if h.status < 200 || h.status == 204 || h.status == 304 {
		h.close = h.close || h.chunked || h.length > 0
		h.length, h.chunked = 0, false
	}
	return nil
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
