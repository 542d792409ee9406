package app

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quantfolio/qhook/internal/api"
)

// Config is every setting of a node: flags, their defaults and help in one place. The command line also takes
// each from the environment, as QHOOK_ and the flag's name.
type Config struct {
	Listen            string        `help:"Address and port of the HTTP API." default:"127.0.0.1:8080" placeholder:"ADDR"`
	Data              string        `help:"Folder of the database and the key file; made when it is not there." default:"./qhook-data" type:"path"`
	Database          string        `secret:"" help:"PostgreSQL database in place of the one in the data folder: postgres://…, with every option of libpq. Any number of nodes share it." placeholder:"URL"`
	DatabaseRead      string        `secret:"" help:"Where lists are read while it answers, for example a replica, which may be a little behind." placeholder:"URL"`
	DatabasePool      int           `help:"Connections to the database, besides the one that writes the journal and the one that listens." default:"8"`
	NodeName          string        `help:"Name of this node, for people; by default the host's." placeholder:"NAME"`
	AdminKey          string        `secret:"" help:"The operator's API key, at least 32 characters. Without it, one is made and shown at the first start." placeholder:"KEY"`
	MasterKeyset      string        `secret:"" help:"Tink AEAD keyset (JSON) that seals secrets at rest, instead of the key file in the data folder." placeholder:"JSON"`
	MetricsListen     string        `help:"Serve /metrics on this address. By default it is on the API's if that is only for this machine, and off otherwise." placeholder:"ADDR"`
	PublicURL         string        `help:"Where people and programs reach the server, e.g. https://hooks.example.com, also behind a proxy; requests for other hosts are refused, and links begin with it." name:"public-url" placeholder:"URL"`
	TLSCert           string        `help:"File of the TLS certificate with its chain (PEM); read again when it changes." name:"tls-cert" placeholder:"FILE"`
	TLSKey            string        `help:"File of its key (PEM)." name:"tls-key" placeholder:"FILE"`
	ACMEHost          []string      `help:"Get TLS certificates for these names by ACME; the server must be reached at port 443 of them." name:"acme-host" placeholder:"NAME"`
	ACMEEmail         string        `help:"Whom the certificate authority may write to." name:"acme-email" placeholder:"ADDRESS"`
	ACMEDirectory     string        `help:"Directory of the certificate authority; by default that of Let's Encrypt." name:"acme-directory" placeholder:"URL"`
	ACMEAcceptTerms   bool          `help:"Accept the terms of the certificate authority." name:"acme-accept-terms"`
	DocsNeedKey       bool          `help:"Show /docs and /openapi.json only to who sends an API key." name:"docs-need-key"`
	AllowNetwork      []string      `help:"Networks that targets may be in although they are not public, e.g. 127.0.0.0/8; plain http is allowed there." placeholder:"CIDR"`
	DenyNetwork       []string      `help:"Networks that targets must not be in." placeholder:"CIDR"`
	AllowHTTP         bool          `help:"Allow plain http targets everywhere." name:"allow-http"`
	NAT64             bool          `help:"Allow NAT64 addresses (64:ff9b::/96); the embedded address is judged." name:"nat64"`
	EgressProxy       string        `secret:"" help:"HTTP proxy for all targets (CONNECT); targets are resolved and judged before." placeholder:"URL"`
	CAFile            string        `help:"File of certificates (PEM) of authorities that targets are trusted by, besides the system's; read again when it changes." name:"ca-file" placeholder:"FILE"`
	TLSSmallHello     bool          `help:"Greet targets in a way that fits one packet, for networks that drop larger ones: without key exchanges that withstand quantum computers." name:"tls-small-hello"`
	EmbedIn           []string      `help:"Origins whose pages may show the dashboard in a frame, e.g. https://portal.example.com; the dashboard must be behind TLS then." placeholder:"ORIGIN"`
	LimitWebhooks     int           `help:"Webhooks of a tenant; 0: no limit, as for the others." default:"10000"`
	LimitKeys         int           `help:"API keys of a tenant." default:"1000"`
	LimitLinks        int           `help:"Sign-in links of a tenant that were not opened yet." default:"1000"`
	LimitSignIns      int           `help:"Sign-ins of a tenant that have not ended." name:"limit-sign-ins" default:"10000"`
	LimitStreams      int           `help:"Live streams of a tenant that are open, at this node." default:"100"`
	LimitEvents       int           `help:"Events that a tenant publishes a second, at this node." default:"200000"`
	LimitBytes        int           `help:"Bytes that a tenant publishes a second, at this node." default:"536870912"`
	LimitTests        int           `help:"Test sends of a tenant a minute, at this node." default:"60"`
	LimitRetries      int           `help:"Deliveries that a tenant retries by hand a minute, at this node." default:"100000"`
	Advisory          bool          `help:"Serve the advisory platform too: advisors, investors, advice sessions and reports, whose changes are the events."`
	UndeleteTime      time.Duration `help:"How long soft-deleted investors and advice sessions can be restored; then they are deleted permanently." default:"720h"`
	TenantGrace       time.Duration `help:"How long a tenant that was ended can be restored; then all of it is deleted." default:"720h"`
	NoRollups         bool          `help:"Keep no numbers for the dashboard; for measuring what they cost."`
	Retention         time.Duration `help:"How long events and attempts are kept; never one that still waits." default:"720h"`
	Concurrency       int           `help:"Attempts under way at once, per webhook." default:"32"`
	TargetConcurrency int           `help:"Attempts under way at once, per scheme, host and port of a target, whosever webhooks they are, at this node; one tenant gets half of them, one webhook a quarter. 0: four times --concurrency." default:"0"`
	Drain             time.Duration `help:"How long a stopping node goes on serving while /readyz says no, so that a balancer sends to others; only with a database that nodes share." default:"5s"`
	StopTimeout       time.Duration `help:"How long a stop waits for attempts under way." default:"20s"`
	LogFormat         string        `help:"Log format." enum:"text,json" default:"text"`
	LogLevel          string        `help:"Least level that is logged." enum:"debug,info,warn,error" default:"info"`
}

