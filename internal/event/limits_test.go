package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimal is an event with no more than it must have, and data.
func minimal(data string) string {
	return `{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":` + data + `}`
}

// padded is an event of n bytes.
func padded(n int) string {
	empty := minimal(`{"a":""}`)
	return minimal(`{"a":"` + strings.Repeat("x", n-len(empty)) + `"}`)
}

func nested(n int) string { // objects and lists by turns
	even := strings.Repeat(`{"a":[`, n/2) + "%s" + strings.Repeat("]}", n/2)
	return fmt.Sprintf(even, []string{"1", `{"a":1}`}[n%2])
}

func batch(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

func parseErr(raw string) error {
	_, err := Parse([]byte(raw))
	return err
}

func parseBatchErr(raw string) error {
	_, err := ParseBatch([]byte(raw))
	return err
}

// Each limit is tried at it, one below and one above; above it the one violation names the field.
func TestLimits(t *testing.T) {
	withID := func(old, letter string) func(int) error {
		return func(n int) error {
			return parseErr(strings.Replace(minimal("{}"), old, `"`+strings.Repeat(letter, n)+`"`, 1))
		}
	}
	for _, c := range []struct {
		name  string
		limit int
		try   func(n int) error
		field string
	}{
		{"bytes of an event", MaxSize, func(n int) error { return parseErr(padded(n)) }, ""},
		{"bytes of an event of a batch", MaxSize, func(n int) error {
			return parseBatchErr(batch(whole, padded(n)))
		}, "events[1]"},
		{"events of a batch", MaxBatch, func(n int) error {
			list, err := ParseBatch([]byte(batch(slices.Repeat([]string{minimal("{}")}, n)...)))
			if err == nil && len(list) != n {
				return fmt.Errorf("%d events of %d", len(list), n)
			}
			return err
		}, "events"},
		{"nesting of data", MaxDepth, func(n int) error { return parseErr(minimal(nested(n))) }, "data"},
		{"object_id", MaxIDLen, withID(`"a"`, "x"), "object_id"},
		{"object_owner_id", MaxIDLen, withID(`"b"`, "x"), "object_owner_id"},
		{"owner_id", MaxIDLen, withID(`"c"`, "x"), "owner_id"},
		{"owner_id, two bytes a letter", MaxIDLen / 2, withID(`"c"`, "é"), "owner_id"},
	} {
		for n := c.limit - 1; n <= c.limit+1; n++ {
			err := c.try(n)
			var v Violations
			switch {
			case n <= c.limit && err != nil:
				t.Errorf("%s: %d = %v, want it taken", c.name, n, err)
			case n > c.limit && (!errors.As(err, &v) || len(v) != 1 || v[0].Field != c.field):
				t.Errorf("%s: %d = %v, want one violation of %q", c.name, n, err, c.field)
			}
		}
	}
}

// Data that is wide is not deep.
func TestNestingIsNotNumber(t *testing.T) {
	if err := parseErr(minimal(`{"a":[` + strings.Repeat("[],{},", MaxDepth) + `1]}`)); err != nil {
		t.Errorf("Parse = %v, want nil", err)
	}
}

// Of what is wrong in many places the first maxViolations are named.
func TestNumberOfViolations(t *testing.T) {
	const again = `"type":"qap.investor.created",`
	for name, raw := range map[string]func(n int) string{
		// and four are missing
		"an event's names":      func(n int) string { return `{` + strings.Repeat(`"k":1,`, n-5) + `"k":1}` },
		"an event's type again": func(n int) string { return "{" + strings.Repeat(again, n) + minimal("{}")[1:] },
		"a batch's names":       func(n int) string { return `{` + strings.Repeat(`"k":1,`, n-1) + `"k":1}` },
		"a batch of no events":  func(n int) string { return batch(slices.Repeat([]string{"1"}, n)...) },
		"a batch of bad data":   func(n int) string { return batch(slices.Repeat([]string{minimal("1")}, n)...) },
	} {
		for n := maxViolations - 1; n <= maxViolations+2; n++ {
			err := parseErr(raw(n))
			if strings.HasPrefix(name, "a batch") {
				err = parseBatchErr(raw(n))
			}
			var v Violations
			if !errors.As(err, &v) || len(v) != min(n, maxViolations) {
				t.Errorf("%s: %d wrong, %d named, want %d", name, n, len(v), min(n, maxViolations))
			}
		}
	}
}

func TestNamesAreCutWhereTheyAreShown(t *testing.T) {
	k64 := strings.Repeat("k", 64)
	for n, want := range map[int]string{63: k64[1:], 64: k64, 65: k64 + "…"} {
		var v Violations
		if err := parseErr(`{"` + strings.Repeat("k", n) + `":1}`); !errors.As(err, &v) || v[0].Field != want {
			t.Errorf("a name of %d bytes: Parse = %v, want the field %s", n, err, want)
		}
	}
}

func TestViolationsAreSentences(t *testing.T) {
	a, c, e := Violation{"a", "b"}, Violation{"c", "d"}, Violation{"e", "f"}
	for want, v := range map[string]Violations{"": nil, "a: b": {a}, "a: b; c: d; e: f": {a, c, e}} {
		if got := v.Error(); got != want {
			t.Errorf("Error() = %q, want %q", got, want)
		}
		if err := v.Err(); (err != nil) != (len(v) > 0) {
			t.Errorf("Err() of %d violations = %v", len(v), err)
		}
	}
}

// members and elements hand out values without the white space around them, whatever they end with.
func TestValuesHaveNoSpaceAround(t *testing.T) {
	values := []string{`1`, `-1.5e+3`, `null`, `true`, `""`, `"\""`, `"a\\"`, `"}],{["`, `[]`, `{}`,
		`[1,[2,{"a":"]"}],3]`, `{"a":{"b":[]}}`}
	for _, s := range []string{"", " ", "\t", "\r", "\n", " \t\r\n "} {
		var object, list []string
		for _, v := range values {
			object = append(object, s+`"k"`+s+":"+s+v+s)
			list = append(list, s+v+s)
		}
		var got []string
		members([]byte(s+"{"+strings.Join(object, ",")+"}"), func(name, value []byte) {
			if string(name) != `"k"` {
				t.Errorf("a member's name is %q", name)
			}
			got = append(got, string(value))
		})
		if !slices.Equal(got, values) {
			t.Errorf("members with %q around have the values %q, want %q", s, got, values)
		}
		raw, count := elements([]byte("[" + strings.Join(list, ",") + "]"))
		got = nil
		for _, v := range raw {
			got = append(got, string(v))
		}
		if !slices.Equal(got, values) || count != len(values) {
			t.Errorf("elements with %q around = %q and %d, want %q", s, got, count, values)
		}
	}
}

// A pattern of the greatest length can match nothing; what is said tells which rule refused it.
func TestPatternLength(t *testing.T) {
	for n, long := range map[int]bool{1: false, maxPattern - 1: false, maxPattern: false, maxPattern + 1: true} {
		_, err := ParsePattern(strings.Repeat("a", n))
		if err == nil || strings.Contains(err.Error(), "must have 1 to") != long {
			t.Errorf("ParsePattern of %d letters = %v, want it too long: %v", n, err, long)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2},
		{"ab", "ba", 2}, {"abcdef", "azced", 3}, {"a", "aaaa", 3}, {"aaaa", "a", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	// Of those equally near the first in the catalogue comes first.
	got := strings.Join(Nearest(""), " ")
	if want := "qap.investor.created qap.investor.updated qap.investor.deleted"; got != want {
		t.Errorf("Nearest() = %s, want %s", got, want)
	}
}

func TestWireFormOfWhatIsEscaped(t *testing.T) {
	e := Event{Type: "t", ObjectID: "\x00\x1f !", ObjectOwnerID: `"[\]`, Time: time.UnixMilli(0),
		OwnerID: "~\x7f\u0080ü\u2028"}
	want := `{"id":"00000000-0000-0000-0000-000000000000","type":"t","object_id":"\u0000\u001f !",` +
		`"object_owner_id":"\"[\\]","owner_id":"` + "~\x7f\u0080ü\u2028" +
		`","time":"1970-01-01T00:00:00.000Z","data":{}}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
}
