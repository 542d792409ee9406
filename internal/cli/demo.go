package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/signature"
)

// demoTime bounds the demo's own part: publish, deliver, retry, compare.
const demoTime = 60 * time.Second

type demoCmd struct {
	Exit bool `help:"End by itself: 0 only if everything arrived, verified, and is on record as it was seen."`
}

// Help is the long help of demo.
func (demoCmd) Help() string {
	return `Starts a server on a temporary folder and a receiver that verifies signatures, registers a POST and a GET webhook,
publishes all nine event types, lets the receiver fail once, and prints every request as it arrives. Without --exit it
stays up and says what to try next.`
}

// Run runs the demo.
func (d *demoCmd) Run(r *run) (err error) {
	dir, err := os.MkdirTemp("", "qhook-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	out := &lockedWriter{w: r.stdout}
	rec := newDemoReceiver(out)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx)) // the receiver outlives the server's stop
	ended := make(chan error, 1)                                    // sent once by the goroutine below, never closed
	go func() { ended <- serveUntil(ctx, &http.Server{Handler: rec, ReadHeaderTimeout: 10 * time.Second}, ln) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()

	cfg := app.Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(dir, "data"), AdminKey: "qhook-demo-" + rand.Text() + rand.Text(),
		AllowNetwork: []string{"127.0.0.0/8", "::1/128"}, AllowHTTP: true,
		Retention: 720 * time.Hour, Concurrency: 32, StopTimeout: 20 * time.Second, LogFormat: "text", LogLevel: "error",
	}
	a, err := app.New(r.ctx, cfg, newLogger(r.stderr, cfg))
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer func() { err = errors.Join(err, stopApp(r.ctx, a)) }()
	if err := a.Start(context.WithoutCancel(r.ctx)); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	fmt.Fprintf(out, "A server on %s with its data in %s,\nand a receiver on http://%s.\n", a.URL(), dir, ln.Addr())

	limited, stop := context.WithTimeout(r.ctx, demoTime)
	defer stop()
	ok, err := playDemo(limited, client.New(a.URL(), cfg.AdminKey, client.WithUserAgent("qhook-demo")), rec, "http://"+ln.Addr().String())
	if err != nil {
		return err
	}
	if d.Exit {
		if !ok {
			return errFailed
		}
		return nil
	}
	printNext(out, a.URL(), cfg.AdminKey)
	return waitApp(r.ctx, a)
}

// playDemo registers, publishes, waits and compares. It is true when everything arrived, verified and is on record.
func playDemo(ctx context.Context, c *client.Client, rec *demoReceiver, base string) (bool, error) {
	hooks, err := registerDemo(ctx, c, rec, base)
	if err != nil {
		return false, err
	}
	types, err := c.EventTypes(ctx)
	if err != nil {
		return false, fmt.Errorf("read the event types: %w", err)
	}
	fmt.Fprintf(rec.out, "\nPublishing the %d event types, one event each. Every request that arrives at the receiver:\n\n", len(types))
	var published []client.Published
	for _, et := range types {
		p, err := c.Publish(ctx, exampleOf(et))
		if err != nil {
			return false, fmt.Errorf("publish %s: %w", et.Type, err)
		}
		p.Type = et.Type
		published = append(published, p)
	}
	records, err := awaitDemo(ctx, c, published, len(hooks))
	if err != nil {
		return false, err
	}
	return rec.summary(published, hooks, records), nil
}

// registerDemo creates the POST and the GET webhook and tells the receiver what to expect.
func registerDemo(ctx context.Context, c *client.Client, rec *demoReceiver, base string) ([]demoHook, error) {
	fast := []client.Duration{client.Duration(time.Second), client.Duration(2 * time.Second), client.Duration(4 * time.Second)}
	basic := &client.Auth{Type: client.AuthBasic, Username: "demo", Password: rand.Text()}
	apiKey := &client.Auth{Type: client.AuthAPIKey, Header: "X-Demo-Key", Value: rand.Text()}
	getKey := signature.GenerateKey()
	post := client.NewWebhook{URL: base + "/post", Method: http.MethodPost, EventTypes: []string{"**"}, Auth: basic,
		Headers: []client.Header{{Name: "X-Demo-System", Value: "crm"}}, GenerateSigningKey: true,
		Description: "demo: POST", RetrySchedule: fast}
	get := client.NewWebhook{URL: base + "/get?source=demo", Method: http.MethodGet,
		EventTypes: []string{"qap.investor.*", "qap.investor.advice.**"}, Auth: apiKey, SigningKey: getKey,
		Description: "demo: GET", RetrySchedule: fast}

	var hooks []demoHook
	for _, n := range []client.NewWebhook{post, get} {
		w, err := c.CreateWebhook(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("create the %s webhook: %w", n.Method, err)
		}
		key := n.SigningKey
		if n.GenerateSigningKey {
			key = w.SigningKey
		}
		h := demoHook{ID: w.ID, Method: n.Method, key: key, header: http.Header{}}
		for _, x := range n.Headers {
			h.header.Set(x.Name, x.Value)
		}
		if n.Auth.Type == client.AuthBasic {
			h.username, h.password = n.Auth.Username, n.Auth.Password
		} else {
			h.header.Set(n.Auth.Header, n.Auth.Value)
		}
		rec.expect(h)
		hooks = append(hooks, h)
		fmt.Fprintf(rec.out, "Webhook %s: %s %s for %v, authentication %s, signed.\n", w.ID, w.Method, w.URL, w.EventTypes, n.Auth.Type)
	}
	return hooks, nil
}

// awaitDemo waits until no delivery waits any more and returns them; when ctx ends, as they are then.
func awaitDemo(ctx context.Context, c *client.Client, published []client.Published, hooks int) ([]client.Delivery, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		page, err := c.Deliveries(ctx, client.DeliveryQuery{Limit: 100})
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("read the deliveries: %w", err)
		}
		waiting := 0
		for _, d := range page.Deliveries {
			if d.Status == client.StatusWaiting {
				waiting++
			}
		}
		if err == nil && waiting == 0 && len(page.Deliveries) >= len(published)*hooks {
			return page.Deliveries, nil
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			page, err = c.Deliveries(last, client.DeliveryQuery{Limit: 100})
			return page.Deliveries, err
		case <-tick.C:
		}
	}
}

func printNext(out *lockedWriter, url, key string) {
	fmt.Fprintf(out, `
It stays up; Ctrl-C ends it and removes its data. What to try next, in another terminal:

    export QHOOK_URL=%[1]s QHOOK_KEY=%[2]s
    curl -s -H "Authorization: Bearer $QHOOK_KEY" $QHOOK_URL/v1/deliveries
    curl -s -H "Authorization: Bearer $QHOOK_KEY" -H 'Content-Type: application/json' $QHOOK_URL/v1/events \
      -d '{"type":"qap.investor.created","object_id":"inv-1","object_owner_id":"adv-1","owner_id":"adv-1","data":{"investor_name":"Jane Doe"}}'
    qhook trigger qap.investor.advice.completed
    qhook listen --port 9000        and register http://127.0.0.1:9000/ as a webhook:
    curl -s -H "Authorization: Bearer $QHOOK_KEY" -H 'Content-Type: application/json' $QHOOK_URL/v1/webhooks \
      -d '{"url":"http://127.0.0.1:9000/","method":"POST","event_types":["**"],"generate_signing_key":true}'

`, url, key)
}
