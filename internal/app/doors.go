package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// checkDoors holds the rules for how the API is reached.
func (c *Config) checkDoors() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("tls-cert and tls-key go together")
	}
	if len(c.ACMEHost) > 0 && c.TLSCert != "" {
		return errors.New("acme-host is set beside tls-cert: use one of them")
	}
	if len(c.ACMEHost) > 0 && !c.ACMEAcceptTerms {
		return errors.New("acme-host needs acme-accept-terms: read the terms of the certificate authority first")
	}
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" ||
		u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("public-url %q is not of the form https://hooks.example.com", c.PublicURL)
	}
	return nil
}

// publicHost is the host of the public URL, as in the Host header; empty: there is none.
func (c *Config) publicHost() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// publicName is the public URL's host without a port; empty: there is none.
func (c *Config) publicName() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// loopback tells whether only this machine reaches the API.
func (c *Config) loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// overTLS tells whether browsers come over TLS: to this server, or to a proxy before it.
func (c *Config) overTLS() bool {
	u, err := url.Parse(c.PublicURL)
	return c.TLSCert != "" || len(c.ACMEHost) > 0 || err == nil && u.Scheme == "https"
}

// tlsConfig is how the API's listener speaks TLS; nil: it does not.
func (a *App) tlsConfig() (*tls.Config, error) {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch c := &a.cfg; {
	case c.TLSCert != "":
		p := &pair{cert: c.TLSCert, key: c.TLSKey, log: a.log}
		if err := p.load(); err != nil {
			return nil, err
		}
		base.GetCertificate = p.get
	case len(c.ACMEHost) > 0:
		m := &autocert.Manager{Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(c.ACMEHost...),
			Cache: autocert.DirCache(filepath.Join(c.Data, "acme")), Email: c.ACMEEmail}
		if c.ACMEDirectory != "" {
			m.Client = &acme.Client{DirectoryURL: c.ACMEDirectory}
		}
		base.GetCertificate = m.GetCertificate
		base.NextProtos = append(base.NextProtos, acme.ALPNProto) // RFC 8737: the challenge comes to this listener
	default:
		return nil, nil
	}
	return base, nil
}

// lookEvery is how often a handshake looks whether the certificate's files have changed.
const lookEvery = 5 * time.Second

// pair is a certificate and its key in files, which are read again when they change. Where the new ones cannot be used,
// the old ones stay.
type pair struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	now    *tls.Certificate
	stamps [2]stamp
	looked time.Time
}

// stamp is what changes with a file.
type stamp struct {
	at   time.Time
	size int64
}

func (p *pair) look() (s [2]stamp, err error) {
	for i, name := range []string{p.cert, p.key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

func (p *pair) load() error {
	stamps, err := p.look()
	if err != nil {
		return fmt.Errorf("read the TLS certificate: %w", err)
	}
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("read the TLS certificate: %w", err)
	}
	p.now, p.stamps, p.looked = &c, stamps, time.Now()
	return nil
}

// get is for tls.Config.GetCertificate.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < lookEvery {
		return p.now, nil
	}
	p.looked = time.Now()
	stamps, err := p.look()
	if err == nil && stamps == p.stamps {
		return p.now, nil
	}
	if err == nil {
		err = p.load()
	}
	if err != nil {
		p.log.Error("the TLS certificate has changed and cannot be used; the one before stays", "error", err)
	} else {
		p.log.Info("the TLS certificate was read again", "file", p.cert, "expires", p.now.Leaf.NotAfter)
	}
	return p.now, nil
}

// warnOfDoors says at start what an operator may not have meant.
func (a *App) warnOfDoors() {
	if !a.cfg.loopback() && !a.cfg.overTLS() {
		a.log.Warn("the API is reached over plain http from other machines: keys and sign-ins can be read on the way; set "+
			"--tls-cert and --tls-key, or --public-url=https://… where a proxy before this server speaks TLS", "listen", a.cfg.Listen)
	}
	if !a.cfg.loopback() && a.cfg.MetricsListen == "" {
		a.log.Info("/metrics is off, since the API is not only for this machine; --metrics-listen gives it an address of its own")
	}
}
