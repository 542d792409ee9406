package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/inbox"
	"github.com/quantfolio/qhook/internal/relay"
	srv "github.com/quantfolio/qhook/internal/server"
	"github.com/quantfolio/qhook/outbox"
)

type relayCmd struct {
	Schema        bool          `help:"Print the SQL that makes the outbox, and end."`
	Source        string        `secret:"" help:"The platform's PostgreSQL, which has the outbox: postgres://…, with every option of libpq." env:"QHOOK_SOURCE" placeholder:"URL"`
	URL           string        `default:"http://127.0.0.1:8080" help:"The server." env:"QHOOK_URL" placeholder:"URL"`
	Key           string        `secret:"" help:"An API key that may publish; the operator's for rows of several tenants." env:"QHOOK_KEY" placeholder:"KEY"`
	MetricsListen string        `help:"Serve /metrics, /livez and /readyz on this address." placeholder:"ADDR"`
	Poll          time.Duration `default:"1s" help:"How often to look for rows without a notification."`
	Batch         int           `default:"500" help:"The most events of one request, up to 1000."`
	LogFormat     string        `help:"Log format." enum:"text,json" default:"text"`
	LogLevel      string        `help:"Least level that is logged." enum:"debug,info,warn,error" default:"info"`
}

// Help is the long help of relay.
func (relayCmd) Help() string {
	return `Moves the events that a platform wrote into the outbox of its own PostgreSQL to the server: in order, each once. It runs
until SIGTERM, SIGINT or SIGHUP, waits for whatever is away, and may be killed at any time. Of several on one outbox only one
works; the others take over when it ends.

Examples:

    qhook relay --schema | psql "$DATABASE_URL"      make the outbox
    export QHOOK_SOURCE=postgres://… QHOOK_KEY=…
    qhook relay --metrics-listen 127.0.0.1:9090`
}

// Run moves rows until a signal.
func (c *relayCmd) Run(r *run) error {
	if c.Schema {
		r.printf("%s", outbox.Schema)
		return nil
	}
	if c.Source == "" {
		return usageError("the PostgreSQL with the outbox is needed: --source or QHOOK_SOURCE")
	}
	if c.Key == "" {
		return usageError("an API key is needed: --key or QHOOK_KEY")
	}
	log := newLogger(r.stderr, app.Config{LogFormat: c.LogFormat, LogLevel: c.LogLevel})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	rel, err := relay.New(relay.Config{
		Source: c.Source, URL: c.URL, Key: c.Key, Poll: c.Poll, Batch: c.Batch, Logger: log, Registerer: registry,
	})
	if err != nil {
		return usageError(err.Error())
	}
	if c.MetricsListen == "" {
		rel.Run(r.ctx)
		return nil
	}
	ln, err := net.Listen("tcp", c.MetricsListen)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	log.Info("serving metrics", "address", ln.Addr().String())
	h := srv.HTTPServer(srv.Handler(srv.Config{
		API: http.NotFoundHandler(), Ready: rel.Ready, Metrics: promhttp.HandlerFor(registry,
			promhttp.HandlerOpts{}), Logger: log,
	}))
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	moved := make(chan struct{}) // closed by the goroutine below when it has ended
	go func() { rel.Run(ctx); close(moved) }()
	err = inbox.ServeUntil(ctx, h, ln)
	cancel()
	<-moved
	return err
}
