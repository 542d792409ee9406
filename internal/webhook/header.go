package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quantfolio/qhook/internal/event"
)

// Limits of custom headers.
const (
	MaxHeaders     = 32
	MaxHeaderBytes = 16 << 10
	MaxHeaderName  = 256
	MaxHeaderValue = 4096
)

// reserved names, in lower case; one that ends in * is a prefix.
var reserved = []struct{ why, names string }{
	{"it frames the message", "connection keep-alive proxy-* te trailer transfer-encoding upgrade http2-settings content-length host expect"},
	{"it describes the payload", "content-* repr-digest digest accept-encoding range if-*"},
	{"it is set by the sender", "x-quantfolio-* webhook-* signature signature-input x-hub-signature* user-agent date from cache-control"},
	{"with it a request may be sent twice", "idempotency-key x-idempotency-key"},
	{"it can pretend another sender or method",
		"forwarded x-forwarded-* x-real-ip via x-http-method-override x-method-override"},
	{"it belongs to tracing", "traceparent tracestate baggage"},
	{"it opens cloud metadata", "metadata metadata-flavor x-aws-ec2-metadata-token x-google-*"},
	{"it belongs to browsers", "cookie origin referer sec-*"},
}

// CheckHeader holds the rules for one custom header (RFC 9110, sections 5.1 and 5.5, stricter). authSet: an
// authentication is set, so Authorization is taken. The errors are sentences; the second is about the value.
func CheckHeader(name, value string, authSet bool) (nameErr, valueErr error) {
	return checkHeaderName(name, authSet), checkHeaderValue(value)
}

func checkHeaderName(name string, authSet bool) error {
	if name == "" || len(name) > MaxHeaderName {
		return fmt.Errorf("must have 1 to %d characters", MaxHeaderName)
	}
	for i := range len(name) {
		if !isToken(name[i]) {
			return errors.New("must have only letters, digits and !#$%&'*+-.^_`|~")
		}
	}
	lower := strings.ToLower(name)
	if lower == "authorization" && authSet {
		return errors.New("is reserved, since the webhook has an authentication")
	}
	for _, r := range reserved {
		for n := range strings.FieldsSeq(r.names) {
			if p, ok := strings.CutSuffix(n, "*"); lower == n || ok && strings.HasPrefix(lower, p) {
				return errors.New("is reserved: " + r.why)
			}
		}
	}
	return nil
}

func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func checkHeaderValue(value string) error {
	switch {
	case value == "":
		return errors.New("must not be empty")
	case len(value) > MaxHeaderValue:
		return fmt.Errorf("must have at most %d bytes", MaxHeaderValue)
	case strings.Trim(value, " \t") != value:
		return errors.New("must not begin or end with a space")
	}
	for i := range len(value) {
		if c := value[i]; (c < 0x20 && c != '\t') || c > 0x7e {
			return errors.New("must have only printable ASCII characters")
		}
	}
	return nil
}

func checkHeaders(list []Header, authSet bool, v *event.Violations) {
	if len(list) > MaxHeaders {
		v.Add("headers", fmt.Sprintf("has %d headers; at most %d are taken", len(list), MaxHeaders))
		return
	}
	total := 0
	var seen []string
	for i, h := range list {
		field := fmt.Sprintf("headers[%d]", i)
		nameErr, valueErr := CheckHeader(h.Name, h.Value.Reveal(), authSet)
		if nameErr == nil && slices.Contains(seen, strings.ToLower(h.Name)) {
			nameErr = errors.New("is given twice")
		}
		seen = append(seen, strings.ToLower(h.Name))
		if nameErr != nil {
			v.Add(field+".name", nameErr.Error())
		}
		if valueErr != nil {
			v.Add(field+".value", valueErr.Error())
		}
		total += len(h.Name) + len(h.Value.Reveal())
	}
	if total > MaxHeaderBytes {
		v.Add("headers", fmt.Sprintf("have %d bytes in all; at most %d are taken", total, MaxHeaderBytes))
	}
}
