package attempt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	// minSecret is the shortest text that is looked for, bytes: a shorter one is in every answer, and hides nothing.
	minSecret = 4
	// escapes is how many times an answer may have escaped what it repeats: JSON in JSON, percent in a form in JSON.
	escapes = 4
)

// replaced stands in an answer for each secret that was found in it.
var replaced = []byte(webhook.Secret{}.String())

// secretsOf are the texts that no answer may show, in the forms that they were sent in and as they were given.
func secretsOf(w *webhook.Webhook) [][]byte {
	var list [][]byte
	add := func(s string) {
		if len(s) < minSecret {
			return
		}
		list = append(list, []byte(s))
		if strings.Contains(s, " ") {
			list = append(list, []byte(strings.ReplaceAll(s, " ", "+"))) // application/x-www-form-urlencoded
		}
	}
	auth := w.Auth.Secret.Reveal()
	add(auth)
	if w.Auth.Type == webhook.AuthBasic {
		pair := []byte(w.Auth.Username + ":" + auth)
		add(base64.StdEncoding.EncodeToString(pair))
		add(base64.URLEncoding.EncodeToString(pair))
	}
	for _, h := range w.Headers {
		add(h.Value.Reveal())
	}
	for _, k := range w.SigningKeys {
		key := k.Key.Reveal()
		add(strings.TrimPrefix(key, "whsec_"))
	}
	for i := range list { // a secret may look escaped itself, and is unescaped with the answer then
		for t, n := plain(list[i]), 0; n < escapes && t.unescape() && len(t.b) >= minSecret; n++ {
			list = append(list, t.b)
		}
	}
	slices.SortFunc(list, bytes.Compare)
	return slices.CompactFunc(list, bytes.Equal)
}

// hide replaces what is secret in all that is kept of an answer.
func (t *Target) hide(r *Result, req *request) {
	if r.Response == nil && r.Headers == nil && r.Err == nil {
		return
	}
	var buf [16][]byte
	secrets := req.signatures(append(buf[:0], t.secrets...))
	if len(secrets) == 0 {
		return
	}
	r.Response = redact(r.Response, secrets, len(r.Response) >= MaxKept)
	for i := range r.Headers {
		for k, s := range r.Headers[i] {
			if b := redact([]byte(s), secrets, false); string(b) != s {
				r.Headers[i][k] = string(b)
			}
		}
	}
	if r.Err != nil {
		s := r.Err.Error()
		if b := redact([]byte(s), secrets, false); string(b) != s {
			r.Err = errors.New(string(b))
		}
	}
}

// signatures appends those that the request carries: who has one can send this very request again.
func (r *request) signatures(list [][]byte) [][]byte {
	for _, at := range r.signed {
		for rest := r.wire[at[0]:at[1]]; len(rest) > 0; {
			value, next, _ := bytes.Cut(rest, []byte(" "))
			value = bytes.TrimPrefix(value, []byte("sha256="))
			list, rest = append(list, bytes.TrimPrefix(value, []byte("v1,"))), next
		}
	}
	return list
}

// redact gives b with the secrets replaced that it shows, escaped or not; b itself when there are none. cut: b goes on
// after its end, where a secret may have been cut in two.
func redact(b []byte, secrets [][]byte, cut bool) []byte {
	text := plain(b)
	var found [][2]int // parts of b
	for layer := 0; ; layer++ {
		for _, s := range secrets {
			found = text.find(found, s)
			if cut {
				found = text.findCut(found, s)
			}
		}
		if layer == escapes || !text.unescape() {
			break
		}
	}
	if len(found) == 0 {
		return b
	}
	slices.SortFunc(found, func(x, y [2]int) int { return x[0] - y[0] })
	out, end := make([]byte, 0, len(b)), 0
	for _, f := range found {
		if f[1] <= end {
			continue
		}
		if f[0] >= end {
			out = append(append(out, b[end:f[0]]...), replaced...)
		}
		end = f[1]
	}
	return append(out, b[end:]...)
}

// text is an answer, or a part of one, without its escapes.
type text struct {
	b  []byte
	at []int32 // where each byte of b begins in the answer, and where the last one ends; nil: it is the answer
}

func plain(b []byte) text { return text{b: b} }

// place is where a byte begins in the answer.
func (t *text) place(i int) int {
	if t.at == nil {
		return i
	}
	return int(t.at[i])
}

