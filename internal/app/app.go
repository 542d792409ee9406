// Package app builds the parts of a node from its settings and ties them together. It is the one package that names a
// concrete store. It never handles a request. Start at New.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/api"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/live"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/server"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/ui"
	"github.com/quantfolio/qhook/internal/webhook"
)

// DefaultTenant is the tenant that the first start makes.
const DefaultTenant = "default"

// Version is the product's version; the build sets it.
var Version = "dev"

// App is one node. Make it with New, then Start, then Stop.
type App struct {
	cfg      Config
	log      *slog.Logger
	store    store.Store
	shared   *postgres.DB // the store, when it is shared by nodes; else nil
	guard    *netguard.Guard
	sender   *attempt.Sender
	registry *prometheus.Registry
	engine   engines

	advisory     *advisory.Service // nil: not served
	live         live.Hub
	api, metrics *http.Server
	listener     net.Listener
	firstKey     string
	firstLink    string
	fatal        chan error    // capacity 1: sent to by whatever must end the process, the first one stays; never closed
	stopped      chan struct{} // closed by Stop
	background   sync.WaitGroup
	stopOnce     sync.Once
	stopErr      error
}

// New opens the data folder and builds the parts; nothing listens yet.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*App, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, log: log, fatal: make(chan error, 1), stopped: make(chan struct{})}
	if err := a.buildGuard(); err != nil {
		return nil, err
	}
	if err := a.openStore(ctx); err != nil {
		return nil, err
	}
	a.sender = attempt.New(attempt.Config{Guard: a.guard, MaxIdlePerHost: cfg.Concurrency, UserAgent: "Quantfolio-Webhooks/1"})
	a.registry = prometheus.NewRegistry()
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.exportStats()
	a.engine.Store(a.newEngine())
	if cfg.Advisory {
		a.advisory = advisory.New(advisory.Config{Engine: &a.engine, Store: a.store, Logger: log, Retention: cfg.UndeleteTime})
	}
	h, err := api.New(api.Config{Engine: &a.engine, Store: a.store, Guard: a.guard, Advisory: a.advisory, Live: &a.live, Stopping: a.stopped, Logger: log, Version: Version})
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})
	sc := server.Config{API: h, Ready: a.store.Ping, Logger: log}
	if cfg.MetricsListen == "" {
		sc.Metrics = metrics
	} else {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		a.metrics = server.HTTPServer(server.Recovered(log, mux))
	}
	if sc.Dashboard, err = ui.New(ui.Config{API: server.Recovered(log, h), Logger: log, EmbedIn: cfg.EmbedIn}); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.api = server.HTTPServer(server.Handler(sc))
	return a, nil
}

func (a *App) buildGuard() error {
	allow, err := networks("allow-network", a.cfg.AllowNetwork)
	if err != nil {
		return err
	}
	deny, err := networks("deny-network", a.cfg.DenyNetwork)
	if err != nil {
		return err
	}
	egress, err := proxy(a.cfg.EgressProxy)
	if err != nil {
		return err
	}
	a.guard, err = netguard.New(netguard.Config{
		Allow: allow, Deny: deny, AllowHTTP: a.cfg.AllowHTTP, NAT64: a.cfg.NAT64, EgressProxy: egress,
	})
	return err
}

func (a *App) openStore(ctx context.Context) error {
	var err error
	if a.cfg.Database != "" {
		err = a.openShared(ctx)
	} else {
		err = a.openFile(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.firstStart(ctx); err != nil {
		return errors.Join(err, a.store.Close())
	}
	return nil
}

func (a *App) openFile(ctx context.Context) error {
	if err := os.MkdirAll(a.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	ring, err := a.keyring()
	if err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(a.cfg.Data, "qhook.db"), Keyring: ring, Logger: a.log})
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	a.store = db
	return nil
}

func (a *App) keyring() (*webhook.Keyring, error) {
	if a.cfg.MasterKeyset != "" {
		return webhook.ParseKeyring([]byte(a.cfg.MasterKeyset))
	}
	return webhook.LoadOrCreateKeyring(filepath.Join(a.cfg.Data, "master.key"))
}

// firstStart makes what is missing: the default tenant, and the operator's key.
func (a *App) firstStart(ctx context.Context) error {
	now := time.Now().UTC()
	err := a.store.CreateTenant(ctx, store.Tenant{ID: DefaultTenant, Name: "Default", CreatedAt: now})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("make the default tenant: %w", err)
	}
	keys, err := a.store.ListAPIKeys(ctx, "")
	if err != nil {
		return fmt.Errorf("read the operator's keys: %w", err)
	}
	if a.cfg.AdminKey != "" {
		_, k := api.NewAPIKey("", store.Operator, configured, now)
		k.Hash = api.HashKey(a.cfg.AdminKey)
		if err := a.store.CreateAPIKey(ctx, k); err != nil && !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("write the configured admin key: %w", err)
		}
		if len(keys) == 0 {
			if err := a.makeFirstLink(ctx, k.ID, now); err != nil {
				return err
			}
		}
		return a.dropConfigured(ctx, k.Hash)
	}
	if len(keys) > 0 {
		return nil
	}
	plain, k := api.NewAPIKey("", store.Operator, "first start", now)
	if err := a.store.CreateAPIKey(ctx, k); err != nil {
		return fmt.Errorf("write the first admin key: %w", err)
	}
	a.firstKey = plain
	return a.makeFirstLink(ctx, k.ID, now)
}

