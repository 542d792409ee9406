package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgsession"
)

// Config says from where to where. Source, URL and Key are required.
type Config struct {
	Source     string                // the platform's PostgreSQL: postgres://…, with every option of libpq
	URL        string                // the server, such as http://127.0.0.1:8080
	Key        string                // an API key that may publish; the operator's for the rows of several tenants
	Poll       time.Duration         // how often to look for rows without a notification; 0: a second
	Batch      int                   // the most events of one request, up to 1000; 0: 500
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is counted for others to see
}

// maxBatch is the most events that the API takes in one request.
const maxBatch = 1000

// Relay moves rows while Run runs.
type Relay struct {
	cfg     Config
	source  *pgx.ConnConfig
	http    *http.Client
	log     *slog.Logger
	metrics *metrics
	trouble atomic.Pointer[error] // what is wrong now; nil: nothing
	woken   bool                  // a notification came since the last look; only Run's goroutine uses it
	said    string                // what is wrong, as the log says; empty: nothing; only Run's goroutine uses it
}

// New checks cfg; nothing is connected yet. Its errors never show the source, which has a password.
func New(cfg Config) (*Relay, error) {
	source, err := pgsession.Config(cfg.Source, pgsession.Options{Name: "qhook relay", Foreign: true})
	if cfg.Source == "" || err != nil { // err quotes parts of the source
		return nil, errors.New("the source is not a PostgreSQL URL; write it like postgres://user:password@host:5432/database")
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.Batch == 0 {
		cfg.Batch = 500
	}
	if cfg.Poll < time.Millisecond {
		return nil, fmt.Errorf("poll is %v; it must be at least 1ms", cfg.Poll)
	}
	if cfg.Batch < 1 || cfg.Batch > maxBatch {
		return nil, fmt.Errorf("batch is %d; it must be between 1 and %d", cfg.Batch, maxBatch)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{cfg: cfg, source: source.ConnConfig, log: cfg.Logger, metrics: newMetrics(cfg.Registerer)}
	r.http = &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: time.Minute, CheckRedirect: redirected,
	}
	r.source.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { r.woken = true }
	r.setTrouble(errors.New("not connected to the source yet"))
	return r, nil
}

// redirected follows no redirect: events and their 202 go to and come from the server that was named, not a login page.
func redirected(next *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the answer leads to %s://%s; is the URL that of a qhook server?", next.URL.Scheme, next.URL.Host)
}

// client acts for a tenant; the clients share their connections.
func (r *Relay) client(tenant string) *client.Client {
	return client.New(r.cfg.URL, r.cfg.Key, client.WithHTTPClient(r.http), client.WithTenant(tenant),
		client.WithUserAgent("qhook-relay"))
}

// Ready is nil while rows are moved, or while another relay moves them and this one waits for its end.
func (r *Relay) Ready(context.Context) error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *Relay) setTrouble(err error) {
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	r.trouble.Store(&err)
}

// Run moves rows until ctx ends, whatever happens to the source and to the API. Call it once. What is under way when
// ctx ends may have been accepted without its rows being deleted; the next Run sends it again and it counts once.
func (r *Relay) Run(ctx context.Context) {
	defer r.http.CloseIdleConnections()
	var b backoff
	for ctx.Err() == nil {
		err := r.session(ctx, &b)
		if ctx.Err() != nil {
			return
		}
		r.failed("source", err)
		b.wait(ctx)
	}
}

// failed puts an error on record, and into the log if it is another one than before. Errors of pgx name the user, the
// database and the host, never the password.
func (r *Relay) failed(side string, err error) {
	r.setTrouble(fmt.Errorf("%s: %w", side, err))
	r.metrics.failed(side)
	if kind := side + ": " + kindOf(err); kind != r.said {
		r.said = kind
		r.log.Warn("rows wait, all of them and in their order; it is tried again", "side", side,
			"error", cut(err.Error()))
	}
}

// worked ends what failed began.
func (r *Relay) worked() {
	r.setTrouble(nil)
	r.metrics.worked()
	if r.said != "" {
		r.said = ""
		r.log.Info("what was wrong is over")
	}
}

// port is what differs between two errors of the same kind: that of a connection's own end.
var port = regexp.MustCompile(`:\d+`)

// kindOf is what two errors have in common that are the same trouble: an answer's status, or the text without ports.
func kindOf(err error) string {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return strconv.Itoa(p.Status)
	}
	return port.ReplaceAllString(err.Error(), "")
}

// The bounds of a backoff.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// backoff is how long to wait after a failure: longer after each one in a row.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, firstWait), lastWait)
	pause(ctx, b.next)
}

func (b *backoff) reset() { b.next = 0 }

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
