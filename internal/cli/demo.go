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

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/demo"
	"github.com/quantfolio/qhook/internal/inbox"
)

const demoTime = 30 * time.Second // bounds the demo's own part

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
	out := &inbox.LockedWriter{W: r.stdout}
	rec := demo.NewReceiver(out)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx)) // the receiver outlives the server's stop
	ended := make(chan error, 1)                                    // sent once by the goroutine below, never closed
	go func() {
		ended <- inbox.ServeUntil(ctx, &http.Server{Handler: rec, ReadHeaderTimeout: 10 * time.Second}, ln)
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()

	cfg := app.Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(dir, "data"), AdminKey: "qhook-demo-" + rand.Text() + rand.Text(),
		AllowNetwork: []string{"127.0.0.0/8",
			"::1/128"}, AllowHTTP: true, Advisory: true, UndeleteTime: 720 * time.Hour,
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
	s, err := demo.Found(limited, a.URL(), cfg.AdminKey, rec)
	if err != nil {
		return err
	}
	ok, err := s.Run(limited, "http://"+ln.Addr().String())
	if err != nil {
		return err
	}
	if d.Exit {
		if !ok {
			return errFailed
		}
		return nil
	}
	s.PrintNext(a.URL())
	return waitApp(r.ctx, a)
}