// makeFirstLink makes the link that the operator signs in to the dashboard with.
func (a *App) makeFirstLink(ctx context.Context, parent string, now time.Time) error {
	token, link := api.FirstLink(parent, now)
	if err := a.store.CreateAPIKey(ctx, link); err != nil && !errors.Is(err, store.ErrNotFound) { // another node was first
		return fmt.Errorf("write the first sign-in link: %w", err)
	} else if err == nil {
		a.firstLink = api.LinkPath(token)
	}
	return nil
}

// configured is the name of the operator's key that comes from the settings.
const configured = "configured"

// dropConfigured removes the keys that the settings had before, so that changing the setting ends the old key.
func (a *App) dropConfigured(ctx context.Context, current [32]byte) error {
	keys, err := a.store.ListAPIKeys(ctx, "")
	if err != nil {
		return fmt.Errorf("read the operator's keys: %w", err)
	}
	for _, k := range keys {
		if k.Name != configured || k.Hash == current {
			continue
		}
		if err := a.store.DeleteAPIKey(ctx, "", k.ID); err != nil {
			return fmt.Errorf("remove the admin key configured before: %w", err)
		}
	}
	return nil
}

// FirstAdminKey is the operator's key if this start made it; it cannot be read again later.
func (a *App) FirstAdminKey() string { return a.firstKey }

// FirstLink is the path of a page that signs the operator in once, if this was the first start.
func (a *App) FirstLink() string { return a.firstLink }

// Start listens, recovers and begins to deliver.
func (a *App) Start(ctx context.Context) error {
	l, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	a.listener = l
	ports := []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}
	var ml net.Listener
	if a.metrics != nil {
		if ml, err = net.Listen("tcp", a.cfg.MetricsListen); err != nil {
			return errors.Join(fmt.Errorf("listen for metrics: %w", err), l.Close())
		}
		ports = append(ports, uint16(ml.Addr().(*net.TCPAddr).Port))
	}
	a.guard.SetSelfPorts(ports...)
	if err := a.startEngine(ctx, a.engine.Load()); err != nil {
		return errors.Join(err, l.Close())
	}
	if a.shared != nil {
		a.watch()
	}
	if a.advisory != nil {
		a.advisory.Start()
	}
	a.serve(a.api, l)
	if ml != nil {
		a.serve(a.metrics, ml)
	}
	a.log.Info("started", "url", a.URL(), "version", Version)
	return nil
}

func (a *App) serve(s *http.Server, l net.Listener) {
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve: %w", err))
		}
	}()
}

// URL is where the HTTP API is, once started.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// fail ends Wait; the first error stays. Being fenced is no end: the node joins again.
func (a *App) fail(err error) {
	if a.shared != nil && errors.Is(err, store.ErrFenced) {
		a.background.Go(a.rejoin)
		return
	}
	select {
	case a.fatal <- err:
	default:
	}
}

// Wait blocks until Stop (nil) or until something happens that must end the process.
func (a *App) Wait() error {
	select {
	case <-a.stopped:
		return nil
	case err := <-a.fatal:
		return err
	}
}

// Stop ends the node within ctx and the configured time: first no new requests, then what is under way is finished or
// broken off, then the store is closed. Safe to call twice and unstarted.
func (a *App) Stop(ctx context.Context) error {
	a.stopOnce.Do(func() {
		close(a.stopped)
		ctx, cancel := context.WithTimeout(ctx, a.cfg.StopTimeout)
		defer cancel()
		errs := []error{a.api.Shutdown(ctx)}
		if a.metrics != nil {
			errs = append(errs, a.metrics.Shutdown(ctx))
		}
		if a.advisory != nil {
			a.advisory.Stop()
		}
		a.background.Wait() // ended by a.stopped
		errs = append(errs, a.engine.Load().Stop(ctx))
		a.sender.Close()
		a.stopErr = errors.Join(append(errs, a.store.Close())...)
	})
	return a.stopErr
}

// disable persists that a webhook is disabled; it does nothing to one that is disabled or deleted already.
func (a *App) disable(ctx context.Context, num int64, reason string) error {
	for {
		w, err := a.store.WebhookByNum(ctx, num)
		if err != nil {
			return fmt.Errorf("find the webhook: %w", err)
		}
		if !w.Enabled || w.Deleted() {
			return nil
		}
		w.Enabled, w.DisabledReason, w.UpdatedAt = false, reason, time.Now().UTC()
		err = a.store.UpdateWebhook(ctx, w)
		if errors.Is(err, store.ErrVersion) {
			continue // changed meanwhile; look again
		}
		if err != nil {
			return fmt.Errorf("disable webhook %s: %w", w.ID, err)
		}
		a.log.Warn("webhook disabled", "webhook", w.ID, "reason", reason)
		return a.engine.SetWebhook(w)
	}
}
