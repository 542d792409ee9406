package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// The event types that bench publishes: webhooks of bench ask for the first and never for the second.
const (
	benchType   = "qap.investor.created"
	benchUnused = "qap.investor.deleted"
)

// benchKey is the admin key of every node.
var benchKey = "qhook-bench-" + rand.Text() + rand.Text()

// serving is how a node is started.
type serving struct {
	database *database // in place of a data folder; nil: none
	data     string    // an existing data folder; empty: a new one
	shared   bool      // the store stays when the node ends
	flags    []string
	files    int // its limit of descriptors; 0: as this process's
}

// node is a serve process.
type node struct {
	*process
	serving
	url, key string
	client   *client.Client
	dir      string        // of its own, which holds the data unless that was given
	started  time.Duration // from its start until it listened
}

// newStore is an empty store.
func (g *rig) newStore(ctx context.Context) (serving, error) {
	if g.server == "" {
		return serving{}, nil
	}
	db, err := g.newDatabase(ctx)
	return serving{database: db}, err
}

// storeWith is a store with so many webhooks to a path of the receiver, or to a URL, of so many tenants.
func (g *rig) storeWith(ctx context.Context, webhooks, tenants int, to string) (serving, error) {
	s, err := g.newStore(ctx)
	if err != nil {
		return s, err
	}
	if strings.HasPrefix(to, "/") {
		to = g.base + to
	}
	c := app.FillWebhooksConfig{Tenants: tenants, Webhooks: webhooks, URL: to, EventTypes: []string{benchType}}
	if s.database != nil {
		c.To, c.MasterKeyset = s.database.url, g.keyset
	} else if s.data, err = os.MkdirTemp(g.dir, "filled-"); err != nil {
		return s, err
	}
	c.To += s.data
	return s, app.FillWebhooks(ctx, c, slog.New(slog.DiscardHandler))
}

// serve starts a node.
func (g *rig) serve(ctx context.Context, s serving) (*node, error) {
	dir, err := os.MkdirTemp(g.dir, "node-")
	if err != nil {
		return nil, err
	}
	n := &node{serving: s, key: benchKey, dir: dir}
	data := s.data
	if data == "" {
		data = filepath.Join(dir, "data")
	}
	args := append([]string{"serve", "--listen=127.0.0.1:0", "--data=" + data, "--advisory",
		"--allow-network=127.0.0.0/8", "--allow-http", "--log-level=error"}, append(g.ServeFlags, s.flags...)...)
	env := []string{g.EnvPrefix + "ADMIN_KEY=" + n.key, g.EnvPrefix + "STOP_TIMEOUT=2s", g.EnvPrefix + "DRAIN=0s"}
	if s.database != nil {
		env = append(env, g.EnvPrefix+"DATABASE="+s.database.url, g.EnvPrefix+"MASTER_KEYSET="+g.keyset)
	}
	began := time.Now()
	if n.process, err = g.startProcess(args, env, s.files); err != nil {
		return nil, err
	}
	if n.url, err = n.awaitLine(ctx, g.Listening); err != nil {
		n.end()
		return nil, err
	}
	n.started = time.Since(began)
	n.client = client.New(n.url, n.key)
	return n, nil
}

// end stops the node and removes its data.
func (n *node) end() {
	n.process.stop()
	_ = os.RemoveAll(n.dir)
	if n.shared {
		return
	}
	if n.data != "" {
		_ = os.RemoveAll(n.data)
	}
	if n.database != nil {
		n.database.drop()
	}
}

// withNode runs f against a new node with a webhook to path ("": none).
func (g *rig) withNode(ctx context.Context, path string, f func(*node) error) error {
	s, err := g.newStore(ctx)
	if err != nil {
		return err
	}
	return g.withStore(ctx, s, func(n *node) error {
		if path != "" {
			if err := n.hook(ctx, g, path); err != nil {
				return err
			}
		}
		return f(n)
	})
}

// withStore runs f against a node on the store.
func (g *rig) withStore(ctx context.Context, s serving, f func(*node) error) error {
	n, err := g.serve(ctx, s)
	if err != nil {
		return err
	}
	defer n.end()
	return f(n)
}

// hook registers a signed POST webhook for benchType to a path of the receiver.
func (n *node) hook(ctx context.Context, g *rig, path string) error {
	return n.hookFor(ctx, g, path, benchType)
}

// hookFor does the same for another type, with another schedule than the default if one is given.
func (n *node) hookFor(ctx context.Context, g *rig, path, eventType string, schedule ...client.Duration) error {
	_, err := n.client.CreateWebhook(ctx, client.NewWebhook{URL: g.base + path, Method: http.MethodPost,
		EventTypes: []string{eventType}, GenerateSigningKey: true,
		Timeout: client.Duration(5 * time.Second), RetrySchedule: schedule})
	if err != nil {
		return fmt.Errorf("create a webhook: %w", err)
	}
	return nil
}

// benchEvent is one event, about 300 bytes on the wire to the receiver. A sent of 0 is recorded by nobody.
func benchEvent(eventType string, sent int64) string { return paddedEvent(eventType, sent, 0) }

// paddedEvent has so many more bytes.
func paddedEvent(eventType string, sent int64, more int) string {
	padding := ""
	if more > 0 {
		padding = `,"padding":"` + prose(more) + `"`
	}
	return `{"type":"` + eventType + `","object_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11",` +
		`"object_owner_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e12","owner_id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e13",` +
		`"data":{"sent":` + strconv.FormatInt(sent, 10) + padding + `}}`
}

// prose is so many bytes of words in a random order, about as compressible as what people write.
func prose(n int) string {
	words := strings.Fields("the portfolio of an investor was reviewed with its advisor and rebalanced towards bonds after " +
		"a quarter in which equity markets fell risk profile horizon objective income growth liquidity fees tax residence " +
		"suitability report session completed draft approval recommendation product currency allocation drawdown benchmark")
	r := mathrand.New(mathrand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteString(" " + strconv.Itoa(r.IntN(100_000)) + " ")
	}
	return b.String()[:n]
}

// benchBody is a request that publishes size events, and the path it goes to.
func benchBody(eventType string, size, more int) (path string, body []byte) {
	if size == 1 {
		return "/v1/events", []byte(paddedEvent(eventType, 0, more))
	}
	all := strings.Repeat(paddedEvent(eventType, 0, more)+",", size)
	return "/v1/events/batch", []byte(`{"events":[` + all[:len(all)-1] + `]}`)
}

// Fill fills a store for the measurement of pages; see app.Fill.
func Fill(ctx context.Context, c app.FillConfig) error {
	return app.Fill(ctx, c, slog.New(slog.NewTextHandler(io.Discard, nil)))
}
