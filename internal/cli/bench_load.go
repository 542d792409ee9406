package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/client"
)

// The event types that bench publishes: webhooks of bench ask for the first and never for the second.
const (
	benchType   = "qap.investor.created"
	benchUnused = "qap.investor.deleted"
)

// connections is the number of connections of the ceiling and of the publishers of single events.
const connections = 64

// rig is a running bench: the receiver's process and how requests are made.
type rig struct {
	cmd      *benchCmd
	binary   string
	dir      string
	http     *http.Client
	receiver *process
	base     string // the receiver's URL
	arrived  *gauge
	keyset   string // master keyset of nodes that share a database
}

// startRig starts the receiver and follows its count.
func startRig(ctx context.Context, cmd *benchCmd, binary, dir string) (*rig, error) {
	t := &http.Transport{MaxIdleConns: 4 * connections, MaxIdleConnsPerHost: connections, DisableCompression: true}
	g := &rig{cmd: cmd, binary: binary, dir: dir, http: &http.Client{Transport: t, Timeout: time.Minute}, arrived: newGauge()}
	var err error
	if cmd.Database != "" {
		if g.keyset, err = newKeyset(dir); err != nil {
			return nil, err
		}
	}
	if g.receiver, err = startProcess(binary, []string{"bench-receiver"}, nil); err != nil {
		return nil, err
	}
	if g.base, err = g.receiver.awaitLine(ctx, receiverLine); err != nil {
		g.receiver.stop()
		return nil, err
	}
	go g.follow(ctx)
	return g, nil
}

// follow keeps the gauge at the receiver's count until ctx ends.
func (g *rig) follow(ctx context.Context) {
	defer g.arrived.close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+"/ctl/watch", nil)
	if err != nil {
		return
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if n, err := strconv.ParseInt(s.Text(), 10, 64); err == nil {
			g.arrived.set(n)
		}
	}
}

// control asks the receiver.
func (g *rig) control(ctx context.Context, path string, out any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(out)
}

// call is one request of a flow.
type call struct {
	method, path string
	body         []byte
	status       int // of success
}

// post sends body and wants status.
func (g *rig) post(ctx context.Context, url, key string, body []byte, status int) error {
	return g.send(ctx, url, key, call{method: http.MethodPost, body: body, status: status})
}

