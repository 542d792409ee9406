package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// maxViolations is how many broken rules are named, more or less; they are enough to work on, and the answer to a
// request stays about as small as the request.
const maxViolations = 100

// yieldFrom is the size of an event, bytes, from which on it lets others run before it is read: a batch of such events
// takes milliseconds, and the journal's writer and other publishers' requests would wait for a processor meanwhile.
const yieldFrom = 1 << 10

// The properties of an event, by their place in keys.
const (
	keyID = iota
	keyType
	keyObjectID
	keyObjectOwnerID
	keyOwnerID
	keyTime
	keyData
)

var keys = [...]string{"id", "type", "object_id", "object_owner_id", "owner_id", "time", "data"}

// Parse reads one published event: a JSON object (RFC 8259) of the seven properties in the design's "Wire forms", no
// others and none twice. ID and Time stay zero when they are not given. Its error is Violations. The result keeps
// nothing of raw.
func Parse(raw []byte) (Event, error) {
	var v Violations
	var e Event
	if len(raw) > MaxSize {
		v.Add("", fmt.Sprintf("the event has %d bytes; at most %d are taken", len(raw), MaxSize))
		return e, v
	}
	if !checkJSON(raw, `, one event; /v1/events/batch takes several`, &v) {
		return e, v
	}
	e.parse(raw, -1, &v)
	return e, v.Err()
}

// ParseBatch reads {"events":[…]}, at least one and at most MaxBatch events. Its error is Violations; the fields are
// named like "events[3].type". The result keeps nothing of raw.
func ParseBatch(raw []byte) ([]Event, error) {
	var v Violations
	if !checkJSON(raw, `, {"events":[…]}`, &v) {
		return nil, v
	}
	var list [][]byte
	count, seen := 0, false
	members(raw, func(name, value []byte) {
		switch {
		case len(v) >= maxViolations:
		case !is(name, "events"):
			v.Add(shown(name), "is not expected here; send one member named events")
		case seen:
			v.Add("events", "is given twice; send one list")
		case value[0] != '[':
			v.Add("events", "must be a list of events")
		default:
			list, count = elements(value)
		}
		seen = seen || is(name, "events")
	})
	if len(v) == 0 && (count == 0 || count > MaxBatch) {
		v.Add("events", fmt.Sprintf("has %d events; send 1 to %d", count, MaxBatch))
	}
	if len(v) > 0 {
		return nil, v
	}
	out := make([]Event, len(list))
	for i, one := range list {
		if len(one) > yieldFrom {
			runtime.Gosched()
		}
		switch {
		case len(one) > MaxSize:
			v.Add(batchField(i), fmt.Sprintf("has %d bytes; at most %d are taken", len(one), MaxSize))
		case one[0] != '{':
			v.Add(batchField(i), "must be a JSON object")
		default:
			out[i].parse(one, i, &v)
		}
		if len(v) >= maxViolations {
			break
		}
	}
	return out, v.Err()
}

// checkJSON tells whether raw is one JSON object in UTF-8; which says of what.
func checkJSON(raw []byte, which string, v *Violations) bool {
	switch {
	case !utf8.Valid(raw):
		v.Add("", "the body is not valid UTF-8")
	case !json.Valid(raw):
		v.Add("", "the body is not valid JSON")
	case bytes.TrimLeft(raw, " \t\r\n")[0] != '{':
		v.Add("", "the body must be a JSON object"+which)
	default:
		return true
	}
	return false
}

// members calls f for each member of a valid JSON object: its name as it stands there, quotes included, and its value
// without the white space around it.
func members(raw []byte, f func(name, value []byte)) {
	i := space(raw, 0) + 1
	for {
		if i = space(raw, i); raw[i] == '}' {
			return
		}
		if raw[i] == ',' {
			i = space(raw, i+1)
		}
		end := skip(raw, i)
		name := raw[i:end]
		i = space(raw, end)
		i = space(raw, i+1) // behind the colon
		end = skip(raw, i)
		f(name, raw[i:end])
		i = end
	}
}

// elements are the first MaxBatch values of a valid JSON array, and how many it has.
func elements(raw []byte) (list [][]byte, count int) {
	i := 1
	for {
		if i = space(raw, i); raw[i] == ']' {
			return list, count
		}
		if raw[i] == ',' {
			i = space(raw, i+1)
		}
		end := skip(raw, i)
		if count++; count <= MaxBatch {
			list = append(list, raw[i:end])
		}
		i = end
	}
}

func space(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skip is the index behind the value that begins at i, in valid JSON.
func skip(b []byte, i int) int {
	depth := 0
	for {
		switch c := b[i]; c {
		case '"':
			if i = quoted(b, i); depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		default:
			if depth == 0 {
				for i < len(b) && strings.IndexByte(" \t\r\n,]}", b[i]) < 0 {
					i++
				}
				return i
			}
		}
		i++
	}
}

// quoted is the index of the quote that ends the string that begins at i, in valid JSON.
func quoted(b []byte, i int) int {
	for from := i + 1; ; {
		end := from + bytes.IndexByte(b[from:], '"')
		escapes := end
		for escapes > from && b[escapes-1] == '\\' {
			escapes--
		}
		if (end-escapes)%2 == 0 {
			return end
		}
		from = end + 1
	}
}

// unquote is the content of a valid JSON string, a part of b where it has no escapes.
func unquote(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b[1 : len(b)-1]
	}
	var s string
	_ = json.Unmarshal(b, &s) // it is valid
	return []byte(s)
}