// find finds a secret by its rarest byte, and where that is not rare in this text by its beginning.
func (t *text) find(found [][2]int, s []byte) [][2]int {
	if len(s) > len(t.b) {
		return found
	}
	head := s[:min(len(s), 16)] // bytes.Index is several times slower for what is longer than 63 bytes
	rare := rarest(head)
	for from, misses := 0, 0; ; {
		i := -1
		if misses >= 16 {
			i = bytes.Index(t.b[from:], head)
		} else if from+rare < len(t.b) {
			i = bytes.IndexByte(t.b[from+rare:], s[rare])
		}
		if i < 0 {
			return found
		}
		from += i
		if !bytes.HasPrefix(t.b[from:], s) {
			from++
			misses++
			continue
		}
		found = append(found, [2]int{t.place(from), t.place(from + len(s))})
		from += len(s)
	}
}

// rarity ranks what secrets are made of by how rare it is in answers: JSON, HTML, headers.
var rarity = func() (rank [256]uint8) {
	for i, c := range []byte("etaonrislducpm0 \":,-/.gf12hyb3vwk45=x6789jqz_STACREPIMDONLFHBGUWVYKJXQZ+") {
		rank[c] = uint8(i)
	}
	return rank
}()

// rarest is where the rarest byte of a secret is.
func rarest(s []byte) (at int) {
	for i, c := range s {
		if rarity[c] > rarity[s[at]] {
			at = i
		}
	}
	return at
}

// findCut finds the beginning of a secret at the end of the text, an escape that was cut in two apart.
func (t *text) findCut(found [][2]int, s []byte) [][2]int {
	end := len(t.b)
	for back := 1; back < 8 && back < end; back++ {
		if c := t.b[end-back]; c == '%' || c == '\\' || c == '&' {
			end -= back
			break
		}
	}
	for _, e := range []int{len(t.b), end} {
		for n := min(len(s)-1, e); n >= minSecret; n-- {
			if bytes.HasSuffix(t.b[:e], s[:n]) {
				return append(found, [2]int{t.place(e - n), t.place(len(t.b))})
			}
		}
	}
	return found
}

// unescape takes one layer of escapes away: %41, \u0041, \x41, \/ and &#65;, &#x41; and &amp;. false: there are none.
func (t *text) unescape() bool {
	if bytes.IndexByte(t.b, '%') < 0 && bytes.IndexByte(t.b, '\\') < 0 && bytes.IndexByte(t.b, '&') < 0 {
		return false
	}
	b, at := make([]byte, len(t.b)), make([]int32, len(t.b)+1)
	k := 0
	for i := 0; i < len(t.b); k++ {
		c, n := t.b[i], 1
		if c == '%' || c == '\\' || c == '&' {
			c, n = unescapeOne(t.b[i:])
		}
		b[k], at[k] = c, int32(t.place(i))
		i += n
	}
	at[k] = int32(t.place(len(t.b)))
	any := k < len(t.b)
	t.b, t.at = b[:k], at[:k+1]
	return any
}

var entities = map[string]byte{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "sol": '/', "plus": '+',
	"equals": '=', "colon": ':', "comma": ','}

// unescapeOne is the first character of b and its length there. What secrets cannot have stays as it is: they are
// ASCII.
func unescapeOne(b []byte) (c byte, n int) {
	number := func(from, to, base int) (byte, bool) {
		if to > len(b) {
			return 0, false
		}
		v, err := strconv.ParseUint(string(b[from:to]), base, 16)
		return byte(v), err == nil && v < 0x80
	}
	if len(b) < 2 {
		return b[0], 1
	}
	switch b[0] {
	case '%':
		if v, ok := number(1, 3, 16); ok {
			return v, 3
		}
	case '\\':
		switch b[1] {
		case 'u':
			if v, ok := number(2, 6, 16); ok {
				return v, 6
			}
		case 'x':
			if v, ok := number(2, 4, 16); ok {
				return v, 4
			}
		case 't':
			return '\t', 2
		case '/', '\\', '"', '\'':
			return b[1], 2
		}
	case '&':
		end := bytes.IndexByte(b[:min(len(b), 9)], ';')
		if end < 2 {
			break
		}
		name := b[1:end]
		if v, ok := entities[string(name)]; ok {
			return v, end + 1
		}
		from, base := 2, 10
		if name[0] == '#' && len(name) > 1 && (name[1] == 'x' || name[1] == 'X') {
			from, base = 3, 16
		}
		if v, ok := number(from, end, base); ok && name[0] == '#' {
			return v, end + 1
		}
	}
	return b[0], 1
}
