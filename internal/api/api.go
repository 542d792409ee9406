package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/budget"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/live"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Limits of a request.
const (
	// storeTime bounds what a request waits for the store, also when the database hangs.
	storeTime = 5 * time.Second

	MaxHeaders   = 100       // header lines
	MaxBatchBody = 8 << 20   // bytes of a batch of events
	maxBody      = 256 << 10 // bytes of any other body but an event's
	maxDepth     = 16        // nesting of a body that is no event
)

// Engine is what the API needs of the way of the data; *engine.Engine is one.
type Engine interface {
	// Accept returns after the events are committed, all or none. Errors: *store.ConflictError, store.ErrFull,
	// engine.ErrStopping; nothing was accepted then.
	Accept(ctx context.Context, tenant string, evs []event.Event) ([]engine.Receipt, error)
	// SetWebhook is called after every stored change of a webhook. After an error the engine goes on with what it had.
	SetWebhook(w *webhook.Webhook) error
	// RetryNow makes the delivery due at once. Errors: store.ErrNotFound, the webhook is unknown to the engine.
	RetryNow(ctx context.Context, key store.DeliveryKey) error
	// Test sends an event at once and outside the journal. An error says that no request could be built; what a
	// request came to is in the result.
	Test(ctx context.Context, w *webhook.Webhook, ev event.Event) (attempt.Result, attempt.Preview, error)
	// Consent asks the webhook's target whether requests of the sender, a DNS name, are welcome; likewise.
	Consent(ctx context.Context, w *webhook.Webhook, sender string) (attempt.Result, error)
	// Webhooks is how many a tenant has.
	Webhooks(tenant string) int
	// SameTarget has the IDs of the tenant's other webhooks with the webhook's URL and method.
	SameTarget(w *webhook.Webhook) []string
}

// Guard judges a webhook's target when it is saved; *netguard.Guard is one.
type Guard interface {
	// CheckTarget fails when a connection to the target would be refused, as far as its name has not to be looked up.
	CheckTarget(host string, port uint16, plainHTTP bool) error
	// ProxyState tells whether the sender's way out gives no connections.
	ProxyState() (down bool, failures int64)
}

// Config is what the API is made of. Engine, Store and Guard are required; the rest works as zero.
type Config struct {
	Engine Engine
	Store  store.Store
	Guard  Guard

	Live     *live.Hub         // told of attempts; nil: there are none to watch
	Stopping <-chan struct{}   // closed when streams have to end; nil: never
	Advisory *advisory.Service // nil: the advisory platform is not served
	Logger   *slog.Logger
	Now      func() time.Time // default time.Now
	Version  string           // of the product, for the OpenAPI document
	Limits   *Limits          // of each tenant; nil: DefaultLimits
	Limited  func(string)     // told of each time that a limit is met, with its name; may be nil
	Bodies   *budget.Budget   // what the bodies of requests take; nil: one of 64 MiB

	Sender      string // DNS name that targets are asked to consent to; empty: none can be asked
	DocsNeedKey bool   // the document and its page are for who has an API key

	// Background runs what no request waits for, and whoever gave it waits for that; false: it is too late. nil: the
	// last use of keys is not written.
	Background func(func()) bool

	TenantGrace time.Duration // from a tenant's end until all of it is deleted; default DefaultTenantGrace
}