// is tells whether a valid JSON string is s.
func is(b []byte, s string) bool { return string(unquote(b)) == s }

// shown is the name of a member as a violation tells it, cut to what a reader wants to see.
func shown(name []byte) string {
	s := string(unquote(name))
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

func batchField(i int) string { return fmt.Sprintf("events[%d]", i) }

// problems adds the violations of one event to a list: at is its place in a batch, -1 when it is alone. The names of
// fields are made only when they are needed.
type problems struct {
	v  *Violations
	at int
}

func (p problems) add(field, message string) {
	if p.at >= 0 {
		field = batchField(p.at) + "." + field
	}
	p.v.Add(field, message)
}

// parse reads a valid JSON object.
func (e *Event) parse(raw []byte, at int, v *Violations) {
	p := problems{v, at}
	e.Data = json.RawMessage("{}")
	var seen [len(keys)]bool
	members(raw, func(name, value []byte) {
		if len(*v) >= maxViolations {
			return
		}
		key := keyOf(name)
		switch {
		case key < 0:
			p.add(shown(name), "is not a property of an event; the properties are "+strings.Join(keys[:], ", "))
			return
		case seen[key]:
			p.add(keys[key], "is given twice; send it once")
			return
		}
		seen[key] = true
		switch {
		case key == keyData:
			e.Data = parseData(value, p)
		case value[0] == 'n' && (key == keyID || key == keyTime): // null
		case value[0] != '"':
			p.add(keys[key], "must be a string")
		default:
			e.set(key, unquote(value), p)
		}
	})
	for key := keyType; key <= keyOwnerID; key++ {
		if !seen[key] && len(*v) < maxViolations {
			p.add(keys[key], "is missing; send it as a string")
		}
	}
}

// keyOf is the place of a member's name in keys, or -1.
func keyOf(name []byte) int {
	name = unquote(name)
	for i := range keys {
		if string(name) == keys[i] {
			return i
		}
	}
	return -1
}

func (e *Event) set(key int, b []byte, p problems) {
	switch key {
	case keyID:
		id, err := uuid.ParseBytes(b)
		if err != nil || len(b) != 36 || id == uuid.Nil {
			p.add(keys[key], "must be a UUID such as 0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44, or be left out")
			return
		}
		e.ID = id
	case keyType:
		i, ok := index[string(b)]
		if !ok {
			p.add(keys[key], "is not an event type; did you mean "+strings.Join(Nearest(string(b)), ", ")+"?")
			return
		}
		e.Type = catalogue[i].Name // the one string for all events
	case keyObjectID:
		e.ObjectID = parseID(key, b, p)
	case keyObjectOwnerID:
		e.ObjectOwnerID = parseID(key, b, p)
	case keyOwnerID:
		e.OwnerID = parseID(key, b, p)
	case keyTime:
		t, ok := parseTime(string(b))
		if !ok {
			p.add(keys[key], "must be an RFC 3339 time such as 2023-03-15T12:46:00.000Z or 2023-03-15T12:46Z, or be left out")
			return
		}
		e.Time = t
	}
}

func parseID(key int, b []byte, p problems) string {
	switch {
	case len(b) == 0:
		p.add(keys[key], "must not be empty")
	case len(b) > MaxIDLen:
		p.add(keys[key], fmt.Sprintf("has %d bytes; at most %d are taken", len(b), MaxIDLen))
	case bytes.ContainsFunc(b, unicode.IsControl):
		p.add(keys[key], "must not have control characters")
	case bytes.ContainsRune(b, utf8.RuneError): // what half a surrogate pair becomes: two IDs would be one
		p.add(keys[key], "must not have half a surrogate pair or U+FFFD")
	default:
		return string(b)
	}
	return ""
}

// parseData takes the white space between tokens away and leaves every token as it is.
func parseData(value []byte, p problems) json.RawMessage {
	if value[0] == 'n' { // null
		return json.RawMessage("{}")
	}
	if value[0] != '{' {
		p.add(keys[keyData], "must be a JSON object")
		return nil
	}
	out := make([]byte, 0, len(value))
	depth, from := 0, 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i = quoted(value, i)
		case '{', '[':
			if depth++; depth > MaxDepth {
				p.add(keys[keyData], fmt.Sprintf("is nested deeper than %d", MaxDepth))
				return nil
			}
		case '}', ']':
			depth--
		case ' ', '\t', '\r', '\n':
			out = append(out, value[from:i]...)
			from = i + 1
		}
	}
	return append(out, value[from:]...)
}
