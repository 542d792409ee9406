// Package signature makes and verifies the signatures on Quantfolio webhooks.
// The sender signs with it and receivers import it, so that there is one place
// that says which bytes are signed.
//
// A webhook with a signing key carries two signatures over the same content,
// which is the exact body of a POST and the exact raw query string (all after
// the first "?") of a GET:
//
//   - X-Quantfolio-Signature-256: "sha256=" and the lower-case hex HMAC-SHA256
//     of the content, as Quantfolio's product page has it;
//   - webhook-id, webhook-timestamp and webhook-signature, as the Standard
//     Webhooks specification 1.0 has them
//     (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md),
//     so that any of its libraries verifies them, timestamp included.
//
// Receivers start at [VerifyRequest]: read the body with a limit, hand over the
// request and the body as they came, and parse only after it returned nil.
// Receivers that see no *http.Request use [Verify] and [VerifyStandard]; those
// that only get a GET's decoded parameters rebuild the signed string with
// [QueryFromMap] or [RebuildQuery] first. Senders start at [NewSigner].
//
// # What it never does
//
// It never reads a body, parses an event, trims a key, looks at a clock other
// than the one given (except in VerifyRequest), prints a key, or accepts an
// empty key. It remembers nothing: within the tolerance a captured request
// verifies again, and X-Quantfolio-Signature-256 alone has no timestamp at all,
// so a receiver handles each event ID once. A POST's query string and a
// request's other headers are not signed; do not act on them.
//
// It imports the standard library only, and a test holds that.
package signature
