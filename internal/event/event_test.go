package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

const whole = `{"id":"0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44","type":"qap.investor.created","object_id":"i 1","object_owner_id":"a/1","owner_id":"ü","time":"2023-03-15T12:46Z","data":{ "n" : 12345678901234567890.10, "s":"a \u00e9 <b>" }}`

func TestParseKeepsEveryTokenOfData(t *testing.T) {
	e, err := Parse([]byte(whole))
	if err != nil {
		t.Fatalf("Parse = %v", err)
	}
	if got, want := string(e.Data), `{"n":12345678901234567890.10,"s":"a \u00e9 <b>"}`; got != want {
		t.Errorf("data = %s, want %s", got, want)
	}
	want := `{"id":"0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44","type":"qap.investor.created","object_id":"i 1","object_owner_id":"a/1","owner_id":"ü","time":"2023-03-15T12:46:00.000Z","data":` + string(e.Data) + `}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
	want = "id=0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44&type=qap.investor.created&object_id=i%201&object_owner_id=a%2F1&owner_id=%C3%BC&time=2023-03-15T12%3A46%3A00.000Z"
	if got := string(e.AppendQuery(nil)); got != want {
		t.Errorf("AppendQuery = %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDepth) + "{}" + strings.Repeat("}", MaxDepth)
	with := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%s is not in the event", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	for name, c := range map[string]struct{ in, field string }{
		"nothing":           {"", ""},
		"no object":         {`[]`, ""},
		"not JSON":          {`{"id":}`, ""},
		"two values":        {`{} {}`, ""},
		"bad UTF-8":         {"{\"type\":\"\xff\"}", ""},
		"too large":         {`{"data":{"a":"` + strings.Repeat("a", MaxSize) + `"}}`, ""},
		"id no UUID":        {with("0190a5d2", "0190a5d"), "id"},
		"id nil":            {with("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", uuid.Nil.String()), "id"},
		"id a number":       {with(`"0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"`, "1"), "id"},
		"id braced":         {with("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", "{0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44}"), "id"},
		"type unknown":      {with("qap.investor.created", "qap.investor.create"), "type"},
		"type missing":      {with(`"type":"qap.investor.created",`, ""), "type"},
		"object_id empty":   {with(`"i 1"`, `""`), "object_id"},
		"object_id long":    {with(`"i 1"`, `"`+strings.Repeat("x", MaxIDLen+1)+`"`), "object_id"},
		"object_id control": {with(`"i 1"`, `"i\u0000"`), "object_id"},
		"object_id null":    {with(`"i 1"`, `null`), "object_id"},
		"owner missing":     {with(`"object_owner_id":"a/1",`, ""), "object_owner_id"},
		"time bad":          {with("2023-03-15T12:46Z", "2023-03-15"), "time"},
		"data a list":       {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":[]}`, "data"},
		"data text":         {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":"x"}`, "data"},
		"data deep":         {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":` + deep + `}`, "data"},
		"unknown key":       {with(`"owner_id"`, `"owner":"x","owner_id"`), "owner"},
		"twice":             {with(`"owner_id"`, `"type":"qap.investor.created","owner_id"`), "type"},
		"twice, escaped":    {with(`"owner_id"`, `"typ\u0065":"qap.investor.created","owner_id"`), "type"},
	} {
		_, err := Parse([]byte(c.in))
		var v Violations
		if !errors.As(err, &v) || v[0].Field != c.field {
			t.Errorf("%s: Parse = %v, want a violation of %q", name, err, c.field)
		}
	}
}

func TestParseTimes(t *testing.T) {
	for in, want := range map[string]string{
		"2023-03-15T12:46Z":                   "2023-03-15T12:46:00.000Z",
		"2023-03-15T12:46:01+02:00":           "2023-03-15T10:46:01.000Z",
		"2023-03-15T12:46:01.123456789-01:00": "2023-03-15T13:46:01.123Z",
	} {
		got, ok := parseTime(in)
		if !ok || FormatTime(got) != want {
			t.Errorf("parseTime(%s) = %s, %v, want %s", in, FormatTime(got), ok, want)
		}
	}
}

