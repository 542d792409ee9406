package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/quantfolio/qhook/internal/event"
)

// Limits of target URLs, bytes.
const (
	MaxURL    = 2048
	MaxGETurl = 8192 // the final URL of a GET, with the event's parameters
)

// Origin is where a target's requests go.
type Origin struct {
	TLS  bool
	Host string     // as in the Host header: lower case, punycode, with the port unless it is the scheme's own
	Name string     // to be resolved: the host without port and brackets
	Addr netip.Addr // valid when Name is an address
	Port uint16
}

// NormalizeURL checks a target URL and gives its canonical form: scheme and host in lower case, the host in punycode,
// path and query byte for byte. The error is a sentence for a person.
func NormalizeURL(raw string, method Method) (string, error) {
	if len(raw) > MaxURL {
		return "", fmt.Errorf("has %d bytes; at most %d are taken", len(raw), MaxURL)
	}
	for i := range len(raw) {
		if c := raw[i]; c < 0x21 || c == 0x7f || c == '\\' {
			return "", errors.New("must not have spaces, control characters or backslashes")
		}
	}
	if strings.Contains(raw, "#") {
		return "", errors.New("must not have a fragment (#)")
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "", errors.New("must begin with https:// (or http:// where the operator allows it)")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(authority, "@") {
		return "", errors.New("must not have a user name or password; use the webhook's authentication")
	}
	host, err := normalizeHost(authority, scheme)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(tail, "/") {
		tail = "/" + tail
	}
	for i := range len(tail) {
		if tail[i] > 0x7e {
			return "", errors.New("must have only ASCII characters in path and query; escape others as %XX")
		}
	}
	out := scheme + "://" + host + tail
	u, err := url.Parse(out)
	if err != nil || u.Opaque != "" || u.Host != host {
		return "", errors.New("is not a well-formed URL")
	}
	if len(out) > MaxURL {
		return "", fmt.Errorf("has %d bytes; at most %d are taken", len(out), MaxURL)
	}
	if method == GET {
		if err := checkQuery(u.RawQuery); err != nil {
			return "", err
		}
	}
	return out, nil
}

// checkQuery holds the rules for a query that the event's parameters are appended to.
func checkQuery(raw string) error {
	if strings.Contains(raw, ";") {
		return errors.New("must not have ; in the query of a GET webhook")
	}
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return errors.New("has a broken % escape in the query")
		}
		if _, err := url.QueryUnescape(value); err != nil {
			return errors.New("has a broken % escape in the query")
		}
		if slices.Contains(event.QueryNames, n) {
			return fmt.Errorf("has a parameter named %s, which a GET webhook adds itself", n)
		}
	}
	return nil
}

func normalizeHost(authority, scheme string) (string, error) {
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.Index(authority, "]")
		if end < 0 {
			return "", errors.New("has an unclosed [ in the host")
		}
		host, port = authority[:end+1], authority[end+1:]
		if port != "" && !strings.HasPrefix(port, ":") {
			return "", errors.New("has characters between ] and the port")
		}
		addr, err := netip.ParseAddr(host[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" || addr.Is4In6() {
			return "", errors.New("has brackets around something that is not a plain IPv6 address")
		}
		host = "[" + addr.String() + "]"
	} else {
		if i := strings.IndexByte(authority, ':'); i >= 0 {
			host, port = authority[:i], authority[i:]
		}
		var err error
		if host, err = normalizeName(host); err != nil {
			return "", err
		}
	}
	if port == "" {
		return host, nil
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port[1:] {
		return "", errors.New("has a port that is not a number from 1 to 65535")
	}
	if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
		return host, nil
	}
	return host + port, nil
}

var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true), idna.BidiRule(),
	idna.VerifyDNSLength(false))

func normalizeName(host string) (string, error) {
	if host == "" {
		return "", errors.New("has no host")
	}
	if !utf8.ValidString(host) { // IDNA would take each broken byte for U+FFFD
		return "", errors.New("has a host that is not UTF-8")
	}
	ascii := strings.ToLower(host)
	if strings.Contains(host, "%") {
		return "", errors.New("has a % in the host")
	}
	if mapped, err := names.ToASCII(host); err == nil {
		if !sameLabels(host, mapped) {
			return "", errors.New("has a host with look-alike characters; write it in plain ASCII")
		}
		if again, err := names.ToASCII(mapped); err != nil || again != mapped {
			return "", errors.New("has a host that is not a domain name or an address")
		}
		ascii = mapped
	} else if !isASCII(host) || strings.Trim(ascii, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" ||
		strings.HasPrefix(ascii, "xn--") || strings.Contains(ascii, ".xn--") {
		return "", errors.New("has a host that is not a domain name or an address")
	}
	labels := strings.Split(strings.TrimSuffix(ascii, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return "", errors.New("has a host with an empty label or one over 63 characters")
		}
		if l[0] == '-' || l[len(l)-1] == '-' { // RFC 1123, section 2.1
			return "", errors.New("has a host with a part that begins or ends with -")
		}
	}
	if len(ascii) > 253 {
		return "", errors.New("has a host over 253 characters")
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		if a, err := netip.ParseAddr(ascii); err != nil || !a.Is4() || a.String() != ascii {
			return "", errors.New("has a host that looks like a number but is not an IPv4 address in its usual form")
		}
	}
	return ascii, nil
}

// sameLabels tells whether IDNA (UTS #46, section 4) made of each label of host only what it may: the same one in lower
// case, or punycode of one that is not ASCII. Else it hides another name or an address: the Kelvin sign becomes k, a
// full-width digit a digit, an ideographic full stop a dot. Each label is judged for itself, since punycode in one says
// nothing about the next.
func sameLabels(host, mapped string) bool {
	from, to := strings.Split(host, "."), strings.Split(mapped, ".")
	if len(from) != len(to) {
		return false
	}
	for i, l := range from {
		if isASCII(l) && to[i] != strings.ToLower(l) || !isASCII(l) && !strings.HasPrefix(to[i], "xn--") {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// SplitURL takes a normalised URL apart for the sender: the origin, and the request target (path and query).
func SplitURL(normalised string) (Origin, string, error) {
	scheme, rest, ok := strings.Cut(normalised, "://")
	i := strings.IndexByte(rest, '/')
	if !ok || i <= 0 { // no host, or no path
		return Origin{}, "", errors.New("not a normalised URL")
	}
	o := Origin{TLS: scheme == "https", Host: rest[:i], Name: rest[:i], Port: 80}
	if o.TLS {
		o.Port = 443
	}
	if j := strings.LastIndexByte(o.Host, ':'); j > strings.LastIndexByte(o.Host, ']') {
		n, err := strconv.ParseUint(o.Host[j+1:], 10, 16)
		if err != nil {
			return Origin{}, "", errors.New("not a normalised URL: its port")
		}
		o.Name, o.Port = o.Host[:j], uint16(n)
	}
	o.Name = strings.Trim(o.Name, "[]")
	if a, err := netip.ParseAddr(o.Name); err == nil {
		o.Addr = a
	}
	return o, rest[i:], nil
}