// minAdminKey is the least length of a configured operator's key, characters.
const minAdminKey = 32

func (c *Config) check() error {
	if c.AdminKey != "" && len(c.AdminKey) < minAdminKey {
		return fmt.Errorf("the admin key has %d characters; give it at least %d, for example from `openssl rand -hex 32`", len(c.AdminKey), minAdminKey)
	}
	if c.AdminKey != "" && !c.loopback() && weakKey(c.AdminKey) {
		return errors.New("the admin key can be guessed, or is an example of the docs, and the API is not only for this machine; " +
			"make one, for example with `openssl rand -hex 32`")
	}
	if c.Concurrency < 1 || c.Concurrency > 1000 {
		return fmt.Errorf("concurrency is %d; it must be between 1 and 1000", c.Concurrency)
	}
	if c.TargetConcurrency != 0 && (c.TargetConcurrency < 4 || c.TargetConcurrency > 100_000) {
		return fmt.Errorf("target-concurrency is %d; it must be 0, or between 4 and 100000", c.TargetConcurrency)
	}
	if c.Retention < time.Hour {
		return fmt.Errorf("retention is %v; it must be at least 1h", c.Retention)
	}
	if c.Drain < 0 || c.StopTimeout < 0 {
		return errors.New("drain and stop-timeout cannot be negative")
	}
	if c.UndeleteTime < time.Hour {
		return fmt.Errorf("undelete-time is %v; it must be at least 1h", c.UndeleteTime)
	}
	if c.TenantGrace != 0 && c.TenantGrace < time.Hour {
		return fmt.Errorf("tenant-grace is %v; it must be at least 1h", c.TenantGrace)
	}
	for name, n := range map[string]int{"webhooks": c.LimitWebhooks, "keys": c.LimitKeys, "links": c.LimitLinks,
		"sign-ins": c.LimitSignIns, "streams": c.LimitStreams,
		"events": c.LimitEvents, "bytes": c.LimitBytes, "tests": c.LimitTests, "retries": c.LimitRetries} {
		if n < 0 {
			return fmt.Errorf("limit-%s is %d; it must be a number of at least 1, or 0 for no limit", name, n)
		}
	}
	if err := c.checkDoors(); err != nil {
		return err
	}
	return c.checkDatabase()
}

// exampleKey is the admin key of the README.
const exampleKey = "an-example-key-of-32-characters-or-more"

// weakKey tells whether a key is one that somebody could guess: an example, or made of few characters.
func weakKey(key string) bool {
	different := map[rune]bool{}
	for _, r := range key {
		different[r] = true
	}
	lower := strings.ToLower(key)
	return lower == exampleKey || strings.Contains(lower, "example") || strings.Contains(lower, "changeme") ||
		len(different) < 10
}

func (c *Config) checkDatabase() error {
	if c.Database == "" {
		if c.DatabaseRead != "" {
			return errors.New("database-read is set without database")
		}
		return nil
	}
	if c.MasterKeyset == "" {
		return errors.New("with database, every node needs the same master keyset: set master-keyset, for example to the content of a master.key file that a node without database made")
	}
	if c.DatabasePool < 2 || c.DatabasePool > 1000 {
		return fmt.Errorf("database-pool is %d; it must be between 2 and 1000", c.DatabasePool)
	}
	return nil
}

func networks(setting string, list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--%s %q is not a network; write it like 10.0.0.0/8", setting, s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func proxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("--egress-proxy is not of the form http://host:port")
	}
	return u, nil
}

// limits are those of each tenant.
func (c *Config) limits() *api.Limits {
	return &api.Limits{Webhooks: c.LimitWebhooks, Keys: c.LimitKeys, Links: c.LimitLinks, SignIns: c.LimitSignIns,
		Streams: c.LimitStreams, Events: c.LimitEvents,
		Bytes: c.LimitBytes, Tests: c.LimitTests, Retries: c.LimitRetries}
}

// countLimits makes the metric of limits that were met.
func (a *App) countLimits() func(limit string) {
	n := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "qhook_limited_total",
		Help: "Requests that were refused since their tenant had reached a limit; the log and GET /v1/tenants name the tenant."}, []string{"limit"})
	a.registry.MustRegister(n)
	return func(limit string) { n.WithLabelValues(limit).Inc() }
}
