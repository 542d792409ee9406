package attempt

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// budget is what frames cost that come in.
type budget struct {
	frames int
	blocks int // HEADERS frames: each may have thousands of fields in a few bytes
	bytes  int // of TLS records, and recordCost for each
}

// allowance is what each request may cost beside what came of the ones before. More than an answer needs: a head and
// its interim ones and trailers, a body that is drained and as much again that was under way, and the other side's
// settings, windows and pings.
var allowance = budget{frames: 1000, blocks: maxInterim + 2, bytes: maxHead + 2*maxDrain + 64<<10}

const (
	recordCost = 128      // of one TLS record or a part of it that is read at a time
	frameHead  = 9        // RFC 9113, section 4.1
	maxFrame   = 16 << 10 // of its payload; this side asks for no larger ones
	// maxBlock is the most of a header block as it comes: HPACK takes hardly more than HTTP/1.1 for the same fields.
	maxBlock = maxHead + 1<<10
)

var errFlood = fmt.Errorf("%w: more frames than an answer can need", errBadResponse)

// ioError is an error of the connection itself, not of what came on it.
type ioError struct{ error }

func (e ioError) Unwrap() error { return e.error }

// frames is the connection below HTTP/2. It follows the frames that come in, so that what they cost is bounded, and
// what the other side asks for is known. Its Read gives at most one frame at a time.
type frames struct {
	*tls.Conn
	in       *bufio.Reader
	required func()       // called when the other side requires HTTP/1.1
	heard    atomic.Int64 // when anything came last, since epoch

	// Of the goroutine that reads:
	rest  int  // bytes of this frame that Read has not given yet
	block int  // bytes of this header block
	open  bool // the header block goes on

	mu      sync.Mutex
	left    budget
	count   int // frames that came
	running int // requests
	begun   int
	werr    error // the first of Write
	rerr    error // that Read ended with
	goAway  bool  // GOAWAY came
	came    bool  // the other side's settings did
	settled func()
	inForce bool // its settings are
}

// newFrames reads a connection by a reader that is not used for anything else. Its first request has begun.
func newFrames(c *tls.Conn, in *bufio.Reader, required func()) *frames {
	f := &frames{Conn: c, in: in, required: required}
	in.Reset(records{f})
	f.begin()
	return f
}

// begin adds what one more request may cost. No more is saved from earlier ones than one of them could have used.
func (f *frames) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	f.running++
	add := func(left *int, more int) {
		*left = min(*left+more, (f.running+1)*more)
	}
	add(&f.left.frames, allowance.frames)
	add(&f.left.blocks, allowance.blocks)
	add(&f.left.bytes, allowance.bytes)
}

func (f *frames) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
}

// reused tells whether more than one request has begun.
func (f *frames) reused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun > 1
}

// seen is how many frames came.
func (f *frames) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *frames) charge(c budget) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count += c.frames
	f.left.frames -= c.frames
	f.left.blocks -= c.blocks
	f.left.bytes -= c.bytes
	if min(f.left.frames, f.left.blocks, f.left.bytes) < 0 {
		return errFlood
	}
	return nil
}

// epoch is what times in atomics count from, so that they are monotonic.
var epoch = time.Now()

// records reads what TLS gives, and counts it.
type records struct{ f *frames }

func (r records) Read(p []byte) (int, error) {
	n, err := r.f.Conn.Read(p)
	if n > 0 {
		r.f.heard.Store(int64(time.Since(epoch)))
	}
	if err := r.f.charge(budget{bytes: n + recordCost}); err != nil {
		return 0, err
	}
	return n, err
}

func (f *frames) Read(p []byte) (n int, err error) {
	if f.rest == 0 {
		err = f.next()
	}
	if err == nil {
		n, err = f.in.Read(p[:min(len(p), f.rest)])
		f.rest -= n
	}
	if err != nil {
		err = f.broken(err)
	}
	return n, err
}

