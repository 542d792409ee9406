package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

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
		"nothing":     {"", ""},
		"no object":   {`[]`, ""},
		"not JSON":    {`{"id":}`, ""},
		"two values":  {`{} {}`, ""},
		"bad UTF-8":   {"{\"type\":\"\xff\"}", ""},
		"too large":   {`{"data":{"a":"` + strings.Repeat("a", MaxSize) + `"}}`, ""},
		"id no UUID":  {with("0190a5d2", "0190a5d"), "id"},
		"id nil":      {with("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", uuid.Nil.String()), "id"},
		"id a number": {with(`"0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"`, "1"), "id"},
		"id braced": {with("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", "{0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44}"),
			"id"},
		"type unknown":        {with("qap.investor.created", "qap.investor.create"), "type"},
		"type missing":        {with(`"type":"qap.investor.created",`, ""), "type"},
		"object_id empty":     {with(`"i 1"`, `""`), "object_id"},
		"object_id long":      {with(`"i 1"`, `"`+strings.Repeat("x", MaxIDLen+1)+`"`), "object_id"},
		"object_id control":   {with(`"i 1"`, `"i\u0000"`), "object_id"},
		"object_id half pair": {with(`"i 1"`, `"i\ud800"`), "object_id"},
		"object_id null":      {with(`"i 1"`, `null`), "object_id"},
		"owner missing":       {with(`"object_owner_id":"a/1",`, ""), "object_owner_id"},
		"time bad":            {with("2023-03-15T12:46Z", "2023-03-15"), "time"},
		"data a list":         {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":[]}`, "data"},
		"data text":           {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":"x"}`, "data"},
		"data deep":           {`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":` + deep + `}`, "data"},
		"unknown key":         {with(`"owner_id"`, `"owner":"x","owner_id"`), "owner"},
		"twice":               {with(`"owner_id"`, `"type":"qap.investor.created","owner_id"`), "type"},
		"twice, escaped":      {with(`"owner_id"`, `"typ\u0065":"qap.investor.created","owner_id"`), "type"},
	} {
		_, err := Parse([]byte(c.in))
		var v Violations
		if !errors.As(err, &v) || v[0].Field != c.field {
			t.Errorf("%s: Parse = %v, want a violation of %q", name, err, c.field)
		}
	}
}

func TestViolationsAreBounded(t *testing.T) {
	many := "{" + strings.Repeat(`"k":1,`, MaxSize/8) + `"` + strings.Repeat("é", 999) + `":1}`
	for name, in := range map[string]string{"event": many, "batch": `{"events":[` + many + "," + many + `]}`,
		"batch itself": many} {
		_, err := Parse([]byte(in))
		if name != "event" {
			_, err = ParseBatch([]byte(in))
		}
		var v Violations
		if !errors.As(err, &v) || len(v) != maxViolations || len(v.Error()) > 32<<10 {
			t.Errorf("%s: %d violations, want %d", name, len(v), maxViolations)
		}
	}
	_, err := Parse([]byte(`{"` + strings.Repeat("é", 999) + `x":1}`))
	var v Violations
	if !errors.As(err, &v) || v[0].Field != strings.Repeat("é", 32)+"…" {
		t.Errorf("Parse = %v, want a field of 32 letters", err)
	}
}

func TestParseKeepsNothingOfTheBuffer(t *testing.T) {
	raw := []byte(whole)
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	batch := []byte(`{"events":[` + whole + `]}`)
	list, err := ParseBatch(batch)
	if err != nil {
		t.Fatal(err)
	}
	want := string(e.AppendJSON(nil))
	clear(raw)
	clear(batch)
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("the event changed with the buffer: %s", got)
	}
	if got := string(list[0].AppendJSON(nil)); got != want {
		t.Errorf("the batch changed with the buffer: %s", got)
	}
}

// drawEvent is any event that Parse can give, and its data as it was before compaction.
func drawEvent(t *rapid.T) (e Event, data string) {
	id := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return !unicode.IsControl(r) && r != utf8.RuneError }), 1, 40, MaxIDLen)
	space := rapid.SampledFrom([]string{"", " ", "\n\t", "\r\n"})
	token := rapid.SampledFrom([]string{"12345678901234567890.10", "-0", "1E+400", `"\u00e9 \ud83d\ude00"`,
		`" <&> \\\" "`, `"ü  { [ ,:"`,
		"null", "true", "[]", "{ }", `[1, {"a" : [ ]}]`})
	data = "{"
	for i := range rapid.IntRange(0, 5).Draw(t, "members") {
		if i > 0 {
			data += ","
		}
		data += space.Draw(t, "s") + `"k"` + space.Draw(t, "s") + ":" +
			space.Draw(t, "s") + token.Draw(t, "token") + space.Draw(t, "s")
	}
	data += "}"
	e = Event{
		ID: uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Type: rapid.SampledFrom(Catalogue()).Draw(t,
			"type").Name,
		ObjectID: id.Draw(t, "object"), ObjectOwnerID: id.Draw(t, "object owner"), OwnerID: id.Draw(t, "owner"),
		Time: time.UnixMilli(rapid.Int64Range(-62135596799999, 253402300799999).Draw(t, "time")).UTC(),
	}
	e.ID[0] |= 1 // not nil
	return e, data
}

func TestWireFormReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, data := drawEvent(t)
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(data)); err != nil {
			t.Fatal(err)
		}
		e.Data = json.RawMessage(data)
		got, err := Parse(e.AppendJSON(nil))
		if err != nil {
			t.Fatalf("Parse(%s) = %v", e.AppendJSON(nil), err)
		}
		if string(got.Data) != want.String() {
			t.Fatalf("data %s = %s, want %s", data, got.Data, want.String())
		}
		e.Data = got.Data
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("Parse(AppendJSON) = %+v, want %+v", got, e)
		}
		q, err := url.ParseQuery(string(e.AppendQuery(nil)))
		if err != nil || len(q) != len(QueryNames) {
			t.Fatalf("the query %s has %d names, %v", e.AppendQuery(nil), len(q), err)
		}
		for i, want := range []string{e.ID.String(), e.Type, e.ObjectID, e.ObjectOwnerID, e.OwnerID,
			FormatTime(e.Time)} {
			if got := q.Get(QueryNames[i]); got != want {
				t.Fatalf("%s = %q, want %q", QueryNames[i], got, want)
			}
		}
	})
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
	for _, bad := range []string{"", "qap", "qap.investor.*.*.*.*", "qap..created", "qap.inv*.created",
		"qap.investor.create", "QAP.**", "a b", strings.Repeat("a", 300)} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = nil, want an error", bad)
		}
	}
	_, err := ParsePattern("qap.investor.create")
	if err == nil || !strings.Contains(err.Error(), "qap.investor.created") {
		t.Errorf("ParsePattern(qap.investor.create) = %v, want one that names qap.investor.created", err)
	}
	for few, meant := range map[string]string{"qap.*": "qap.**?", "*": "**?", "*.created": "**.created?"} {
		if _, err := ParsePattern(few); err == nil || !strings.Contains(err.Error(), "exactly one segment") || !strings.Contains(err.Error(), meant) {
			t.Errorf("ParsePattern(%s) = %v, want one that explains * and names %s", few, err, meant)
		}
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

// sequences are all of 1 to n words.
func sequences(n int, words ...string) [][]string {
	all, last := [][]string{}, [][]string{nil}
	for range n {
		var next [][]string
		for _, s := range last {
			for _, w := range words {
				next = append(next, append(slices.Clip(s), w))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func TestMatchIsTheDefinition(t *testing.T) {
	names := sequences(6, "a", "b")
	for _, p := range sequences(4, "a", "b", "*", "**") {
		for _, n := range names {
			if got, want := match(p, n), slowMatch(p, n); got != want {
				t.Fatalf("match(%v, %v) = %v, want %v", p, n, got, want)
			}
		}
	}
}

func TestWireFormsGolden(t *testing.T) {
	var b strings.Builder
	for _, typ := range Catalogue() {
		e := typ.Example(time.Date(2023, 3, 15, 12, 46, 0, 0, time.UTC))
		e.ID = uuid.MustParse("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44")
		b.WriteString("POST " + string(e.AppendJSON(nil)) + "\nGET  " + string(e.AppendQuery(nil)) + "\n")
	}
	path := filepath.Join("testdata", "wire.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || b.String() != string(want) {
		t.Errorf("the wire forms are not those of %s (%v); if the change is meant, run with -update\n%s", path,
			err, b.String())
	}
}

// checkWireForm tells whether the wire form of a parsed event is JSON that parses to the same event.
func checkWireForm(t *testing.T, e Event) {
	t.Helper()
	if e.ID == uuid.Nil {
		e.ID = uuid.Must(uuid.NewV7())
	}
	if e.Time.IsZero() {
		e.Time = time.UnixMilli(1).UTC()
	}
	body := e.AppendJSON(nil)
	if !json.Valid(body) {
		t.Fatalf("the wire form is not JSON: %s", body)
	}
	var data bytes.Buffer
	if err := json.Compact(&data, e.Data); err != nil || !bytes.Equal(data.Bytes(), e.Data) {
		t.Fatalf("the data is not compact: %s, %v", e.Data, err)
	}
	q, err := url.ParseQuery(string(e.AppendQuery(nil)))
	if err != nil || q.Get("object_id") != e.ObjectID {
		t.Fatalf("the query %s does not read back: %v", e.AppendQuery(nil), err)
	}
	if len(body) > MaxSize { // an ID and a time were added
		return
	}
	if again, err := Parse(body); err != nil || !reflect.DeepEqual(again, e) {
		t.Fatalf("the wire form %s parses to %+v, %v", body, again, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"type":"qap.investor.created","object_id":"a","object_owner_id":"b","owner_id":"c","data":{"a":[1,{"b":"}\\\""}]}}`))
	f.Add([]byte(` {"id":null,"time":null,"data":null,"type":1,"object_\u0069d":"\ud83d\ude00"} `))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := Parse(raw); err == nil {
			checkWireForm(t, e)
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	f.Add([]byte(`{"events":[` + whole + `]}`))
	f.Add([]byte(`{ "events" : [ {} , [1], ` + whole + ` ] , "x":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ParseBatch(raw)
		if err != nil {
			return
		}
		if len(list) == 0 || len(list) > MaxBatch {
			t.Fatalf("ParseBatch(%q) has %d events", raw, len(list))
		}
		for _, e := range list {
			checkWireForm(t, e)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("qap.**.created")
	f.Add("*.*.**")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if p.String() != s || len(Resolve([]Pattern{p})) == 0 {
			t.Fatalf("ParsePattern(%q) = %s, which matches %v", s, p, Resolve([]Pattern{p}))
		}
		for i := range catalogue {
			name := catalogue[i].Name
			if got, want := p.Match(name), slowMatch(strings.Split(s, "."), strings.Split(name, ".")); got != want {
				t.Fatalf("Match(%q, %s) = %v, want %v", s, name, got, want)
			}
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

func BenchmarkParseBatch(b *testing.B) {
	raw := []byte(`{"events":[` + strings.Repeat(whole+",", 99) + whole + `]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBatch(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e, err := Parse([]byte(whole))
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendJSON(dst[:0])
	}
}
