package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

var keys = []string{"id", "type", "object_id", "object_owner_id", "owner_id", "time", "data"}

// Parse reads one published event. Its error is Violations. The result keeps nothing of raw.
func Parse(raw []byte) (Event, error) {
	var v Violations
	var e Event
	if len(raw) > MaxSize {
		v.Add("", fmt.Sprintf("the event has %d bytes; at most %d are taken", len(raw), MaxSize))
		return e, v
	}
	if !checkJSON(raw, &v) {
		return e, v
	}
	e.parse(raw, "", &v)
	return e, v.Err()
}

// ParseBatch reads {"events":[…]}, at least one and at most MaxBatch events. Its error is Violations; the fields are
// named like "events[3].type". The result keeps nothing of raw.
func ParseBatch(raw []byte) ([]Event, error) {
	var v Violations
	if !checkJSON(raw, &v) {
		return nil, v
	}
	var list []json.RawMessage
	seen := false
	members(raw, func(key string, value []byte) {
		if key != "events" || seen {
			v.Add(key, "is not expected here; send one member named events")
			return
		}
		seen = true
		if err := json.Unmarshal(value, &list); err != nil || value[0] != '[' {
			v.Add("events", "must be a list of events")
		}
	})
	if len(v) == 0 && (len(list) == 0 || len(list) > MaxBatch) {
		v.Add("events", fmt.Sprintf("has %d events; send 1 to %d", len(list), MaxBatch))
	}
	if len(v) > 0 {
		return nil, v
	}
	out := make([]Event, len(list))
	for i, one := range list {
		field := fmt.Sprintf("events[%d]", i)
		switch {
		case len(one) > MaxSize:
			v.Add(field, fmt.Sprintf("has %d bytes; at most %d are taken", len(one), MaxSize))
		case one[0] != '{':
			v.Add(field, "must be a JSON object")
		default:
			out[i].parse(one, field+".", &v)
		}
		if len(v) >= 100 {
			break // enough to work on
		}
	}
	return out, v.Err()
}

// checkJSON tells whether raw is one JSON object in UTF-8.
func checkJSON(raw []byte, v *Violations) bool {
	switch {
	case !utf8.Valid(raw):
		v.Add("", "the body is not valid UTF-8")
	case !json.Valid(raw):
		v.Add("", "the body is not valid JSON")
	case bytes.TrimLeft(raw, " \t\r\n")[0] != '{':
		v.Add("", "the body must be a JSON object")
	default:
		return true
	}
	return false
}

// members calls f for each member of a valid JSON object, with the value trimmed of white space.
func members(raw []byte, f func(key string, value []byte)) {
	i := space(raw, 0) + 1
	for {
		if i = space(raw, i); raw[i] == '}' {
			return
		}
		if raw[i] == ',' {
			i = space(raw, i+1)
		}
		end := skip(raw, i)
		key := unquote(raw[i:end])
		i = space(raw, end)
		i = space(raw, i+1) // behind the colon
		end = skip(raw, i)
		f(key, raw[i:end])
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
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
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

// unquote is the content of a valid JSON string.
func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s) // it is valid
	return s
}

func (e *Event) parse(raw []byte, prefix string, v *Violations) {
	e.Data = json.RawMessage("{}")
	var seen [7]bool
	members(raw, func(key string, value []byte) {
		i := slices.Index(keys, key)
		switch {
		case i < 0:
			v.Add(prefix+key, "is not a property of an event; the properties are "+strings.Join(keys, ", "))
			return
		case seen[i]:
			v.Add(prefix+key, "is given twice")
			return
		}
		seen[i] = true
		if key == "data" {
			e.Data = parseData(value, prefix, v)
			return
		}
		if string(value) == "null" && (key == "id" || key == "time") {
			return
		}
		if value[0] != '"' {
			v.Add(prefix+key, "must be a string")
			return
		}
		e.set(key, unquote(value), prefix, v)
	})
	for i, k := range keys[1:5] {
		if !seen[i+1] {
			v.Add(prefix+k, "is missing")
		}
	}
}

func (e *Event) set(key, s, prefix string, v *Violations) {
	switch key {
	case "id":
		id, err := uuid.Parse(s)
		if err != nil || len(s) != 36 || id == uuid.Nil {
			v.Add(prefix+key, "must be a UUID such as 0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44, or be left out")
			return
		}
		e.ID = id
	case "type":
		i := Index(s)
		if i < 0 {
			v.Add(prefix+key, "is not an event type; did you mean "+strings.Join(Nearest(s), ", ")+"?")
			return
		}
		e.Type = catalogue[i].Name // the one string for all events
	case "object_id":
		e.ObjectID = checkID(key, s, prefix, v)
	case "object_owner_id":
		e.ObjectOwnerID = checkID(key, s, prefix, v)
	case "owner_id":
		e.OwnerID = checkID(key, s, prefix, v)
	case "time":
		t, ok := parseTime(s)
		if !ok {
			v.Add(prefix+key, "must be an RFC 3339 time such as 2023-03-15T12:46:00.000Z or 2023-03-15T12:46Z, or be left out")
			return
		}
		e.Time = t
	}
}

func checkID(key, s, prefix string, v *Violations) string {
	switch {
	case s == "":
		v.Add(prefix+key, "must not be empty")
	case len(s) > MaxIDLen:
		v.Add(prefix+key, fmt.Sprintf("has %d bytes; at most %d are taken", len(s), MaxIDLen))
	case strings.ContainsFunc(s, unicode.IsControl):
		v.Add(prefix+key, "must not have control characters")
	}
	return s
}

// parseTime takes RFC 3339 and the product page's form without seconds.
func parseTime(s string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(form, s); err == nil {
			t = t.UTC().Truncate(time.Millisecond)
			return t, t.Year() >= 1 && t.Year() <= 9999 && !t.IsZero()
		}
	}
	return time.Time{}, false
}

// parseData takes the white space between tokens away and leaves every token as it is.
func parseData(value []byte, prefix string, v *Violations) json.RawMessage {
	if string(value) == "null" {
		return json.RawMessage("{}")
	}
	if value[0] != '{' {
		v.Add(prefix+"data", "must be a JSON object")
		return nil
	}
	out := make([]byte, 0, len(value))
	depth, from := 0, 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			for i++; value[i] != '"'; i++ {
				if value[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > MaxDepth {
				v.Add(prefix+"data", fmt.Sprintf("is nested deeper than %d", MaxDepth))
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
