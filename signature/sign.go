package signature

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// The headers that carry a signature. HeaderQuantfolio is the product page's;
// the other three are those of the Standard Webhooks specification, section
// "Webhook headers". HTTP header names are case-insensitive; these are spelled
// as their sources spell them.
const (
	// HeaderQuantfolio carries "sha256=" and the hex HMAC-SHA256 of the content.
	HeaderQuantfolio = "X-Quantfolio-Signature-256"
	// HeaderID carries the event's ID, the same on every retry; it has no dot.
	HeaderID = "webhook-id"
	// HeaderTimestamp carries the attempt's time in Unix seconds.
	HeaderTimestamp = "webhook-timestamp"
	// HeaderSignature carries one or more "v1,<base64>" separated by spaces,
	// more than one while a key is being rotated.
	HeaderSignature = "webhook-signature"
)

// DefaultTolerance is how far an attempt's timestamp may be from the
// receiver's clock, either way: the five minutes of the Standard Webhooks
// libraries.
const DefaultTolerance = 5 * time.Minute

const (
	quantfolioPrefix = "sha256="
	standardPrefix   = "v1,"
	secretPrefix     = "whsec_"

	quantfolioLen = len(quantfolioPrefix) + 2*sha256.Size
	standardLen   = len(standardPrefix) + (sha256.Size+2)/3*4

	generatedKeyLen = 32
)

// Quantfolio returns the value of [HeaderQuantfolio] for content: "sha256=" and
// the lower-case hex HMAC-SHA256 (RFC 2104, FIPS 180-4) under key, which is the
// signing key's UTF-8 bytes as typed, whsec_ included if it is there.
func Quantfolio(key, content []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(content)
	var sum [sha256.Size]byte
	return string(appendQuantfolio(make([]byte, 0, quantfolioLen), h.Sum(sum[:0])))
}

// Standard returns one signature for [HeaderSignature]: "v1," and the base64
// (RFC 4648, section 4) HMAC-SHA256 of "id.timestamp.content" under key, where
// timestamp is at in whole Unix seconds (Standard Webhooks specification,
// section "Signature scheme"). Key is what [StandardKey] returns; id must have
// no dot, since the scheme could not tell where it ends.
func Standard(key []byte, id string, at time.Time, content []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(appendStandardHead(nil, id, at.Unix()))
	h.Write(content)
	var sum [sha256.Size]byte
	return string(appendStandard(make([]byte, 0, standardLen), h.Sum(sum[:0])))
}

// StandardKey returns the HMAC key for [HeaderSignature]: a key that starts
// with whsec_ and whose rest is padded base64 of at least one byte is used
// decoded (Standard Webhooks specification, section "Signature scheme"); any
// other key is its UTF-8 bytes as typed, never trimmed.
func StandardKey(key string) []byte {
	if rest, ok := strings.CutPrefix(key, secretPrefix); ok {
		if b, err := base64.StdEncoding.DecodeString(rest); err == nil && len(b) > 0 {
			return b
		}
	}
	return []byte(key)
}

// CheckKey says what is wrong with a key that starts with whsec_ and is not of
// the form that Standard Webhooks libraries take: whsec_ and padded base64
// (Standard Webhooks specification, section "Signature scheme"). Such a key
// would be used as typed here, and refused or decoded elsewhere. Other keys are
// always good. The error is the end of a sentence and never has the key.
func CheckKey(key string) error {
	rest, ok := strings.CutPrefix(key, secretPrefix)
	if !ok {
		return nil
	}
	_, err := base64.StdEncoding.DecodeString(rest)
	switch _, unpadded := base64.RawStdEncoding.DecodeString(rest); {
	case rest == "":
		return errors.New("has nothing after whsec_")
	case strings.ContainsAny(rest, " \t\r\n"):
		return errors.New("has white space after whsec_")
	case strings.ContainsAny(rest, "-_"):
		return errors.New("has - or _ after whsec_, which are of URL-safe Base64; write + and / in their place")
	case err != nil && unpadded == nil:
		return errors.New("lacks the = at the end that pad Base64 to a multiple of four characters")
	case err != nil:
		return errors.New("has something after whsec_ that is not Base64")
	}
	return nil
}

// SecretForm returns the form of key that Standard Webhooks libraries take:
// whsec_ and the base64 of [StandardKey]. A key already in that form comes back
// as it is, and an empty key as "". The result contains the key; show it only to
// who may see the key.
func SecretForm(key string) string {
	if key == "" {
		return ""
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(StandardKey(key))
}

// GenerateKey returns a new signing key: whsec_ and the base64 of 32 bytes from
// crypto/rand, within the 24 to 64 bytes that the Standard Webhooks
// specification asks for. It cannot fail: crypto/rand ends the program instead.
func GenerateKey() string {
	var b [generatedKeyLen]byte
	rand.Read(b[:])
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

func appendQuantfolio(dst, sum []byte) []byte {
	return hex.AppendEncode(append(dst, quantfolioPrefix...), sum)
}

func appendStandard(dst, sum []byte) []byte {
	return base64.StdEncoding.AppendEncode(append(dst, standardPrefix...), sum)
}

// appendStandardHead appends what is signed before the content: "id.timestamp.".
func appendStandardHead(dst []byte, id string, unix int64) []byte {
	dst = append(append(dst, id...), '.')
	return append(strconv.AppendInt(dst, unix, 10), '.')
}
