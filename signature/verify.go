package signature

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The reasons for which a signature is refused; test for them with [errors.Is].
// Their texts, and those of the errors that wrap them, hold neither a key nor a
// signature.
var (
	// ErrNoKey is that the receiver gave no key, or only empty ones: an unset
	// setting, most often. An empty key would let anyone sign.
	ErrNoKey = errors.New("signature: no key to verify with")
	// ErrMissing is that a header which must be there is absent or empty.
	ErrMissing = errors.New("signature: missing header")
	// ErrMalformed is that a header, or the request, does not have the form that
	// the sender gives it, whatever the key.
	ErrMalformed = errors.New("signature: malformed")
	// ErrMismatch is that no signature is by a given key over this content.
	ErrMismatch = errors.New("signature: mismatch")
	// ErrTooOld is that the signature is right but its timestamp too far back: a
	// replay, or a clock that is ahead.
	ErrTooOld = errors.New("signature: timestamp too old")
	// ErrTooNew is that the signature is right but its timestamp too far ahead:
	// most often the receiver's clock is behind.
	ErrTooNew = errors.New("signature: timestamp too new")
)

// maxUnix is the last second of the year 9999, beyond which no time is formatted.
const maxUnix = 253402300799

// Verify checks the value of [HeaderQuantfolio] against content, in constant
// time. Content is the exact body of a POST or the exact raw query of a GET (or
// [QueryFromMap]'s), and key the signing key as typed.
//
// It returns ErrNoKey for an empty key, ErrMissing for an empty header,
// ErrMalformed unless the header is "sha256=" and 64 lower-case hex digits, and
// ErrMismatch when it is not key's signature. The header has no timestamp, so it
// does not tell a replay: prefer [VerifyStandard], or handle each event ID once.
func Verify(key string, content []byte, header string) error {
	return verifyQuantfolio([]string{key}, content, header)
}

func verifyQuantfolio(keys []string, content []byte, header string) error {
	if keys = usable(keys); len(keys) == 0 {
		return ErrNoKey
	}
	if header == "" {
		return fmt.Errorf("%w: %s", ErrMissing, HeaderQuantfolio)
	}
	if !wellFormedQuantfolio(header) {
		return fmt.Errorf("%w: %s", ErrMalformed, HeaderQuantfolio)
	}
	for _, key := range keys {
		if hmac.Equal([]byte(Quantfolio([]byte(key), content)), []byte(header)) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrMismatch, HeaderQuantfolio)
}

