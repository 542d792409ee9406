package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// writePair writes a new certificate for localhost and 127.0.0.1, and its key.
func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startDoors starts a node with the settings of its doors.
func startDoors(t *testing.T, cfg Config) (*App, *syncBuffer) {
	t.Helper()
	cfg.Data, cfg.Retention, cfg.UndeleteTime, cfg.Concurrency, cfg.StopTimeout = t.TempDir(), time.Hour, time.Hour, 1, 5*time.Second
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	log := new(syncBuffer)
	a, err := New(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Stop(context.Background()) })
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, log
}

// TestTLS: the API speaks TLS, takes a new certificate without ending a connection, and keeps the old one where the new
// one is broken.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	writePair(t, cfg.TLSCert, cfg.TLSKey, 1)
	a, log := startDoors(t, cfg)
	if !strings.HasPrefix(a.URL(), "https://127.0.0.1:") {
		t.Fatalf("URL = %s, want https", a.URL())
	}
	get := func(c *http.Client) *http.Response {
		t.Helper()
		r, err := c.Get(a.URL() + "/sign-in")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return r
	}
	newClient := func() *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	serial := func(r *http.Response) int64 { return r.TLS.PeerCertificates[0].SerialNumber.Int64() }
	first := newClient()
	r := get(first)
	if serial(r) != 1 || r.ProtoMajor != 2 || r.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over TLS: certificate %d, HTTP/%d, HSTS %q, want 1, 2 and some", serial(r), r.ProtoMajor,
			r.Header.Get("Strict-Transport-Security"))
	}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(a.URL(), "https://"),
		&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is taken")
	}

	p := &pair{cert: cfg.TLSCert, key: cfg.TLSKey, log: a.log}
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	now := func() int64 { // as a handshake some time later finds it
		p.mu.Lock()
		p.looked = time.Time{}
		p.mu.Unlock()
		c, err := p.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.Int64()
	}
	a.secure.GetCertificate = p.get // before any further handshake
	writePair(t, cfg.TLSCert, cfg.TLSKey, 2)
	if got := now(); got != 2 {
		t.Errorf("after the files changed the certificate is %d, want 2", got)
	}
	if r := get(newClient()); serial(r) != 2 {
		t.Errorf("a new connection has certificate %d, want 2", serial(r))
	}
	if r := get(first); serial(r) != 1 {
		t.Errorf("the connection that was open has certificate %d, want it to go on with 1", serial(r))
	}
	if err := os.WriteFile(cfg.TLSCert, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := now(); got != 2 || !strings.Contains(log.String(), "the one before stays") {
		t.Errorf("beside a broken file the certificate is %d and the log says %s", got, log.String())
	}
	if err := os.Remove(cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	if got := now(); got != 2 {
		t.Errorf("without the key's file the certificate is %d, want 2", got)
	}
	writePair(t, cfg.TLSCert, cfg.TLSKey, 3)
	if got := now(); got != 3 {
		t.Errorf("once the files are good again the certificate is %d, want 3", got)
	}
}

// TestDoorSettings: what does not go together is refused at start with a sentence.
func TestDoorSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"certificate alone":   {Config{TLSCert: "c"}, "go together"},
		"key alone":           {Config{TLSKey: "k"}, "go together"},
		"both ways":           {Config{TLSCert: "c", TLSKey: "k", ACMEHost: []string{"a.example"}, ACMEAcceptTerms: true}, "use one of them"},
		"terms not accepted":  {Config{ACMEHost: []string{"a.example"}}, "acme-accept-terms"},
		"public URL: no URL":  {Config{PublicURL: "hooks.example.com"}, "https://hooks.example.com"},
		"public URL: a path":  {Config{PublicURL: "https://a.example/x"}, "of the form"},
		"public URL: a query": {Config{PublicURL: "https://a.example/?x"}, "of the form"},
		"public URL: a user":  {Config{PublicURL: "https://u@a.example"}, "of the form"},
	} {
		if err := c.cfg.checkDoors(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	for listen, want := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "localhost:80": true,
		"0.0.0.0:80": false, ":80": false,
		"192.0.2.1:80": false, "[::ffff:127.0.0.1]:80": true, "": false} {
		c := Config{Listen: listen}
		if got := c.loopback(); got != want {
			t.Errorf("--listen %s is for this machine only: %t, want %t", listen, got, want)
		}
	}
	a := &App{cfg: Config{Data: t.TempDir(), ACMEHost: []string{"a.example"}, ACMEAcceptTerms: true}}
	if c, err := a.tlsConfig(); err != nil || c == nil || c.GetCertificate == nil {
		t.Errorf("tlsConfig with ACME = %v, %v", c, err)
	} else if _, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "b.example"}); err == nil {
		t.Error("a certificate for a name that was not given is asked for")
	}
}

// TestForeignHosts: behind a public URL no other name is answered for, whatever the operation; probes come by address.
func TestForeignHosts(t *testing.T) {
	t.Parallel()
	a, _ := startDoors(t, Config{PublicURL: "https://hooks.example.com/"})
	ask := func(method, path, host string) (int, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		r, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode, r.Header
	}
	for _, path := range []string{"/", "/sign-in", "/v1/webhooks", "/v1/events", "/openapi.json", "/docs", "/metrics",
		"/ui/x.css", "/nothing"} {
		for _, host := range []string{"evil.example", "127.0.0.1", "hooks.example.com.evil.example",
			"hooks.example.com:1", ""} {
			if code, _ := ask("GET", path, host); host != "" && code != http.StatusMisdirectedRequest {
				t.Errorf("GET %s for %q = %d, want 421", path, host, code)
			}
		}
		if code, h := ask("GET", path, "Hooks.example.com"); code == http.StatusMisdirectedRequest ||
			h.Get("Strict-Transport-Security") == "" {
			t.Errorf("GET %s for the public host = %d, HSTS %q", path, code, h.Get("Strict-Transport-Security"))
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if code, _ := ask("GET", path, "10.1.2.3:8080"); code != http.StatusOK {
			t.Errorf("GET %s by address = %d, want 200", path, code)
		}
	}
	if a.PublicURL() != "https://hooks.example.com" {
		t.Errorf("PublicURL = %s", a.PublicURL())
	}
}

// TestMetricsAreNotPublic: who is not on this machine gets no metrics by default, and the start says what is open.
func TestMetricsAreNotPublic(t *testing.T) {
	t.Parallel()
	status := func(a *App, path string) int {
		t.Helper()
		_, port, _ := net.SplitHostPort(a.listener.Addr().String())
		r, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	a, log := startDoors(t, Config{Listen: "0.0.0.0:0"})
	if got := status(a, "/metrics"); got != http.StatusNotFound {
		t.Errorf("GET /metrics of a public listener = %d, want 404", got)
	}
	if s := log.String(); !strings.Contains(s, "plain http from other machines") ||
		!strings.Contains(s, "/metrics is off") {
		t.Errorf("the start says %s, want both warnings", s)
	}
	a, log = startDoors(t, Config{DocsNeedKey: true})
	if got := status(a, "/metrics"); got != http.StatusOK {
		t.Errorf("GET /metrics of a listener for this machine = %d, want 200", got)
	}
	if s := log.String(); strings.Contains(s, "plain http from other machines") {
		t.Errorf("a start for this machine only warns: %s", s)
	}
	for _, path := range []string{"/docs", "/openapi.json"} {
		if got := status(a, path); got != http.StatusUnauthorized {
			t.Errorf("GET %s without a key = %d, want 401", path, got)
		}
	}
}
