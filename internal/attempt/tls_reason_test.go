package attempt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate that is signed by the authority, or by itself.
func (a *authority) issue(t *testing.T, ca bool, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) chain(more ...*authority) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
	for _, m := range more {
		c.Certificate = append(c.Certificate, m.cert.Raw)
	}
	return c
}

// TestReasonsOfTLS: what keeps TLS from being spoken is told apart, with TLS 1.2 and 1.3.
func TestReasonsOfTLS(t *testing.T) {
	t.Parallel()
	root := (*authority)(nil).issue(t, true, nil)
	middle := root.issue(t, true, nil)
	good := middle.issue(t, false, nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	one := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for name, c := range map[string]struct {
		cfg    *tls.Config
		handle func(net.Conn) // in place of cfg
		reason string
	}{
		"trusted":              {one(good.chain(middle)), nil, ""},
		"missing intermediate": {one(good.chain()), nil, ReasonUnknownIssuer},
		"self-signed":          {one((*authority)(nil).issue(t, false, nil).chain()), nil, ReasonUnknownIssuer},
		"expired": {one(middle.issue(t, false, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		}).chain(middle)), nil, ReasonExpired},
		"not yet": {one(middle.issue(t, false, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		}).chain(middle)), nil, ReasonExpired},
		"another name": {one(middle.issue(t, false, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"other.example"}
		}).chain(middle)), nil, ReasonWrongName},
		"client certificate": {&tls.Config{Certificates: one(good.chain(middle)).Certificates, ClientAuth: tls.RequireAnyClientCert}, nil, ReasonClientCertificate},
		"optional one":       {&tls.Config{Certificates: one(good.chain(middle)).Certificates, ClientAuth: tls.RequestClientCert}, nil, ""},
		"old version":        {&tls.Config{Certificates: one(good.chain(middle)).Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil, ReasonOldVersion},
		"silent":             {nil, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ReasonHelloDropped},
		"closes":             {nil, func(c net.Conn) { _, _ = c.Read(make([]byte, 10)) }, ReasonHelloDropped},
		"plain http":         {nil, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, ReasonOther},
	} {
		for _, max := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if c.cfg == nil && max == tls.VersionTLS12 {
				continue
			}
			w := listen(t, &wire{handle: func(nc net.Conn) {
				if c.handle != nil {
					c.handle(nc)
					return
				}
				cfg := c.cfg.Clone()
				if cfg.MaxVersion == 0 {
					cfg.MaxVersion = max
				}
				sc := tls.Server(nc, cfg)
				if sc.Handshake() == nil {
					_, _ = sc.Read(make([]byte, 16<<10))
					_, _ = io.WriteString(sc, ok204)
				}
			}})
			s := wireSender(t)
			s.cfg.Roots = trusting(roots)
			tt := w.target(t, webhook.POST, func(h *webhook.Webhook) {
				h.URL, h.Timeout = strings.Replace(h.URL, "http:", "https:", 1), 2*time.Second
				h.URL = "https://" + w.Addr().String() + "/hook"
			})
			r := s.Send(t.Context(), tt, wireEvent())
			if r.Reason != c.reason || (c.reason != "") != (r.Class == ClassTLS) || (c.reason == "") != (r.Verdict == Success) {
				t.Errorf("%s, TLS %x: Send = class %q, reason %q, %v; want reason %q", name, max, r.Class, r.Reason, r.Err, c.reason)
			}
		}
	}
}

// TestSmallHello: something before the receiver that drops greetings beyond one packet is got past by the setting.
func TestSmallHello(t *testing.T) {
	t.Parallel()
	config, roots := testTLS(t)
	w := listen(t, &wire{handle: func(nc net.Conn) {
		first := make([]byte, 1460) // of an Ethernet
		n, err := nc.Read(first)
		if err != nil || n == len(first) {
			_, _ = io.Copy(io.Discard, nc)
			return
		}
		sc := tls.Server(&again{nc, first[:n]}, config)
		_, _ = sc.Read(make([]byte, 16<<10))
		_, _ = io.WriteString(sc, ok204)
	}})
	for _, small := range []bool{false, true} {
		s := wireSender(t)
		s.cfg.Roots, s.cfg.SmallHello = trusting(roots), small
		h := webhook.Webhook{URL: "https://" + w.Addr().String() + "/hook", Method: webhook.POST, Timeout: time.Second}
		if small {
			h.Timeout = 10 * time.Second
		}
		tt, err := NewTarget(&h)
		if err != nil {
			t.Fatal(err)
		}
		r := s.Send(t.Context(), tt, wireEvent())
		if small != (r.Verdict == Success) || !small && r.Reason != ReasonHelloDropped {
			t.Errorf("small %v: Send = class %q, reason %q, %v", small, r.Class, r.Reason, r.Err)
		}
	}
}

// again is a connection of which something was read before.
type again struct {
	net.Conn
	before []byte
}

func (a *again) Read(p []byte) (int, error) {
	if len(a.before) == 0 {
		return a.Conn.Read(p)
	}
	n := copy(p, a.before)
	a.before = a.before[n:]
	return n, nil
}
