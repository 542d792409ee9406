package crashtest

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
)

// receiver writes down every whole request and fails some of them.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[Key]int // Webhook is the path's last segment, which the test sets
	answered map[Key]int
	failOne  float64
	fails    func(k Key, nth int) bool // tells whether the nth request fails, and may take its time; nil: by chance
}

func newReceiver(t *testing.T, failOne float64) *receiver {
	r := &receiver{requests: map[Key]int{}, answered: map[Key]int{}, failOne: failOne}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() { r.CloseClientConnections(); r.Close() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	var ev struct{ ID string }
	if req.Method == http.MethodGet {
		ev.ID = req.URL.Query().Get("id")
	} else if err := json.Unmarshal(body, &ev); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	k := Key{ev.ID, path.Base(req.URL.Path)}
	fail := rand.Float64() < r.failOne
	r.mu.Lock()
	r.requests[k]++
	nth := r.requests[k]
	r.mu.Unlock()
	if r.fails != nil {
		fail = r.fails(k, nth)
	}
	r.mu.Lock()
	if !fail {
		r.answered[k]++
	}
	r.mu.Unlock()
	if fail {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// arrived counts the deliveries that were answered with 2xx at least once.
func (r *receiver) arrived(keys []Key) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, k := range keys {
		if r.answered[k] > 0 {
			n++
		}
	}
	return n
}

// publisher publishes until its context ends, with IDs of its own, and writes down what it was answered.
type publisher struct {
	hooks []string // path segments of the webhooks that every event goes to
	mu    sync.Mutex
	owed  []Key
	// unsure has the events of the requests whose answer was not read.
	unsure []string
	count  atomic.Int64
}

// accepting waits until events are accepted, so that a kill meets a load on the slowest machine.
func (p *publisher) accepting(ctx context.Context) {
	before := p.count.Load()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(10 * time.Second); p.count.Load() == before && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

func newEvent() client.Event {
	return client.Event{ID: uuid.NewString(), Type: "qap.investor.updated", ObjectID: uuid.NewString(),
		ObjectOwnerID: uuid.NewString(), OwnerID: uuid.NewString(), Data: json.RawMessage(`{"changed":["name"]}`)}
}

// once publishes n events in one request; false when it was not answered 202.
func (p *publisher) once(ctx context.Context, c *client.Client, n int) error {
	events := make([]client.Event, n)
	for i := range events {
		events[i] = newEvent()
	}
	_, err := c.PublishBatch(ctx, events)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if err != nil {
			p.unsure = append(p.unsure, e.ID)
			continue
		}
		for _, h := range p.hooks {
			p.owed = append(p.owed, Key{e.ID, h})
		}
	}
	if err == nil {
		p.count.Add(int64(n))
	}
	return err
}

func (p *publisher) run(ctx context.Context, c *client.Client) {
	for ctx.Err() == nil {
		if p.once(ctx, c, 1+rand.IntN(20)) != nil {
			select { // the node is down: a pause, not a race
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// settle waits until everything owed has arrived and nothing waits any more, and collects the logs.
func settle(t *testing.T, n *node, p *publisher, r *receiver, names map[string]string, within time.Duration) Logs {
	t.Helper()
	deadline := time.Now().Add(within)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	for r.arrived(p.owed) < len(p.owed) && time.Now().Before(deadline) {
		pause(ctx)
	}
	for ctx.Err() == nil {
		page, err := n.client().Deliveries(ctx, client.DeliveryQuery{Status: client.StatusWaiting, Limit: 1})
		if err == nil && len(page.Deliveries) == 0 {
			break
		}
		pause(ctx)
	}
	l := Logs{Accepted: p.owed, Unsure: p.unsure, Record: map[Key]Entry{}}
	r.mu.Lock()
	l.Requests, l.Answered = r.requests, r.answered
	r.mu.Unlock()
	q := client.DeliveryQuery{Limit: 200}
	for {
		page, err := n.client().Deliveries(t.Context(), q)
		if err != nil {
			t.Fatalf("Deliveries: %v", err)
		}
		for _, d := range page.Deliveries {
			l.Record[Key{d.EventID, names[d.WebhookID]}] = Entry{Status: d.Status, Sent: d.Attempts}
		}
		if page.Next == "" {
			return l
		}
		q.Cursor = page.Next
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}
