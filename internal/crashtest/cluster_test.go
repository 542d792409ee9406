package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// keyset is a master keyset, which all nodes of a database need.
func keyset(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := webhook.LoadOrCreateKeyring(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// cluster is nodes on one database, each behind a proxy of its own.
type cluster struct {
	t       *testing.T
	pg      *pgtest.Server
	url     string
	nodes   []*node
	proxies []*proxy // to the database
	r       *arrivals
	p       publisher
	names   map[string]string

	mu       sync.Mutex
	accepted map[string]time.Time // by event, when 202 was read
	refused  int                  // answers and timeouts after which a batch went to another node
}

// newCluster makes a database and its nodes; none of them runs.
func newCluster(t *testing.T, size int, failOne float64) *cluster {
	t.Helper()
	pg := pgtest.Start(t, pgtest.WithFsync())
	c := &cluster{t: t, pg: pg, url: pg.NewDatabase(t), r: newArrivals(t, failOne), accepted: map[string]time.Time{}}
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	keys := keyset(t)
	for i := range size {
		p := newProxy(t, u.Host)
		through := *u
		through.Host = p.addr()
		n := newNode(t, t.TempDir())
		n.more = []string{"--database", through.String(), "--master-keyset", keys, "--node-name",
			fmt.Sprintf("node %d", i)}
		c.nodes, c.proxies = append(c.nodes, n), append(c.proxies, p)
	}
	return c
}

// start runs all nodes and makes a webhook.
func (c *cluster) start() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.mustStart()
	}
	c.register()
}

// register makes a webhook, which every node knows of afterwards.
func (c *cluster) register() {
	c.t.Helper()
	c.names = map[string]string{c.nodes[0].mustWebhook(c.t.Context(), c.r.URL+"/post", "POST"): "post"}
	c.p.hooks = []string{"post"}
	time.Sleep(1500 * time.Millisecond) // by then every node knows of the webhook, even if the word of it was lost: they look every second
}

// publish runs publishers over all nodes until stop is called, which waits for them.
func (c *cluster) publish(publishers int) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.batch(1 + rand.IntN(8))
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// patience is how long a publisher waits for a node before it asks another.
const patience = 3 * time.Second

// batch publishes n events at a node by chance, and at another one as long as it fails: the events have IDs of their
// own.
func (c *cluster) batch(n int) {
	events := batchOf(n)
	var err error
	first := rand.IntN(len(c.nodes))
	for i := range 100 {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		_, err = c.nodes[(first+i)%len(c.nodes)].client().PublishBatch(ctx, events)
		cancel()
		if err == nil {
			break
		}
		c.mu.Lock()
		c.refused++
		c.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
	c.note(events, err)
}

func batchOf(n int) []client.Event {
	events := make([]client.Event, n)
	for i := range events {
		events[i] = newEvent()
	}
	return events
}

// note writes down what a publisher was answered.
func (c *cluster) note(events []client.Event, err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		if err != nil {
			c.p.unsure = append(c.p.unsure, e.ID)
			continue
		}
		c.accepted[e.ID] = now
		c.p.owed = append(c.p.owed, Key{e.ID, "post"})
		c.p.count.Add(1)
	}
}

// check waits until everything is delivered and compares the logs; see Check.
func (c *cluster) check(disturbances, inFlight int) {
	c.t.Helper()
	l := settle(c.t, c.nodes[0], &c.p, &c.r.receiver, c.names, time.Minute)
	got := Check(l, disturbances, inFlight)
	c.t.Logf("%d events answered 202, %d refusals after which another node was asked, %d never answered; %d requests, "+
		"%d duplicates, %d requests on no record (at most %d explained)",
		c.p.count.Load(), c.refused, len(c.p.unsure), len(c.r.all), got.Duplicates, got.Unrecorded, disturbances*inFlight)
	report(c.t, got.Findings)
	c.outcomes()
}

// outcomes wants the attempts of every delivery in the database to be numbered 1, 2, 3 and so on in the order of their
// times, and nothing after the one that settles it. Two nodes that both made the same attempt would show here, as a
// number twice (which the key refuses, and then the node's commits fail for good) or as one more after the last.
func (c *cluster) outcomes() {
	c.t.Helper()
	const broken = `SELECT count(*) FROM (SELECT kind, attempt,
			row_number() OVER w AS nth, lead(kind) OVER w AS next, at, lag(at) OVER w AS before
		FROM outcomes WINDOW w AS (PARTITION BY tenant, webhook, event ORDER BY attempt)) AS o
		WHERE attempt <> nth OR kind <> 'retry' AND next IS NOT NULL OR kind = 'retry' AND next IS NULL OR at < before`
	if n := c.query(broken); n != 0 {
		c.t.Errorf("%d outcomes are out of order: a number is missing, or an attempt follows the last one or comes before the former one", n)
	}
	if n := c.query(`SELECT count(*) FROM waiting`); n != 0 {
		c.t.Errorf("%d waiting rows are left after everything is delivered", n)
	}
}

// query runs sql at the database itself and gives its one number.
func (c *cluster) query(sql string, args ...any) (n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		c.t.Fatalf("connect to look at the database: %v", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// readyz is what the node answers there; 0: nothing in 5 s.
func (n *node) readyz() int {
	c := http.Client{Timeout: 5 * time.Second}
	resp, err := c.Get("http://" + n.addr + "/readyz")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	return resp.StatusCode
}

// within waits until what holds, or fails the test.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		pause(t.Context())
	}
	return time.Since(began)
}

// signal sends the node's process a signal.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("signal %v: %v", s, err)
	}
}

// arrival is a whole request.
type arrival struct {
	at    time.Time
	from  string // the sender's address
	event string
}

// arrivals is a receiver that writes down every request's time and sender too.
type arrivals struct {
	receiver
	all   []arrival            // guarded by mu
	first map[string]time.Time // by event; guarded by mu
}

func newArrivals(t *testing.T, failOne float64) *arrivals {
	a := &arrivals{receiver: receiver{requests: map[Key]int{}, answered: map[Key]int{}, failOne: failOne},
		first: map[string]time.Time{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	now := time.Now()
	id := idOf(body)
	a.mu.Lock()
	a.all = append(a.all, arrival{now, req.RemoteAddr, id})
	if _, ok := a.first[id]; !ok {
		a.first[id] = now
	}
	a.mu.Unlock()
	time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // so that requests are under way at every moment
	req.Body = io.NopCloser(bytes.NewReader(body))
	a.receiver.ServeHTTP(w, req)
}

// between lists the requests that arrived from one time to another.
func (a *arrivals) between(from, to time.Time) (list []arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.all {
		if !x.at.Before(from) && x.at.Before(to) {
			list = append(list, x)
		}
	}
	return list
}

// slowest is the longest time from an answer of 202 to the event's first arrival.
func (c *cluster) slowest() (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	for id, at := range c.accepted {
		longest = max(longest, c.r.first[id].Sub(at))
	}
	return longest
}

// idOf is the ID of the event in a POST's body; empty when there is none.
func idOf(body []byte) string {
	var e client.Event
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.ID
}