func (c *Config) setDefaults() error {
	if c.Engine == nil || c.Store == nil || c.Guard == nil {
		return errors.New("the API needs an engine, a store and a guard")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Live == nil {
		c.Live = new(live.Hub)
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Limits == nil {
		c.Limits = &DefaultLimits
	}
	if c.TenantGrace == 0 {
		c.TenantGrace = DefaultTenantGrace
	}
	if c.Bodies == nil {
		c.Bodies = budget.New(bodyBytes)
	}
	return nil
}

type api struct {
	engine Engine
	store  store.Store
	guard  Guard
	log    *slog.Logger
	clock  func() time.Time

	advisory *advisory.Service // nil: not served
	version  string
	live     *live.Hub
	stopping <-chan struct{}

	mux     *http.ServeMux
	doc     huma.API
	ops     map[string]operation // by ID
	keys    *keyCache
	guesses *guesses
	uses    uses

	docsNeedKey bool
	sender      string
	underWay    sync.Map // slots of requests that make something
	tenants     sync.Map // of knownTenant, by ID
	grace       time.Duration
	limits      *limits
	bodies      *budget.Budget
	large       chan struct{} // has a value for each large body that is on its way through
}

// API answers /v1, /openapi.json and /docs, and makes the calls of a key within the process.
type API interface {
	http.Handler
	Session(key, tenant, remote string) client.API
	KeepTenants(ctx context.Context) error
}

// New makes the API.
func New(cfg Config) (API, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	a := &api{
		engine: cfg.Engine, store: cfg.Store, guard: cfg.Guard, log: cfg.Logger, clock: cfg.Now,
		advisory: cfg.Advisory, version: cfg.Version, live: cfg.Live, stopping: cfg.Stopping,
		mux: http.NewServeMux(), ops: map[string]operation{}, keys: newKeyCache(cfg.Store), guesses: newGuesses(), uses: uses{store: cfg.Store, log: cfg.Logger, background: cfg.Background},
		bodies: cfg.Bodies, large: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
	}
	a.docsNeedKey, a.sender, a.grace = cfg.DocsNeedKey, cfg.Sender, cfg.TenantGrace
	a.limits = newLimits(*cfg.Limits, cfg.Limited, func(tenant, limit string) {
		a.log.Warn("a tenant met a limit", "tenant", tenant, "limit", limit)
	})
	a.doc = humago.New(a.mux, documentConfig())
	a.registerPublish()
	a.registerEvents()
	a.registerWebhooks()
	a.registerDeliveries()
	a.registerDirectory()
	a.registerSignIn()
	a.registerStats()
	a.registerLive()
	if a.advisory != nil {
		a.registerAdvisory()
	}
	a.registerDocument()
	return a, nil
}

func init() { huma.DefaultArrayNullable = false } // no list is null here

func documentConfig() huma.Config {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	schemas.RegisterTypeAlias(reflect.TypeFor[client.Time](), reflect.TypeFor[time.Time]())
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:       "Quantfolio Webhooks",
			Version:     apiVersion,
			Description: "Publish an event, and every webhook that asked for it gets one signed HTTP request about it. Errors are RFC 9457 problem documents.",
		},
		Servers: []*huma.Server{{URL: "/", Description: "This server."}},
		Tags:    tags,
		Components: &huma.Components{
			Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				securityName: {Type: "http", Scheme: "bearer", Description: "An API key, of the form qhk_…"},
			},
		},
	}
	return huma.Config{
		OpenAPI: doc,
		Formats: map[string]huma.Format{"application/json": huma.DefaultJSONFormat,
			"json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{ownProblems},
	}
}

// now is the time in the resolution that is stored and shown.
func (a *api) now() time.Time { return a.clock().UTC().Truncate(time.Millisecond) }

// ServeHTTP limits, authenticates and routes.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := 0
	for _, values := range r.Header {
		n += len(values)
	}
	if n > MaxHeaders {
		writeProblem(w, newProblem(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("The request has %d header lines; at most %d are taken.", n, MaxHeaders)))
		return
	}
	if !plain(r.URL) {
		writeProblem(w, newProblem(http.StatusBadRequest, "The path or the query has an empty part or is not text in UTF-8."))
		return
	}
	c := new(caller)
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		if a.docsNeedKey {
			if err := a.authenticate(r, c); err != nil {
				a.fail(w, r, err)
				return
			}
		}
		a.route(w, r)
		return
	}
	if err := a.authenticate(r, c); err != nil {
		a.fail(w, r, err)
		return
	}
	if r.Method == http.MethodPost { // the hot path, before everything that costs
		switch r.URL.Path {
		case publishPath:
			a.publish(w, r, c)
			return
		case batchPath:
			a.publishBatch(w, r, c)
			return
		}
	}
	a.route(w, r.WithContext(withCaller(r.Context(), c)))
}

// plain tells whether the URL is text that every store takes, and a path that needs no cleaning.
func plain(u *url.URL) bool {
	query, err := url.QueryUnescape(u.RawQuery)
	for _, s := range []string{u.Path, query} {
		if err != nil || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return false
		}
	}
	return !strings.Contains(u.Path, "//") && !strings.Contains(u.Path+"/", "/./") &&
		!strings.Contains(u.Path+"/", "/../")
}

// route calls the operation, or answers 404 and 405 as problem documents.
func (a *api) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	s := &sink{header: http.Header{}}
	h.ServeHTTP(s, r)
	if s.status == http.StatusMethodNotAllowed {
		allow := s.header.Get("Allow")
		text := "This path does not have the method " + knownMethod(r.Method) + "; it has " + allow + "."
		writeProblem(w, newProblem(s.status, text).with("Allow", allow))
		return
	}
	writeProblem(w, newProblem(http.StatusNotFound, "There is nothing at this path. The paths are listed at /docs."))
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "of this request"
}

// sink takes the answer that the standard mux would give, to say it in our words.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// registerDocument serves the OpenAPI document and the page that lists the operations, made when they are first asked
// for: few nodes ever are, and making them takes 5 MB. Nothing may be registered after.
func (a *api) registerDocument() {
	finish := sync.OnceFunc(a.finishDocument)
	spec := sync.OnceValues(func() ([]byte, error) {
		finish()
		return json.MarshalIndent(a.doc.OpenAPI(), "", "  ")
	})
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		b, err := spec()
		if err != nil {
			a.fail(w, r, fmt.Errorf("write the OpenAPI document: %w", err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	})
	page := sync.OnceValues(func() ([]byte, error) {
		finish()
		return docsPage(a.doc.OpenAPI())
	})
	a.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		b, err := page()
		if err != nil {
			a.fail(w, r, fmt.Errorf("write the page of operations: %w", err))
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", docsPolicy)
		_, _ = w.Write(b)
	})
}
