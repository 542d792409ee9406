package attempt

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/quantfolio/qhook/internal/webhook"
)

// flood is what a hostile receiver may pour out: what is in before, once, then again and again the rest.
type flood struct {
	name  string
	class string // of the attempt; empty: it has its status
	pour  func(before, again *http2.Framer, stream uint32)
}

const (
	oneByteWindows = "windows of one byte"
	oneByteRecords = "TLS records of one byte"
)

var floods = []flood{
	{"PING", ClassBadResponse, func(_, again *http2.Framer, _ uint32) { _ = again.WritePing(false, [8]byte{1}) }},
	{"SETTINGS", ClassBadResponse, func(_, again *http2.Framer, _ uint32) { _ = again.WriteSettings() }},
	{"SETTINGS of 16 KiB", ClassBadResponse, func(_, again *http2.Framer, _ uint32) {
		_ = again.WriteSettings(slices.Repeat([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1},
			{ID: http2.SettingInitialWindowSize, Val: 2}}, 1365)...)
	}},
	{"empty DATA after the head", "", func(before, again *http2.Framer, stream uint32) {
		flooder{before}.head(stream, "200")
		_ = again.WriteData(stream, false, nil)
	}},
	{"DATA of one byte", "", func(before, again *http2.Framer, stream uint32) {
		flooder{before}.head(stream, "200")
		_ = again.WriteData(stream, false, []byte{1})
	}},
	{"padding only", "", func(before, again *http2.Framer, stream uint32) {
		flooder{before}.head(stream, "200")
		_ = again.WriteDataPadded(stream, false, nil, make([]byte, 255))
	}},
	{"WINDOW_UPDATE", ClassBadResponse, func(_, again *http2.Framer, _ uint32) { _ = again.WriteWindowUpdate(0, 1) }},
	{oneByteRecords, ClassBadResponse, func(_, again *http2.Framer, _ uint32) {
		_ = again.WriteRawFrame(0x42, 0, 0, make([]byte, maxFrame))
	}},
	{oneByteWindows, ClassBadResponse, func(_, again *http2.Framer, stream uint32) {
		_ = again.WriteWindowUpdate(stream, 1) // the request's body goes out by single bytes
	}},
	{"PRIORITY", ClassBadResponse, func(_, again *http2.Framer, stream uint32) {
		_ = again.WritePriority(stream, http2.PriorityParam{Weight: 1})
	}},
	{"unknown frames", ClassBadResponse, func(_, again *http2.Framer, _ uint32) {
		_ = again.WriteRawFrame(0x42, 0, 0, nil)
	}},
	{"unknown frames of 16 KiB", ClassBadResponse, func(_, again *http2.Framer, _ uint32) {
		_ = again.WriteRawFrame(0x42, 0, 0, make([]byte, maxFrame))
	}},
	{"RST_STREAM", ClassBadResponse, func(_, again *http2.Framer, stream uint32) {
		_ = again.WriteRSTStream(stream+100, http2.ErrCodeCancel)
	}},
	{"GOAWAY", ClassBadResponse, func(_, again *http2.Framer, stream uint32) {
		_ = again.WriteGoAway(stream, http2.ErrCodeNo, make([]byte, 100))
	}},
	{"empty CONTINUATION", ClassBadResponse, func(before, again *http2.Framer, stream uint32) {
		_ = before.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(":status", "200")})
		_ = again.WriteContinuation(stream, false, nil)
	}},
	{"CONTINUATION of 16 KiB", ClassBadResponse, func(before, again *http2.Framer, stream uint32) {
		_ = before.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(":status", "200")})
		_ = again.WriteContinuation(stream, false, block(slices.Repeat([]string{"accept-charset", ""}, 8000)...))
	}},
	{"1xx", ClassBadResponse, func(_, again *http2.Framer, stream uint32) { flooder{again}.head(stream, "103") }},
	{"heads of another stream", ClassBadResponse, func(_, again *http2.Framer, stream uint32) {
		flooder{again}.head(stream+100, "200", slices.Repeat([]string{"accept-charset", ""}, 11000)...)
	}},
	{"heads that grow from a byte to 4 KB", ClassBadResponse, func(before, again *http2.Framer, stream uint32) {
		var b bytes.Buffer
		b.Write([]byte{0x40, 1, 'a', 0x7f, 0xe0, 0x1e}) // a: 4,063 bytes, to the dynamic table, which is full then
		b.Write(bytes.Repeat([]byte{'~'}, 4063))
		_ = before.WriteHeaders(http2.HeadersFrameParam{StreamID: stream + 100, EndHeaders: true,
			BlockFragment: b.Bytes()})
		_ = again.WriteHeaders(http2.HeadersFrameParam{StreamID: stream + 100, EndHeaders: true,
			BlockFragment: append([]byte{0x88}, bytes.Repeat([]byte{0xbe}, 140)...)})
	}},
}

type flooder struct{ *http2.Framer }

func (f flooder) head(stream uint32, status string, fields ...string) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
		BlockFragment: block(append([]string{":status", status}, fields...)...)})
}

