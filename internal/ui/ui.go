package ui

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/klauspost/compress/gzhttp"

	"github.com/quantfolio/qhook/client"
)

// Config is what the dashboard is made of. API is required; the rest works as zero.
type Config struct {
	API    API
	Logger *slog.Logger
	// EmbedIn are origins, such as https://portal.example.com, whose pages may show the dashboard in a frame; none:
	// nobody may.
	EmbedIn []string
	// PublicURL is what links to the dashboard begin with; empty: what the browser says.
	PublicURL string
	TLS       bool // browsers always come over TLS
}

// API makes the calls of a key, for a tenant that an operator names, from a visitor's address.
type API interface {
	Session(key, tenant, remote string) client.API
}

// UI is the dashboard. It answers every path that New's handler is given.
type UI struct {
	cfg    Config
	log    *slog.Logger
	policy string
	mux    *http.ServeMux
	pages  pages
	once   once
}

// New makes the dashboard's handler.
func New(cfg Config) (http.Handler, error) {
	if cfg.API == nil {
		return nil, errors.New("the dashboard needs the API")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	for _, origin := range cfg.EmbedIn {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || strings.ContainsAny(origin, " ;,'") || u.Path != "" {
			return nil, fmt.Errorf("%q is not an origin such as https://portal.example.com", origin)
		}
	}
	u := &UI{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), policy: policy(cfg.EmbedIn)}
	var err error
	if u.pages, err = newPages(); err != nil {
		return nil, err
	}
	if err := u.assets(); err != nil {
		return nil, err
	}
	u.routes()
	zip, err := gzhttp.NewWrapper(gzhttp.MinSize(1024), gzhttp.ContentTypes([]string{"text/html"}))
	if err != nil {
		return nil, fmt.Errorf("compress pages: %w", err)
	}
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.fail(&visit{w: w, r: r}, http.StatusForbidden, "This request came from another site, so nothing was done. "+
			"Open the dashboard itself and try again.")
	}))
	return zip(u.secured(crossOrigin.Handler(u.mux))), nil
}

// policy allows this host's files and nothing else: no script or style within a page, no other host.
func policy(embedIn []string) string {
	ancestors := "'none'"
	if len(embedIn) > 0 {
		ancestors = "'self' " + strings.Join(embedIn, " ")
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors " + ancestors
}

func (u *UI) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", u.policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// visit is one request of somebody who is signed in, unless c is nil.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	c      client.API
	caller client.Caller
	tenant string // that the page is about
}

// handle shows a page or does something; its error becomes a page that says what to do.
type handle func(*visit) error

// routes are all paths of the dashboard.
func (u *UI) routes() {
	u.mux.HandleFunc("GET /{$}", u.home)
	u.mux.HandleFunc("GET /sign-in", u.showSignIn)
	u.mux.HandleFunc("POST /sign-in", u.signIn)
	u.mux.HandleFunc("POST /sign-out", u.signOut)
	u.mux.HandleFunc("GET /session", u.signedInStill)
	u.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.fail(&visit{w: w, r: r}, http.StatusNotFound, "There is nothing at this address.")
	})
	u.mux.HandleFunc("GET /go", u.switchTenant)

	for pattern, h := range map[string]handle{
		"GET /t/{tenant}/{$}": u.overview,

		"GET /t/{tenant}/webhooks":              u.webhooks,
		"GET /t/{tenant}/webhooks/new":          u.newWebhook,
		"POST /t/{tenant}/webhooks/new":         u.createWebhook,
		"POST /t/{tenant}/webhooks/preview":     u.previewWebhook,
		"GET /t/{tenant}/webhooks/{id}":         u.webhook,
		"GET /t/{tenant}/webhooks/{id}/edit":    u.editWebhook,
		"POST /t/{tenant}/webhooks/{id}/edit":   u.updateWebhook,
		"POST /t/{tenant}/webhooks/{id}/pause":  u.pauseWebhook,
		"GET /t/{tenant}/webhooks/{id}/delete":  u.confirmDelete,
		"POST /t/{tenant}/webhooks/{id}/delete": u.deleteWebhook,
		"GET /t/{tenant}/webhooks/{id}/key":     u.signingKey,
		"POST /t/{tenant}/webhooks/{id}/key":    u.rotateKey,
		"GET /t/{tenant}/webhooks/{id}/test":    u.tryWebhook,
		"POST /t/{tenant}/webhooks/{id}/test":   u.testWebhook,
		"GET /t/{tenant}/webhooks/{id}/verify":  u.verifyWebhook,

		"GET /t/{tenant}/events":      u.events,
		"GET /t/{tenant}/events/{id}": u.event,

		"GET /t/{tenant}/deliveries":             u.deliveries,
		"GET /t/{tenant}/deliveries/retry":       u.confirmRetry,
		"POST /t/{tenant}/deliveries/retry":      u.retryMany,
		"GET /t/{tenant}/deliveries/{id}":        u.delivery,
		"POST /t/{tenant}/deliveries/{id}/retry": u.retry,

		"GET /t/{tenant}/live":        u.live,
		"GET /t/{tenant}/live/stream": u.liveStream,

		"GET /t/{tenant}/types":          u.types,
		"POST /t/{tenant}/types/publish": u.publishExample,

		"GET /t/{tenant}/platform":                        u.platform,
		"GET /t/{tenant}/platform/watch":                  u.platformWatch,
		"POST /t/{tenant}/platform/advisors":              u.createAdvisor,
		"POST /t/{tenant}/platform/investors":             u.createInvestor,
		"GET /t/{tenant}/platform/investors/{id}":         u.investor,
		"POST /t/{tenant}/platform/investors/{id}":        u.changeInvestor,
		"POST /t/{tenant}/platform/sessions":              u.createSession,
		"GET /t/{tenant}/platform/sessions/{id}":          u.session,
		"POST /t/{tenant}/platform/sessions/{id}":         u.changeSession,
		"GET /t/{tenant}/platform/sessions/{id}/{report}": u.report,

		"GET /t/{tenant}/access":         u.access,
		"POST /t/{tenant}/access/keys":   u.createKey,
		"POST /t/{tenant}/access/delete": u.deleteKey,
		"POST /t/{tenant}/access/links":  u.createLink,

		"GET /t/{tenant}/tenants":  u.tenants,
		"POST /t/{tenant}/tenants": u.createTenant,

		"POST /t/{tenant}/tenants/turn": u.turnTenant,
	} {
		u.mux.HandleFunc(pattern, u.signedIn(h))
	}
}