// next finds the next frame that is for HTTP/2, and what of it is for this side to know.
func (f *frames) next() error {
	f.settle()
	for {
		head, err := f.in.Peek(frameHead)
		if err != nil {
			return err
		}
		size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		kind, flags := http2.FrameType(head[3]), http2.Flags(head[4])
		cost := budget{frames: 1}
		switch {
		case size > maxFrame: // net/http says so
		case kind == http2.FrameHeaders || kind == http2.FrameContinuation:
			if kind == http2.FrameHeaders {
				f.block, cost.blocks = 0, 1
			}
			f.block += size
			f.open = !flags.Has(http2.FlagHeadersEndHeaders)
			if f.block > maxBlock {
				return fmt.Errorf("the answer's head: %w", errTooLarge)
			}
		case kind == http2.FrameSettings && !flags.Has(http2.FlagSettingsAck):
			err = f.settings(size)
		case kind == http2.FrameRSTStream && size == 4:
			err = f.ended(0)
		case kind == http2.FrameGoAway && size >= 8:
			f.mu.Lock()
			f.goAway = true
			f.mu.Unlock()
			err = f.ended(4)
		case f.ignored(kind, size, head):
			if err = f.charge(cost); err == nil {
				_, err = f.in.Discard(frameHead + size)
			}
			if err != nil {
				return err
			}
			continue
		}
		f.rest = frameHead + size
		if err == nil {
			err = f.charge(cost)
		}
		return err
	}
}

// ignored tells whether a frame has no meaning here: an unknown one, or a valid PRIORITY (RFC 9113, sections 5.5 and
// 5.3.2). net/http would log each. Where none may be it is net/http that says so.
func (f *frames) ignored(kind http2.FrameType, size int, head []byte) bool {
	stream := binary.BigEndian.Uint32(head[5:]) &^ (1 << 31)
	return (kind > http2.FrameContinuation || kind == http2.FramePriority && size == 5 && stream != 0) &&
		!f.open && f.haveSettings()
}

// settings takes SETTINGS_MAX_HEADER_LIST_SIZE away from the other side's (RFC 9113, section 6.5.2): it is advice, and
// net/http would not send the request, which the other side can still refuse.
func (f *frames) settings(size int) error {
	frame, err := f.in.Peek(min(frameHead+size, f.in.Size()))
	if err != nil {
		return err
	}
	for i := frameHead; i+6 <= len(frame); i += 6 {
		if binary.BigEndian.Uint16(frame[i:]) == uint16(http2.SettingMaxHeaderListSize) {
			frame[i] = 0xff // unknown, so it is ignored
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = true
	return nil
}

// ended looks at the error code of a frame, at an offset in its payload. TLS that is not good enough for HTTP/2 is for
// HTTP/1.1 (RFC 9113, sections 7 and 9.2).
func (f *frames) ended(at int) error {
	frame, err := f.in.Peek(frameHead + at + 4)
	if err != nil {
		return err
	}
	switch http2.ErrCode(binary.BigEndian.Uint32(frame[frameHead+at:])) {
	case http2.ErrCodeHTTP11Required, http2.ErrCodeInadequateSecurity:
		f.required()
	}
	return nil
}

// haveSettings tells whether the other side's settings came.
func (f *frames) haveSettings() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.came
}

// settle is called when all frames were worked off that Read gave.
func (f *frames) settle() {
	f.mu.Lock()
	call := f.settled
	if !f.came || f.inForce {
		call = nil
	}
	f.inForce = f.came
	f.mu.Unlock()
	if call != nil {
		call()
	}
}

// whenSettled has call called once the other side's settings are in force.
func (f *frames) whenSettled(call func()) {
	f.mu.Lock()
	now := f.inForce
	f.settled = call
	f.mu.Unlock()
	if now {
		call()
	}
}

// Write never fails: what the other side said before it went still counts, and it is Read that tells when there is no
// more. It may fail where the other side closed after an answer to half a request.
func (f *frames) Write(p []byte) (int, error) {
	if _, err := f.Conn.Write(p); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.werr == nil {
			f.werr = err
			_ = f.SetReadDeadline(time.Now().Add(time.Second))
		}
	}
	return len(p), nil
}

// broken is the error that Read ends with.
func (f *frames) broken(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.werr != nil && timedOut(err) {
		err = f.werr
	}
	f.rerr = ioError{err}
	return f.rerr
}

// cause is why no request can begin, of which net/http gives an error that does not say it.
func (f *frames) cause(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.rerr != nil:
		return f.rerr
	case f.goAway:
		return fmt.Errorf("%w: GOAWAY", errLost)
	}
	return fmt.Errorf("%w: %w", errBadResponse, err)
}

// Close does not wait for long for a connection that takes nothing.
func (f *frames) Close() error {
	t := time.AfterFunc(250*time.Millisecond, func() { _ = f.NetConn().Close() })
	defer t.Stop()
	return f.Conn.Close()
}
