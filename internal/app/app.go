// Package app builds the parts of a node from its settings and ties them together. It is the one package that names a
// concrete store. It never handles a request. Start at New.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
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

	shares   shares
	advisory *advisory.Service // nil: not served
	live     live.Hub

	keepTenants func(context.Context) error
	api         *http.Server
	conns       *server.Conns
	secure      *tls.Config  // nil: plain http
	metrics     *http.Server // nil: the API serves them
	firstKey    string
	firstLink   string
	*life
}

// New opens the data folder and builds the parts; nothing listens yet.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*App, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, log: log, life: newLife()}
	if err := a.share(); err != nil {
		return nil, err
	}
	if err := a.buildGuard(); err != nil {
		return nil, err
	}
	if err := a.openStore(ctx); err != nil {
		return nil, err
	}
	sending := attempt.Config{Guard: a.guard, MaxIdlePerHost: cfg.Concurrency, MaxIdle: a.shares.kept,
		UserAgent: "Quantfolio-Webhooks/1", SmallHello: cfg.TLSSmallHello}
	if cfg.CAFile != "" {
		t := &trust{file: cfg.CAFile, log: log}
		if err := t.load(); err != nil {
			return nil, errors.Join(err, a.store.Close())
		}
		sending.Roots = t.roots
	}
	a.sender = attempt.New(sending)
	a.registry = prometheus.NewRegistry()
	a.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.exportStats()
	a.exportProxy()
	a.engine.Store(a.newEngine())
	if cfg.Advisory {
		a.advisory = advisory.New(advisory.Config{Engine: &a.engine, Store: a.store, Logger: log,
			Retention: cfg.UndeleteTime})
	}
	h, err := api.New(api.Config{Engine: &a.engine, Store: a.store, Guard: a.guard, Advisory: a.advisory, Live: &a.live,
		Stopping: a.stopped.Done(), Logger: log, Version: Version, Background: a.goBackground,
		DocsNeedKey: cfg.DocsNeedKey, Sender: cfg.publicName(), Limits: cfg.limits(), Limited: a.countLimits(),
		TenantGrace: cfg.TenantGrace})
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})
	a.keepTenants = h.KeepTenants
	a.conns = server.NewConns(a.shares.incoming)
	sc := server.Config{API: h, Ready: a.ready, Serving: a.serving.Load, Closing: a.closing, Logger: log,
		Host: cfg.publicHost(), TLS: cfg.overTLS()}
	if cfg.MetricsListen == "" && cfg.loopback() {
		sc.Metrics = metrics
	} else if cfg.MetricsListen != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		a.metrics = server.HTTPServer(server.Recovered(log, mux))
	}
	sc.Dashboard, err = ui.New(ui.Config{API: h, Logger: log, EmbedIn: cfg.EmbedIn, PublicURL: cfg.PublicURL,
		TLS: cfg.overTLS()})
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.api = server.HTTPServer(server.Handler(sc))
	if a.secure, err = a.tlsConfig(); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.warnOfDoors()
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
		ProxyTold: func(down bool) {
			if down {
				a.log.Error("the egress proxy gives no connections: deliveries wait, and spend no attempts")
			} else {
				a.log.Info("the egress proxy gives connections again")
			}
		},
	})
	return err
}

// exportProxy has the metrics tell how the egress proxy is.
func (a *App) exportProxy() {
	if a.cfg.EgressProxy == "" {
		return
	}
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "qhook_egress_proxy_up",
		Help: "1 while the egress proxy gives connections, 0 while it serves nobody."}, func() float64 {
		if down, _ := a.guard.ProxyState(); down {
			return 0
		}
		return 1
	}), prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "qhook_egress_proxy_failures_total",
		Help: "Connections that the egress proxy did not give."}, func() float64 {
		_, n := a.guard.ProxyState()
		return float64(n)
	}))
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
	keys, err := a.store.ListAPIKeys(ctx, "", store.KindAPIKey, time.Time{}, 0, math.MaxInt32)
	if err != nil {
		return fmt.Errorf("read the operator's keys: %w", err)
	}
	if a.unused(keys, now) { // what an earlier start made was perhaps never seen: it is made anew, and shown again
		for _, k := range keys {
			if err := a.store.DeleteAPIKey(ctx, "", k.ID, true); err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("remove the first admin key, which nobody used: %w", err)
			}
		}
		keys = nil
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
	plain, k := api.NewAPIKey("", store.Operator, firstName, now)
	if err := a.store.CreateAPIKey(ctx, k); err != nil {
		return fmt.Errorf("write the first admin key: %w", err)
	}
	a.firstKey = plain
	return a.makeFirstLink(ctx, k.ID, now)
}

// firstName is the name of the operator's key that the first start makes.
const firstName = "first start"

// unused tells whether all that gives an operator access is what earlier starts made, and nobody used it. On a database
// that nodes share, another node's may just be shown.
func (a *App) unused(keys []store.APIKey, now time.Time) bool {
	for _, k := range keys {
		if k.Name != firstName && k.Name != configured || !k.UsedAt.IsZero() ||
			a.cfg.Database != "" && now.Sub(k.CreatedAt) < time.Minute {
			return false
		}
	}
	return true
}

// makeFirstLink makes the link that the operator signs in to the dashboard with.
func (a *App) makeFirstLink(ctx context.Context, parent string, now time.Time) error {
	token, link := api.FirstLink(parent, now)
	if err := a.store.CreateAPIKey(ctx, link); err != nil &&
		!errors.Is(err, store.ErrNotFound) { // another node was first
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
	keys, err := a.store.ListAPIKeys(ctx, "", store.KindAPIKey, time.Time{}, 0, math.MaxInt32)
	if err != nil {
		return fmt.Errorf("read the operator's keys: %w", err)
	}
	for _, k := range keys {
		if k.Name != configured || k.Hash == current {
			continue
		}
		if err := a.store.DeleteAPIKey(ctx, "", k.ID, true); err != nil {
			return fmt.Errorf("remove the admin key configured before: %w", err)
		}
	}
	return nil
}

// FirstAdminKey is the operator's key if this start made it; it cannot be read again later.
func (a *App) FirstAdminKey() string { return a.firstKey }

// FirstLink is the path of a page that signs the operator in once, if this was the first start.
func (a *App) FirstLink() string { return a.firstLink }

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
