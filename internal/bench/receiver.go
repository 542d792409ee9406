package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// ReceiverCommand is the hidden command that runs Receive.
const ReceiverCommand = "bench-receiver"

// receiverLine is what the receiver prints before its URL.
const receiverLine = "bench-receiver on "

// Receive is bench's receiver, in a process of its own. It ends with ctx, and when its standard input does, so that it
// never outlives bench.
func Receive(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	fmt.Fprintf(stdout, "%shttp://%s\n", receiverLine, ln.Addr())
	srv := &http.Server{Handler: &receiver{ctx: ctx, latencies: map[int][]int64{}}, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// receiver counts what arrives. Paths: /n counts; /slow/MS counts after that many
// milliseconds; /lat/K also records the time since the "sent" of the body;
// /fail/K answers 500; /hang/K never answers; /ctl/… is for bench.
type receiver struct {
	ctx  context.Context
	n    atomic.Int64
	hung atomic.Int64

	mu        sync.Mutex
	latencies map[int][]int64 // nanoseconds by K
}

// ServeHTTP counts one request or answers bench.
func (b *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	case strings.HasPrefix(path, "/fail/"):
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
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

func (b *receiver) latency(r *http.Request, k string) {
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
func (b *receiver) watch(w http.ResponseWriter, r *http.Request) {
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
