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

const (
	demoTime = 30 * time.Second // bounds the demo's own part
	stepTime = 5 * time.Second  // bounds the wait for what one change triggers, the failed request's retry included
)

type demoCmd struct {
	Database string `help:"Play it on this PostgreSQL database in place of a file; it should be an empty one." placeholder:"URL"`
	Exit     bool   `help:"End by itself: 0 only if exactly the events arrived that the changes had to trigger, and are on record as they were seen."`
}

// Help is the long help of demo.
func (demoCmd) Help() string {
	return `Starts a server on a temporary folder and a receiver that verifies signatures, registers a POST and a GET webhook, and
plays a small advisory firm: its advisors and investors, their advice sessions and reports. Their changes trigger all
nine event types. It lets the receiver fail once, prints every request as it arrives, and checks each. Without --exit
it stays up and says what to try next.`
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
		AllowNetwork: []string{"127.0.0.0/8", "::1/128"}, AllowHTTP: true, Advisory: true, UndeleteTime: 720 * time.Hour,
		Retention: 720 * time.Hour, Concurrency: 32, StopTimeout: 20 * time.Second, LogFormat: "text", LogLevel: "error",
	}
	if d.Database != "" {
		cfg.Database, cfg.DatabasePool = d.Database, 8
		if cfg.MasterKeyset, err = app.NewMasterKeyset(dir); err != nil {
			return err
		}
	}
	a, err := app.New(r.ctx, cfg, newLogger(r.stderr, cfg))
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer func() { err = errors.Join(err, stopApp(r.ctx, a)) }()
	if err := a.Start(context.WithoutCancel(r.ctx)); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	fmt.Fprintf(out, "A server on %s, its data in\n%s,\nand a receiver on http://%s.\n\n", a.URL(), dir, ln.Addr())

	limited, stop := context.WithTimeout(r.ctx, demoTime)
	defer stop()
	s, err := foundFirm(limited, a.URL(), cfg.AdminKey, rec)
	if err != nil {
		return err
	}
	ok, err := s.run(limited, "http://"+ln.Addr().String())
	if err != nil {
		return err
	}
	if d.Exit {
		if !ok {
			return errFailed
		}
		return nil
	}
	s.printNext(a.URL())
	return waitApp(r.ctx, a)
}

// run registers, plays, waits and compares. It is true when all is as it must be.
func (s *demoStory) run(ctx context.Context, base string) (bool, error) {
	if err := s.register(ctx, base); err != nil {
		return false, err
	}
	types, err := s.firm.EventTypes(ctx)
	if err != nil {
		return false, fmt.Errorf("read the event types: %w", err)
	}
	if err := s.play(ctx); err != nil {
		return false, err
	}
	records, err := awaitRecords(ctx, s.firm.Client)
	if err != nil {
		return false, err
	}
	return s.rec.summary(types, records), nil
}

// register creates the POST and the GET webhook and tells the receiver what to expect.
func (s *demoStory) register(ctx context.Context, base string) error {
	fast := []client.Duration{client.Duration(time.Second), client.Duration(2 * time.Second), client.Duration(4 * time.Second)}
	basic := &client.Auth{Type: client.AuthBasic, Username: "demo", Password: rand.Text()}
	apiKey := &client.Auth{Type: client.AuthAPIKey, Header: "X-Demo-Key", Value: rand.Text()}
	post := client.NewWebhook{URL: base + "/post", Method: http.MethodPost, EventTypes: []string{"**"}, Auth: basic,
		Headers: []client.Header{{Name: "X-Demo-System", Value: "crm"}}, GenerateSigningKey: true,
		Description: "demo: POST", RetrySchedule: fast}
	get := client.NewWebhook{URL: base + "/get?source=demo", Method: http.MethodGet,
		EventTypes: []string{"qap.investor.*", "qap.investor.advice.**"}, Auth: apiKey, SigningKey: signature.GenerateKey(),
		Description: "demo: GET", RetrySchedule: fast}

	for _, n := range []client.NewWebhook{post, get} {
		w, err := s.firm.CreateWebhook(ctx, n)
		if err != nil {
			return fmt.Errorf("create the %s webhook: %w", n.Method, err)
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
		s.rec.register(h)
		fmt.Fprintf(s.rec.out, "Webhook %s: %s %s\n    for %v, authentication %s, signed.\n", w.ID, w.Method, w.URL, w.EventTypes, n.Auth.Type)
	}
	return nil
}

// awaitRecords waits until no delivery waits any more, for stepTime at most, and returns them.
func awaitRecords(ctx context.Context, c *client.Client) ([]client.Delivery, error) {
	for end := time.Now().Add(stepTime); ; time.Sleep(20 * time.Millisecond) {
		page, err := c.Deliveries(ctx, client.DeliveryQuery{Limit: 200})
		if err != nil {
			return nil, fmt.Errorf("read the deliveries: %w", err)
		}
		waiting := false
		for _, d := range page.Deliveries {
			waiting = waiting || d.Status == client.StatusWaiting
		}
		if !waiting || time.Now().After(end) {
			return page.Deliveries, nil
		}
	}
}
