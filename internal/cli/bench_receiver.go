package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchReceiverCmd is bench's receiver, in a process of its own. It ends when its standard input does, so that it never
// outlives bench.
type benchReceiverCmd struct{}

// receiverLine is what the receiver prints before its URL.
const receiverLine = "bench-receiver on "

// Run receives until told to stop.
func (benchReceiverCmd) Run(r *run) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, r.stdin)
		cancel()
	}()
	r.printf("%shttp://%s\n", receiverLine, ln.Addr())
	b := &benchReceiver{ctx: ctx, latencies: map[int][]int64{}}
	return serveUntil(ctx, &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}, ln)
}

// benchReceiver counts what arrives. Paths: /n counts; /slow/MS counts after that many
// milliseconds; /lat/K also records the time since the "sent" of the body;
// /hang/K never answers; /ctl/… is for bench.
type benchReceiver struct {
	ctx  context.Context
	n    atomic.Int64
	hung atomic.Int64

	mu        sync.Mutex
	latencies map[int][]int64 // nanoseconds by K
}

// ServeHTTP counts one request or answers bench.
func (b *benchReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/n":
		_, _ = io.Copy(io.Discard, r.Body)
		b.n.Add(1)
	case strings.HasPrefix(path, "/lat/"):
		b.latency(r, path[len("/lat/"):])
	case strings.HasPrefix(path, "/slow/"):
		_, _ = io.Copy(io.Discard, r.Body)
		ms, _ := strconv.Atoi(path[len("/slow/"):])
		if sleep(r.Context(), time.Duration(ms)*time.Millisecond) == nil {
			b.n.Add(1)
		}
	case strings.HasPrefix(path, "/hang/"):
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the sender gives up
		b.hung.Add(1)
		select {
		case <-r.Context().Done():
		case <-b.ctx.Done():
		}
	case path == "/ctl/watch":
		b.watch(w, r)
	case path == "/ctl/count":
		fmt.Fprint(w, b.n.Load())
	case path == "/ctl/hung":
		fmt.Fprint(w, b.hung.Load())
	case path == "/ctl/latencies":
		b.mu.Lock()
		taken := b.latencies
		b.latencies = map[int][]int64{}
		b.mu.Unlock()
		_ = json.NewEncoder(w).Encode(taken)
	default:
		http.NotFound(w, r)
	}
}

func (b *benchReceiver) latency(r *http.Request, k string) {
	at := time.Now().UnixNano()
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	b.n.Add(1)
	_, rest, ok := bytes.Cut(body, []byte(`"sent":`))
	if !ok {
		return
	}
	end := bytes.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		return
	}
	sent, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil || sent == 0 {
		return
	}
	i, _ := strconv.Atoi(k)
	b.mu.Lock()
	b.latencies[i] = append(b.latencies[i], at-sent)
	b.mu.Unlock()
}

// watch streams the count, a line whenever it changed, at most every two milliseconds.
func (b *benchReceiver) watch(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	c := http.NewResponseController(w)
	for last := int64(-1); ; {
		if n := b.n.Load(); n != last {
			last = n
			if _, err := fmt.Fprintln(w, n); err != nil || c.Flush() != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-b.ctx.Done():
			return
		}
	}
}