func TestParseBatch(t *testing.T) {
	got, err := ParseBatch([]byte(`{"events":[` + whole + `,` + whole + `]}`))
	if err != nil || len(got) != 2 {
		t.Fatalf("ParseBatch = %d events, %v, want 2", len(got), err)
	}
	for in, field := range map[string]string{
		`{}`:              "events",
		`{"events":null}`: "events",
		`{"events":[]}`:   "events",
		`{"events":[` + strings.Repeat("{},", MaxBatch) + `{}]}`:        "events",
		`{"events":[` + whole + `,1]}`:                                  "events[1]",
		`{"events":[` + whole + `],"more":1}`:                           "more",
		`{"events":[` + strings.Replace(whole, "qap.", "qa.", 1) + `]}`: "events[0].type",
	} {
		_, err := ParseBatch([]byte(in))
		var v Violations
		if !errors.As(err, &v) || v[0].Field != field {
			t.Errorf("ParseBatch(%.60s) = %v, want a violation of %q", in, err, field)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, want := range map[string]int{
		"**": 9, "qap.**": 9, "qap.investor.*": 4, "qap.investor.advice.*": 4, "qap.investor.advice.**": 5, "qap.*.created": 1,
		"**.created": 3, "**.deleted": 2, "qap.**.created": 3, "qap.investor.created": 1, "*.*.*": 4, "**.*.**": 9,
	} {
		p, err := ParsePattern(pattern)
		if got := len(Resolve([]Pattern{p})); err != nil || got != want {
			t.Errorf("Resolve(%s) has %d types, %v, want %d", pattern, got, err, want)
		}
	}
	for _, bad := range []string{"", "qap", "qap.investor.*.*.*.*", "qap..created", "qap.inv*.created", "qap.investor.create", "QAP.**", "a b", strings.Repeat("a", 300)} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = nil, want an error", bad)
		}
	}
	_, err := ParsePattern("qap.investor.create")
	if err == nil || !strings.Contains(err.Error(), "qap.investor.created") {
		t.Errorf("ParsePattern(qap.investor.create) = %v, want one that names qap.investor.created", err)
	}
}

// slowMatch is the definition of a pattern, word for word.
func slowMatch(p, n []string) bool {
	switch {
	case len(p) == 0:
		return len(n) == 0
	case len(n) == 0:
		return false
	case p[0] == "**":
		return slowMatch(p[1:], n[1:]) || slowMatch(p, n[1:])
	}
	return (p[0] == "*" || p[0] == n[0]) && slowMatch(p[1:], n[1:])
}

func TestMatchIsTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*", "**"}), 1, 6).Draw(t, "pattern")
		n := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 1, 8).Draw(t, "name")
		if got, want := match(p, n), slowMatch(p, n); got != want {
			t.Fatalf("match(%v, %v) = %v, want %v", p, n, got, want)
		}
	})
}

func TestWireFormsGolden(t *testing.T) {
	var b strings.Builder
	for _, typ := range Catalogue() {
		e := typ.Example(time.Date(2023, 3, 15, 12, 46, 0, 0, time.UTC))
		e.ID = uuid.MustParse("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44")
		b.WriteString("POST " + string(e.AppendJSON(nil)) + "\nGET  " + string(e.AppendQuery(nil)) + "\n")
		if !json.Valid(typ.DataSchema) {
			t.Errorf("the schema of %s is not JSON", typ.Name)
		}
	}
	path := filepath.Join("testdata", "wire.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || b.String() != string(want) {
		t.Errorf("the wire forms are not those of %s (%v); if the change is meant, run with -update\n%s", path, err, b.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":{"a":[1,{"b":"}\\\""}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Parse(raw)
		if err != nil {
			return
		}
		if e.ID == uuid.Nil {
			e.ID = uuid.Must(uuid.NewV7())
		}
		if e.Time.IsZero() {
			e.Time = time.UnixMilli(1)
		}
		body := e.AppendJSON(nil)
		again, err := Parse(body)
		if err != nil && len(body) <= MaxSize {
			t.Fatalf("the wire form of %q does not parse: %v: %s", raw, err, body)
		}
		if err == nil && !bytes.Equal(again.AppendJSON(nil), body) {
			t.Fatalf("the wire form of %q changes", raw)
		}
		q, err := url.ParseQuery(string(e.AppendQuery(nil)))
		if err != nil || q.Get("object_id") != e.ObjectID {
			t.Fatalf("the query of %q does not read back: %v", raw, err)
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	f.Add([]byte(`{"events":[` + whole + `]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if list, err := ParseBatch(raw); err == nil && (len(list) == 0 || len(list) > MaxBatch) {
			t.Fatalf("ParseBatch(%q) has %d events", raw, len(list))
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("qap.**.created")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePattern(s); err == nil && len(Resolve([]Pattern{p})) == 0 {
			t.Fatalf("ParsePattern(%q) matches nothing", s)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(whole)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
