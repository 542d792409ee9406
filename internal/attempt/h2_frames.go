package attempt

import (
	"errors"
	"net"
	"sync"
)

// What the other side may send over HTTP/2 for each request, so that a flood ends the connection: RFC 9113, section 10.5.
const (
	h2Frames  = 1000
	h2Bytes   = maxHead + maxDrain + 64<<10
	h2Head    = 9        // bytes of a frame's head, section 4.1
	h2Largest = 16 << 10 // bytes of a frame, section 4.2
)

var errFlood = errors.New("a flood of frames")

// Types of frames, RFC 9113, section 6.
const (
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameContinuation = 0x9
)

// frames is a connection of HTTP/2 that counts what comes by frames and bytes, and leaves out the frames that mean
// nothing to us (section 5.5): net/http would write a line to the standard log for each.
type frames struct {
	net.Conn

	mu       sync.Mutex
	requests int
	left     int // frames
	bytes    int

	// For the one reader.
	in, out []byte       // what was read at once; what of it is for the reader still
	head    [h2Head]byte // of the frame that is being read
	have    int          // bytes of it
	rest    int          // bytes of the frame behind it
	skip    bool         // it is left out
	block   int          // bytes of the headers that are being read
}

// allow adds what one request may bring, until it is done.
func (f *frames) allow() {
	f.mu.Lock()
	f.requests++
	f.left, f.bytes = f.left+h2Frames, f.bytes+h2Bytes
	f.mu.Unlock()
}

// done takes back what requests that have ended left, but for one's: what they did not need is not for a flood.
func (f *frames) done() {
	f.mu.Lock()
	f.requests--
	f.left, f.bytes = min(f.left, (f.requests+1)*h2Frames), min(f.bytes, (f.requests+1)*h2Bytes)
	f.mu.Unlock()
}

// Read reads, until too much has come.
func (f *frames) Read(p []byte) (int, error) {
	if f.in == nil {
		f.in = make([]byte, 4<<10)
	}
	for len(f.out) == 0 {
		n, err := f.Conn.Read(f.in)
		begun := f.follow(f.in[:n])
		f.mu.Lock()
		f.left -= begun
		f.bytes -= n
		over := f.left < 0 || f.bytes < 0
		f.mu.Unlock()
		switch {
		case f.block > maxHead:
			err = errTooLarge
		case over:
			err = errFlood
		case err == nil || len(f.out) > 0: // an error comes again
			continue
		default:
			return 0, err
		}
		_ = f.Conn.Close()
		return 0, err
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// follow puts what is for the reader into out, and tells how many frames begin.
func (f *frames) follow(b []byte) (begun int) {
	f.out = f.out[:0]
	for len(b) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(b))
			if !f.skip {
				f.out = append(f.out, b[:n]...)
			}
			f.rest -= n
			b = b[n:]
			continue
		}
		n := copy(f.head[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == h2Head {
			begun++
			f.begin()
		}
	}
	return begun
}

// begin looks at the head of a frame.
func (f *frames) begin() {
	f.have = 0
	f.rest = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	kind := f.head[3]
	switch kind {
	case frameHeaders:
		f.block = f.rest
	case frameContinuation:
		f.block += f.rest
	}
	f.skip = (kind == framePriority || kind > frameContinuation) && f.rest <= h2Largest // else net/http refuses it
	if !f.skip {
		f.out = append(f.out, f.head[:]...)
	}
}
