package ui

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
)

// funcs are what templates can call.
var funcs = template.FuncMap{
	"asset": assetPath, "path": url.PathEscape, "query": queryOf, "set": with,
	"time": timeTag, "ago": agoTag, "iso": client.Time.String, "dur": shortDuration, "ms": millis,
	"wire": client.Duration.String,
	"num":  number, "percent": percent, "rate": successRate, "share": share,
	"status": statusText, "class": classText, "why": explain, "state": stateText, "httpStatus": httpStatus,
	"json": indent, "join": strings.Join, "short": short,
	"spark": spark, "bars": bars, "plot": plotData, "list": func(v ...any) []any { return v }, "map": mapOf,
	"deref":      func(f *float64) float64 { return *f },
	"add":        func(a, b int) int { return a + b },
	"has":        func(list []string, s string) bool { return slices.Contains(list, s) },
	"inWords":    func(s, words string) bool { return slices.Contains(strings.Fields(words), s) },
	"eventTitle": eventTitle, "example": example, "not200": func(n int) bool { return n < 200 || n > 299 },
}

// mapOf makes a map of names and values, to give a template several.
func mapOf(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("map: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// queryOf makes a query of names and values; empty values are left out.
func queryOf(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// with is a query with one value changed; the cursor belongs to the old one and is left out.
func with(v url.Values, name, value string) string {
	n := url.Values{}
	for k, list := range v {
		if k != "cursor" && k != name && len(list) > 0 && list[0] != "" {
			n.Set(k, list[0])
		}
	}
	if value != "" {
		n.Set(name, value)
	}
	return "?" + n.Encode()
}

// timeTag is a time; the browser shows it in the reader's zone, and UTC on hover.
func timeTag(t client.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	text := t.UTC().Format("2006-01-02 15:04:05 UTC")
	return template.HTML(`<time datetime="` + t.String() + `" title="` + text + `">` + text + `</time>`)
}

// agoTag is a time as the span that has gone by since.
func agoTag(t client.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	text := shortDuration(time.Since(t.Time)) + " ago"
	if d := time.Until(t.Time); d > 0 {
		text = "in " + shortDuration(d)
	}
	title := t.UTC().Format("2006-01-02 15:04:05 UTC")
	return template.HTML(`<time class="ago" datetime="` + t.String() + `" title="` + title + `">` + text + `</time>`)
}

// shortDuration is a duration for people: its largest unit, and the next when that is small.
func shortDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case d < 48*time.Hour:
		return strconv.FormatInt(int64(d/time.Hour), 10) + " h"
	}
	return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + " d"
}

// millis is a number of milliseconds for people.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return strconv.FormatFloat(math.Round(ms*10)/10, 'f', -1, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(math.Round(ms), 'f', 0, 64) + " ms"
	case ms < 60_000:
		return strconv.FormatFloat(math.Round(ms/100)/10, 'f', -1, 64) + " s"
	}
	return shortDuration(time.Duration(ms) * time.Millisecond)
}

// number groups the digits of an int or int64 by narrow spaces.
func number(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// successRate is how much of what was attempted was delivered; -1: nothing was attempted.
func successRate(c client.Counts) float64 {
	all := c.Delivered + c.Retried + c.Exhausted
	if all == 0 {
		return -1
	}
	return float64(c.Delivered) / float64(all)
}

// share is a as a part of b, 0 to 100.
func share(a, b int) int {
	if b <= 0 {
		return 0
	}
	return min(100, a*100/b)
}

// percent never rounds to 100 what is less.
func percent(f float64) string {
	if f < 0 {
		return "–"
	}
	p := math.Floor(f*10000) / 100
	return strconv.FormatFloat(p, 'f', -1, 64) + " %"
}

// label is a word with the class of its looks.
type label struct{ Text, Class, Help string }

func statusText(status string) label {
	switch status {
	case client.StatusDelivered:
		return label{"Delivered", "good", "The receiver answered 2xx."}
	case client.StatusWaiting:
		return label{"Waiting", "wait", "Queued, under way, or due later."}
	case client.StatusExhausted:
		return label{"Exhausted", "bad", "All attempts failed; none is left."}
	case client.StatusCancelled:
		return label{"Cancelled", "off", "The webhook was deleted."}
	case "retry":
		return label{"Failed, will retry", "wait", "Another attempt follows."}
	}
	return label{status, "off", ""}
}

func stateText(state string) label {
	switch state {
	case client.StateFailing:
		return label{"Failing", "bad", "Nothing is delivered, and attempts fail."}
	case client.StateUnsteady:
		return label{"Unsteady", "wait", "Some attempts fail."}
	case client.StateOK:
		return label{"Healthy", "good", "All attempts of the hour up to the last one were delivered."}
	case client.StateIdle:
		return label{"Quiet", "off", "No attempt in 30 days."}
	case client.StatePaused:
		return label{"Paused", "off", "Deliveries are held until it is resumed."}
	case client.StateDisabledByUs:
		return label{"Switched off", "bad", "The receiver answered 410 Gone; deliveries are held."}
	}
	return label{state, "off", ""}
}

// classText says what an error class means, without the stop.
func classText(class, reason string) string {
	return cmp.Or(strings.TrimSuffix(client.Explain(class, reason, 0).Means, "."), class)
}

// explain says what an error means, what usually causes it, and what to do; empty: it is none.
func explain(class, reason string, status int) string {
	return client.Explain(class, reason, status).String()
}

func httpStatus(code int) string {
	if code == 0 {
		return "no answer"
	}
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// indent shows JSON over lines; anything else as it is.
func indent(raw any) string {
	var b []byte
	switch x := raw.(type) {
	case json.RawMessage:
		b = x
	case string:
		b = []byte(x)
	}
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

// example is an event as it is sent, over lines.
func example(e client.Event) (string, error) {
	b, err := json.MarshalIndent(e, "", "  ")
	return string(b), err
}

// short is the beginning of an ID.
func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}
