package app

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// trust is what targets' certificates are judged by: the system's authorities and those in a file, which is read again
// when it changes. Where the new one cannot be used, the old one stays.
type trust struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex
	now    *x509.CertPool
	seen   stamp
	looked time.Time
}

// load reads the file.
func (t *trust) load() error {
	info, err := os.Stat(t.file)
	if err != nil {
		return fmt.Errorf("read the ca-file: %w", err)
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("read the ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return fmt.Errorf("read the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("the ca-file %s has no certificate; it needs at least one as PEM, "+
			"-----BEGIN CERTIFICATE-----", t.file)
	}
	t.now, t.seen, t.looked = pool, stamp{info.ModTime(), info.Size()}, time.Now()
	return nil
}

// roots are those to trust now.
func (t *trust) roots() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < lookEvery {
		return t.now
	}
	t.looked = time.Now()
	info, err := os.Stat(t.file)
	if err == nil && t.seen == (stamp{info.ModTime(), info.Size()}) {
		return t.now
	}
	if err = t.load(); err != nil {
		t.log.Error("the ca-file has changed and cannot be used; the one before stays", "error", err)
	} else {
		t.log.Info("the ca-file was read again", "file", t.file)
	}
	return t.now
}
