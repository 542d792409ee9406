package attempt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Reasons of class tls: why there was no trusted connection.
const (
	ReasonClientCertificate = "client_certificate" // the receiver asks for one, and none is sent
	ReasonExpired           = "expired"            // its certificate has ended, or not yet begun
	ReasonWrongName         = "wrong_name"         // its certificate is for other names
	ReasonUnknownIssuer     = "unknown_issuer"     // who signed it is not trusted, or an intermediate is missing
	ReasonOldVersion        = "old_version"        // it speaks no TLS 1.2
	ReasonHelloDropped      = "hello_dropped"      // nothing came back to the greeting
	ReasonOther             = "other"
)

// tlsError says that an attempt failed in TLS, and why.
type tlsError struct {
	error
	reason string
}

func (e tlsError) Unwrap() error { return e.error }

// heard is a connection that tells whether anything came.
type heard struct {
	net.Conn
	any atomic.Bool
}

// Read reads.
func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.any.Store(true)
	}
	return n, err
}

// smallGroups are the key exchanges whose greeting fits one packet: those without ML-KEM, which withstands quantum
// computers and whose share has 1,184 bytes.
var smallGroups = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// handshake speaks TLS on c, which keeps whether the other side asked for a certificate.
func (s *Sender) handshake(ctx context.Context, c *conn, t *Target, deadline time.Time) (*tls.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, earlier(deadline, time.Now().Add(tlsLimit)))
	defer cancel()
	cfg := &tls.Config{ServerName: t.origin.Name, MinVersion: tls.VersionTLS12,
		NextProtos: s.pools.protocols(t.poolKey), ClientSessionCache: t.sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.asked.Store(true)
			return new(tls.Certificate), nil
		}}
	if s.cfg.Roots != nil {
		cfg.RootCAs = s.cfg.Roots()
	}
	if s.cfg.SmallHello {
		cfg.CurvePreferences = smallGroups
	}
	h := &heard{Conn: c.Conn}
	tc := tls.Client(h, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		reason := c.tlsReason(err)
		if !h.any.Load() && !errors.Is(err, context.Canceled) {
			reason = ReasonHelloDropped
		}
		return nil, tlsError{err, reason}
	}
	return tc, nil
}

// tlsReason is why TLS failed. With TLS 1.3 the other side refuses our certificate, or its lack, after the handshake.
func (c *conn) tlsReason(err error) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	alert := alertOf(err)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ReasonExpired
	case errors.As(err, &name):
		return ReasonWrongName
	case errors.As(err, &unknown):
		return ReasonUnknownIssuer
	case alert == "tls: protocol version not supported",
		strings.Contains(err.Error(), "server selected unsupported protocol version"): // crypto/tls has no type for it
		return ReasonOldVersion
	case alert == "tls: certificate required", alert != "" && c.asked.Load():
		return ReasonClientCertificate
	}
	return ReasonOther
}

// isAlert tells whether an alert of either side ended the connection.
func isAlert(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && (oe.Op == "remote error" || oe.Op == "local error")
}

// alertOf is what an alert of the other side says (RFC 8446, section 6.2), in the words of crypto/tls, whose type is
// not exported; empty: it was none.
func alertOf(err error) string {
	var oe *net.OpError
	if errors.As(err, &oe) && oe.Op == "remote error" {
		return oe.Err.Error()
	}
	return ""
}