func (g *rig) send(ctx context.Context, url, key string, c call) error {
	r, err := http.NewRequestWithContext(ctx, c.method, url+c.path, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != c.status {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s %s: %s %s", c.method, url+c.path, resp.Status, b)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 16<<20))
	return err
}

// node is a serve process on a data folder of its own.
type node struct {
	*process
	url, key string
	client   *client.Client
	data     string
	database *benchDatabase // in place of data; nil: none
	shared   bool           // the database is another node's too
}

// startNode starts a node on a store of its own.
func (g *rig) startNode(ctx context.Context) (*node, error) {
	if g.cmd.Database == "" {
		return g.serve(ctx, nil)
	}
	db, err := g.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	n, err := g.serve(ctx, db)
	if err != nil {
		db.drop()
	}
	return n, err
}

// serve starts a node, on the database unless it is nil.
func (g *rig) serve(ctx context.Context, db *benchDatabase) (*node, error) {
	data, err := os.MkdirTemp(g.dir, "node-")
	if err != nil {
		return nil, err
	}
	n := &node{key: benchKey, data: data, database: db}
	args := append([]string{"serve", "--listen=127.0.0.1:0", "--data=" + filepath.Join(data, "data"),
		"--advisory", "--allow-network=127.0.0.0/8", "--allow-http", "--log-level=error"}, g.cmd.ServeFlag...)
	env := []string{"QHOOK_ADMIN_KEY=" + n.key, "QHOOK_STOP_TIMEOUT=2s", "QHOOK_DRAIN=0s"}
	if db != nil {
		env = append(env, "QHOOK_DATABASE="+db.url, "QHOOK_MASTER_KEYSET="+g.keyset)
	}
	if n.process, err = startProcess(g.binary, args, env); err != nil {
		return nil, err
	}
	if n.url, err = n.awaitLine(ctx, listeningLine); err != nil {
		n.stop()
		return nil, err
	}
	n.client = client.New(n.url, n.key)
	return n, nil
}

// end stops the node and removes its data.
func (n *node) end() {
	n.process.stop()
	_ = os.RemoveAll(n.data)
	if n.database != nil && !n.shared {
		n.database.drop()
	}
}

// benchKey is the admin key of every node.
var benchKey = "qhook-bench-" + rand.Text() + rand.Text()

// hook registers a signed POST webhook for benchType to a path of the receiver.
func (n *node) hook(ctx context.Context, g *rig, path string) error {
	return n.hookFor(ctx, g, path, benchType)
}

func (n *node) hookFor(ctx context.Context, g *rig, path, eventType string) error {
	_, err := n.client.CreateWebhook(ctx, client.NewWebhook{URL: g.base + path, Method: http.MethodPost,
		EventTypes: []string{eventType}, GenerateSigningKey: true, Timeout: client.Duration(5 * time.Second)})
	if err != nil {
		return fmt.Errorf("create a webhook: %w", err)
	}
	return nil
}

// benchEvent is one event, about 300 bytes on the wire to the receiver. A sent of 0 is recorded by nobody.
func benchEvent(eventType string, sent int64) string {
	return `{"type":"` + eventType + `","object_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11",` +
		`"object_owner_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e12","owner_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e13",` +
		`"data":{"sent":` + strconv.FormatInt(sent, 10) + `}}`
}

// benchBody is a request that publishes size events, and the path it goes to.
func benchBody(eventType string, size int) (path string, body []byte) {
	if size == 1 {
		return "/v1/events", []byte(benchEvent(eventType, 0))
	}
	all := strings.Repeat(benchEvent(eventType, 0)+",", size)
	return "/v1/events/batch", []byte(`{"events":[` + all[:len(all)-1] + `]}`)
}

// flow publishes to a node from several goroutines until it is stopped or has published most.
type flow struct {
	size, workers int
	eventType     string
	window        int64 // most events that were published and have not arrived; 0: unbounded
	most          int64 // 0: unbounded
	// next, if set, makes the requests, each of which triggers size events; n is how many there are with it.
	next func(n int64) call
}

// running is a flow under way.
type running struct {
	published atomic.Int64
	claimed   atomic.Int64
	ending    atomic.Bool
	base      int64 // the receiver's count when it began
	wg        sync.WaitGroup
	once      sync.Once
	err       error
}

func (g *rig) start(ctx context.Context, n *node, f flow) (*running, error) {
	var base int64 // asked for, since the gauge may be a little behind
	if err := g.control(ctx, "/ctl/count", &base); err != nil {
		return nil, err
	}
	r := &running{base: base}
	if f.next == nil {
		path, body := benchBody(f.eventType, f.size)
		f.next = func(int64) call { return call{http.MethodPost, path, body, http.StatusAccepted} }
	}
	for range f.workers {
		r.wg.Go(func() {
			for !r.ending.Load() && ctx.Err() == nil {
				mine := r.claimed.Add(int64(f.size))
				if f.most > 0 && mine > f.most {
					return
				}
				if f.window > 0 && !g.arrived.await(ctx, r.base+mine-f.window, r.ending.Load) {
					return
				}
				if err := g.send(ctx, n.url, n.key, f.next(mine)); err != nil {
					r.once.Do(func() { r.err = err })
					r.ending.Store(true)
					return
				}
				r.published.Add(int64(f.size))
			}
		})
	}
	return r, nil
}

// stop ends the flow and waits for its goroutines.
func (r *running) stop(g *rig) error {
	r.ending.Store(true)
	g.arrived.wake()
	return r.wait()
}

func (r *running) wait() error {
	r.wg.Wait()
	return r.err
}

// drain waits until everything published has arrived.
func (r *running) drain(ctx context.Context, g *rig) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, g.arrived.wake)
	defer stop()
	want := r.base + r.published.Load()
	if !g.arrived.await(ctx, want, func() bool { return false }) {
		return fmt.Errorf("%d of %d published events arrived within 90 seconds", g.arrived.get()-r.base, r.published.Load())
	}
	return nil
}

// gauge is the receiver's count, with waiting for it.
type gauge struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int64
	closed bool
}

func newGauge() *gauge {
	g := &gauge{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gauge) get() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

func (g *gauge) set(n int64) {
	g.mu.Lock()
	g.n = n
	g.mu.Unlock()
	g.cond.Broadcast()
}

// wake makes those who wait look again whether they are cancelled.
func (g *gauge) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cond.Broadcast()
}

func (g *gauge) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cond.Broadcast()
}

// await waits until the count is at least n; false when ctx ended, cancelled said so, or nobody counts any more.
func (g *gauge) await(ctx context.Context, n int64, cancelled func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.n < n {
		if g.closed || ctx.Err() != nil || cancelled() {
			return false
		}
		g.cond.Wait()
	}
	return true
}

var errStopped = errors.New("stopped")

// sleep waits, or says that ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errStopped
	}
}