func wellFormedQuantfolio(header string) bool {
	digits, ok := strings.CutPrefix(header, quantfolioPrefix)
	if !ok || len(header) != quantfolioLen || digits != strings.ToLower(digits) {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// VerifyStandard checks the three Standard Webhooks headers against content:
// that one of the signatures is key's, in constant time, and that the timestamp
// is within tolerance of now, the edges included. Zero or less is
// [DefaultTolerance]; the check cannot be switched off. Header keys are read by
// [http.Header.Get]'s rule, so build h with Set or Add. Content and key are as for
// [Verify].
//
// It returns ErrNoKey for an empty key; ErrMissing when one of the headers is
// absent or empty; ErrMalformed when one came twice, the ID has a dot, the
// timestamp is not plain decimal seconds, or there is no signature of version
// v1; ErrMismatch when none is key's; and, only for a signature that is right,
// ErrTooOld and ErrTooNew.
func VerifyStandard(key string, h http.Header, content []byte, now time.Time, tolerance time.Duration) error {
	return verifyStandard([]string{key}, h, content, now, tolerance)
}

func verifyStandard(keys []string, h http.Header, content []byte, now time.Time, tolerance time.Duration) error {
	if keys = usable(keys); len(keys) == 0 {
		return ErrNoKey
	}
	id, err := single(h, HeaderID)
	if err != nil {
		return err
	}
	timestamp, err := single(h, HeaderTimestamp)
	if err != nil {
		return err
	}
	list, err := single(h, HeaderSignature)
	if err != nil {
		return err
	}
	// With a dot in it, "a.1.b" could be the ID "a" or the ID "a.1".
	if strings.Contains(id, ".") {
		return fmt.Errorf("%w: %s", ErrMalformed, HeaderID)
	}
	at, err := parseTimestamp(timestamp)
	if err != nil {
		return err
	}
	given := candidates(list)
	if len(given) == 0 {
		return fmt.Errorf("%w: %s", ErrMalformed, HeaderSignature)
	}
	if !anyStandard(keys, given, id, at, content) {
		return fmt.Errorf("%w: %s", ErrMismatch, HeaderSignature)
	}
	return withinTolerance(at, now, tolerance)
}

func anyStandard(keys, given []string, id string, at time.Time, content []byte) bool {
	for _, key := range keys {
		want := []byte(Standard(StandardKey(key), id, at, content))
		for _, g := range given {
			if hmac.Equal(want, []byte(g)) {
				return true
			}
		}
	}
	return false
}

// candidates returns the elements of a webhook-signature list that can be a v1
// signature. Other versions are passed over, as the specification asks.
func candidates(list string) []string {
	var out []string
	for s := range strings.SplitSeq(list, " ") {
		if len(s) == standardLen && strings.HasPrefix(s, standardPrefix) {
			out = append(out, s)
		}
	}
	return out
}

// parseTimestamp takes decimal seconds in their one spelling only, because what
// is signed is the number written out again.
func parseTimestamp(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxUnix || strconv.FormatInt(n, 10) != s {
		return time.Time{}, fmt.Errorf("%w: %s", ErrMalformed, HeaderTimestamp)
	}
	return time.Unix(n, 0), nil
}

func withinTolerance(at, now time.Time, tolerance time.Duration) error {
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	switch d := now.Sub(at); {
	case d > tolerance:
		return ErrTooOld
	case d < -tolerance:
		return ErrTooNew
	}
	return nil
}

// VerifyRequest checks every signature that r carries, by any of keys (during a
// rotation, the new and the old one), with [DefaultTolerance] and the machine's
// clock. Body is r's body as it was read, before any parsing. Of a GET the raw
// query is checked and the body must be empty; of a POST the body.
//
// At least one kind of signature must be there, and where both are both must be
// right; any one of the three Standard Webhooks headers asks for all of them.
// Whoever captured a request can drop those three, and with them the timestamp:
// handle each event ID once.
//
// Empty keys are passed over, so an unset "old key" does no harm. It returns
// the errors of [Verify] and [VerifyStandard]; ErrMissing when there is no
// signature; ErrMalformed for a header that came twice, a GET with a body, or
// a method that is neither GET nor POST.
func VerifyRequest(r *http.Request, body []byte, keys ...string) error {
	return verifyRequest(r, body, time.Now(), keys)
}

func verifyRequest(r *http.Request, body []byte, now time.Time, keys []string) error {
	content := body
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet, "": // "" is GET, as in http.Request
		if len(body) > 0 {
			return fmt.Errorf("%w: a GET with a body", ErrMalformed)
		}
		content = []byte(r.URL.RawQuery)
	default:
		return fmt.Errorf("%w: method is neither GET nor POST", ErrMalformed)
	}
	quantfolio := present(r.Header, HeaderQuantfolio)
	standard := present(r.Header, HeaderID) || present(r.Header, HeaderTimestamp) || present(r.Header, HeaderSignature)
	if !quantfolio && !standard {
		return fmt.Errorf("%w: no signature", ErrMissing)
	}
	if quantfolio {
		header, err := single(r.Header, HeaderQuantfolio)
		if err != nil {
			return err
		}
		if err := verifyQuantfolio(keys, content, header); err != nil {
			return err
		}
	}
	if standard {
		return verifyStandard(keys, r.Header, content, now, DefaultTolerance)
	}
	return nil
}

func present(h http.Header, name string) bool { return len(h.Values(name)) > 0 }

// single returns a header's one value. Of a header that came twice, what else
// reads the request might take the other one.
func single(h http.Header, name string) (string, error) {
	switch v := h.Values(name); {
	case len(v) > 1:
		return "", fmt.Errorf("%w: %s came more than once", ErrMalformed, name)
	case len(v) == 0 || v[0] == "":
		return "", fmt.Errorf("%w: %s", ErrMissing, name)
	default:
		return v[0], nil
	}
}

// usable returns keys without the empty ones.
func usable(keys []string) []string {
	var out []string
	for _, k := range keys {
		if k != "" {
			out = append(out, k)
		}
	}
	return out
}