// serve has a peer pour it out until the client has closed.
func (f flood) serve(p *peer) {
	var before, again bytes.Buffer
	var settings []http2.Setting
	if f.name == oneByteWindows {
		settings = append(settings, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	}
	_ = p.WriteSettings(settings...)
	_ = p.WriteSettingsAck()
	r, ok := p.request(f.name != oneByteWindows)
	if !ok {
		return
	}
	f.pour(newFramer(&before), newFramer(&again), r.stream)
	go p.drain()
	many := bytes.Repeat(again.Bytes(), max(1, maxFrame/again.Len()))
	size := len(many)
	if f.name == oneByteRecords {
		size = 1
	}
	_, err := p.Write(before.Bytes())
	for err == nil {
		for part := range slices.Chunk(many, size) {
			if _, err = p.Write(part); err != nil {
				break
			}
		}
	}
}

func newFramer(w io.Writer) *http2.Framer {
	f := http2.NewFramer(w, nil)
	f.AllowIllegalWrites = true
	return f
}

// A flood of frames ends the attempt, and the connection, after what an answer can need.
func TestHTTP2Floods(t *testing.T) {
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{}) // closed by the receiver when it cannot send any more
			srv, _ := newPeers(t, func(p *peer) {
				defer close(over)
				f.serve(p)
			})
			c := srv.dialH2(t, nil)
			r, err := c.ask(t.Context(), srv.target(t, webhook.POST, "/", 20*time.Second))
			_, class := classify(t.Context(), err)
			if r.Status == 200 {
				class = ""
			}
			if class != f.class {
				t.Errorf("exchange = %+v, %v, class %q, want %q", r, err, class, f.class)
			}
			<-over
			c.frames.mu.Lock()
			defer c.frames.mu.Unlock()
			l := c.frames.left
			if n := c.frames.count; n > allowance.frames+1 || l.blocks < -1 || l.bytes < -maxFrame-recordCost {
				t.Errorf("%d frames were taken, %+v is left of %+v, want nothing taken after it was used up", n,
					l, allowance)
			}
			if strings.HasPrefix(f.name, "heads") && l.blocks != -1 {
				t.Errorf("%d heads are left, want one too many taken", l.blocks)
			}
		})
	}
}

// Requests that were answered leave no more than one's allowance to a flood.
func TestHTTP2AllowanceIsNotSaved(t *testing.T) {
	t.Parallel()
	srv, _ := newPeers(t, func(p *peer) {
		for r := p.settle(); r.stream != 0; r, _ = p.request(true) {
			p.head(r.stream, true, ":status", "204")
		}
	})
	c, tt := srv.dialH2(t, nil), srv.target(t, webhook.POST, "/", 20*time.Second)
	for i := range 10 {
		if i > 0 && c.Reserve() != nil {
			t.Fatal("no place")
		}
		if r, err := c.ask(t.Context(), tt); err != nil || r.Status != 204 {
			t.Fatalf("exchange = %+v, %v, want 204", r, err)
		}
	}
	c.frames.mu.Lock()
	defer c.frames.mu.Unlock()
	l, most := c.frames.left, allowance
	if l.frames > 2*most.frames || l.blocks > 2*most.blocks || l.bytes > 2*most.bytes {
		t.Errorf("%+v is left after 10 answers, want at most twice %+v", l, allowance)
	}
}

const floodName = "QHOOK_TEST_FLOOD"

// TestHTTP2FloodServer is the receiver of BenchmarkHTTP2Flood, in a process of its own.
func TestHTTP2FloodServer(t *testing.T) {
	name := os.Getenv(floodName)
	if name == "" {
		t.Skip("for the benchmark")
	}
	i := slices.IndexFunc(floods, func(f flood) bool { return f.name == name })
	srv, _ := newPeers(t, floods[i].serve)
	fmt.Println(srv.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// BenchmarkHTTP2Flood measures this process's CPU time by attempt, handshakes included.
func BenchmarkHTTP2Flood(b *testing.B) {
	cpu := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for _, f := range floods {
		b.Run(f.name, func(b *testing.B) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestHTTP2FloodServer$")
			cmd.Env = append(os.Environ(), floodName+"="+f.name)
			in, err1 := cmd.StdinPipe()
			out, err2 := cmd.StdoutPipe()
			if err := cmp.Or(err1, err2, cmd.Start()); err != nil {
				b.Fatal(err)
			}
			defer func() { in.Close(); _ = cmd.Wait() }()
			addr, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				b.Fatal(err)
			}
			_, roots := testTLS(b)
			s := wireSender(b)
			s.cfg.Roots = trusting(roots)
			tt, err := NewTarget(&webhook.Webhook{URL: "https://" + strings.TrimSpace(addr) + "/", Method: webhook.POST,
				Timeout: 20 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			began := cpu()
			for b.Loop() {
				if r := s.Send(b.Context(), tt, wireEvent()); r.Class != f.class {
					b.Fatalf("Send = %+v, want class %q", r, f.class)
				}
			}
			b.ReportMetric(float64(cpu()-began)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op")
		})
	}
}
