package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"
)

// Signer signs many contents with one key. It computes the key's HMAC state
// once and reuses it, so that a signature allocates nothing when dst has room.
// A Signer is safe for concurrent use and must not be copied. Printing or
// logging one shows no key.
type Signer struct {
	quantfolio sync.Pool // of *state, keyed with the key as typed
	standard   sync.Pool // of *state, keyed with StandardKey
}

// state is one keyed HMAC and the scratch that its interface calls would
// otherwise allocate. Whoever took it from the pool owns it.
type state struct {
	mac hash.Hash
	buf []byte
}

// NewSigner returns a Signer for a webhook's signing key as typed. The key must
// not be empty: a webhook without a key is not signed, and every verifier here
// refuses an empty key.
func NewSigner(key string) *Signer {
	var s Signer
	s.quantfolio.New = newState([]byte(key))
	s.standard.New = newState(StandardKey(key))
	return &s
}

func newState(key []byte) func() any {
	return func() any {
		return &state{mac: hmac.New(sha256.New, key), buf: make([]byte, 0, 128)}
	}
}

// AppendQuantfolio appends the value of [HeaderQuantfolio] for content to dst
// and returns the extended slice; see [Quantfolio].
func (s *Signer) AppendQuantfolio(dst, content []byte) []byte {
	st := s.quantfolio.Get().(*state)
	st.mac.Reset()
	st.mac.Write(content)
	st.buf = st.mac.Sum(st.buf[:0])
	dst = appendQuantfolio(dst, st.buf)
	s.quantfolio.Put(st)
	return dst
}

// AppendStandard appends one signature for [HeaderSignature] to dst and returns
// the extended slice; see [Standard]. While a key is being rotated the sender
// appends a space and the other key's signature.
func (s *Signer) AppendStandard(dst []byte, id string, unix int64, content []byte) []byte {
	st := s.standard.Get().(*state)
	st.mac.Reset()
	st.buf = appendStandardHead(st.buf[:0], id, unix)
	st.mac.Write(st.buf)
	st.mac.Write(content)
	st.buf = st.mac.Sum(st.buf[:0])
	dst = appendStandard(dst, st.buf)
	s.standard.Put(st)
	return dst
}

const redacted = "signature.Signer(redacted)"

// Format implements [fmt.Formatter]: every verb prints a fixed text, no key.
func (s *Signer) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer] with the same fixed text.
func (s *Signer) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses
// too, with the same fixed text. It never fails.
func (s *Signer) MarshalText() ([]byte, error) { return []byte(redacted), nil }
