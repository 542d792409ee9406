package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
)

// many gives n headers of length bytes each, name and value together.
func many(n, length int) []Header {
	list := make([]Header, n)
	for i := range list {
		name := fmt.Sprintf("X-%03d", i)
		list[i] = Header{name, NewSecret(strings.Repeat("v", length-len(name)))}
	}
	return list
}

func text(n int64) string { return strings.Repeat("x", int(n)) }

// namesLimit tells whether a message has the limit, a number or nanoseconds, as a word of its own.
func namesLimit(message string, limit int64) bool {
	words := strings.Fields(message)
	d := time.Duration(limit).String()
	return slices.Contains(words, fmt.Sprint(limit)) || slices.Contains(words, d) ||
		slices.Contains(words, strings.TrimSuffix(strings.TrimSuffix(d, "0s"), "0m"))
}

// Each limit is tried at it, one below and one above; beyond it the one violation names the field.
func TestLimits(t *testing.T) {
	const most = MaxHeaderValue / 2
	day := 24 * time.Hour
	month := append(slices.Repeat([]time.Duration{day}, 29), day/2)
	auth := func(a Auth) func(*Webhook) { return func(w *Webhook) { w.Auth = a } }
	for _, c := range []struct {
		field     string
		low, high int64
		set       func(w *Webhook, n int64)
	}{
		{"owner_id", 0, event.MaxIDLen, func(w *Webhook, n int64) { w.OwnerID = text(n) }},
		{"description", 0, MaxDescription, func(w *Webhook, n int64) { w.Description = text(n) }},
		{"signing_key", 1, MaxSigningKey, func(w *Webhook, n int64) {
			w.SigningKeys = []SigningKey{{ID: "k", Key: NewSecret("good")}, {ID: "l", Key: NewSecret(text(n))}}
		}},
		{"event_types", 1, MaxPatterns,
			func(w *Webhook, n int64) { w.EventTypes = slices.Repeat([]string{"**"}, int(n)) }},
		{"timeout", int64(MinTimeout), int64(MaxTimeout), func(w *Webhook, n int64) { w.Timeout = time.Duration(n) }},
		{"retry_schedule", 0, MaxRetries, func(w *Webhook, n int64) {
			w.RetrySchedule = slices.Repeat([]time.Duration{time.Second}, int(n))
		}},
		{"retry_schedule[1]", int64(time.Second), int64(MaxRetryDelay), func(w *Webhook, n int64) {
			w.RetrySchedule = []time.Duration{time.Second, time.Duration(n)}
		}},
		{"retry_schedule", 0, int64(MaxRetryTotal), func(w *Webhook, n int64) {
			w.RetrySchedule = append(slices.Clip(month), time.Duration(n)-29*day-day/2)
		}},
		{"auth.username", 1, MaxHeaderName,
			func(w *Webhook, n int64) { auth(Auth{Type: AuthBasic, Username: text(n)})(w) }},
		{"auth.password", 0, most, func(w *Webhook, n int64) {
			auth(Auth{Type: AuthBasic, Username: "u", Secret: NewSecret(text(n))})(w)
		}},
		{"auth.token", 1, MaxHeaderValue, func(w *Webhook, n int64) {
			auth(Auth{Type: AuthBearer, Secret: NewSecret(text(n))})(w)
		}},
		{"auth.header", 1, MaxHeaderName, func(w *Webhook, n int64) {
			auth(Auth{Type: AuthAPIKey, Header: text(n), Secret: NewSecret("v")})(w)
		}},
		{"auth.value", 1, MaxHeaderValue, func(w *Webhook, n int64) {
			auth(Auth{Type: AuthAPIKey, Header: "X-Key", Secret: NewSecret(text(n))})(w)
		}},
		{"headers", 0, MaxHeaders, func(w *Webhook, n int64) { w.Headers = many(int(n), 10) }},
		{"headers", 0, MaxHeaderBytes, func(w *Webhook, n int64) {
			w.Headers = append(many(7, MaxHeaderBytes/8), Header{"Y", NewSecret(text(n - MaxHeaderBytes/8*7 - 1))})
		}},
		{"headers[0].name", 1, MaxHeaderName,
			func(w *Webhook, n int64) { w.Headers = []Header{{text(n), NewSecret("v")}} }},
		{"headers[0].value", 1, MaxHeaderValue, func(w *Webhook, n int64) {
			w.Headers = []Header{{"X-A", NewSecret(text(n))}}
		}},
	} {
		tries := []int64{c.high - 1, c.high, c.high + 1}
		if c.low > 0 {
			tries = append(tries, c.low-1, c.low, c.low+1)
		}
		for _, n := range tries {
			w := valid()
			c.set(w, n)
			err := w.Check()
			var v event.Violations
			switch good := n >= c.low && n <= c.high; {
			case good && err != nil:
				t.Errorf("%s: Check with %d = %v, want nil", c.field, n, err)
			case !good && (!errors.As(err, &v) || len(v) != 1 || v[0].Field != c.field):
				t.Errorf("%s: Check with %d = %v, want one violation", c.field, n, err)
			case n > c.high && !namesLimit(v[0].Message, c.high):
				t.Errorf("%s: Check with %d = %v, want it to name the limit, %d", c.field, n, err, c.high)
			}
		}
	}
}

func TestURLLimits(t *testing.T) {
	host := func(n int) string { // labels of 49 and one that fills up
		s := strings.Repeat(strings.Repeat("a", 49)+".", n/50) + strings.Repeat("b", n%50)
		return "https://" + s + "/"
	}
	for _, c := range []struct {
		name      string
		low, high int
		url       func(n int) string
	}{
		{"bytes", 0, MaxURL, func(n int) string {
			return "https://example.com/" + text(int64(n-len("https://example.com/")))
		}},
		{"bytes, one longer once normalised", 0, MaxURL - 1, func(n int) string {
			return "https://example.com?" + text(int64(n-len("https://example.com?")))
		}},
		{"bytes, longer by punycode", 0, MaxURL - len("xn--bcher-kva") + len("bücher"), func(n int) string {
			return "https://bücher/" + text(int64(n-len("https://bücher/")))
		}},
		{"port", 1, 65535, func(n int) string { return fmt.Sprintf("https://example.com:%d/", n) }},
		{"label", 1, 63, func(n int) string { return "https://" + text(int64(n)) + ".example/" }},
		{"last label", 1, 63, func(n int) string { return "https://example." + text(int64(n)) + ".b/" }},
		{"name", 0, 253, host},
	} {
		tries := []int{c.high - 1, c.high, c.high + 1}
		if c.low > 0 {
			tries = append(tries, c.low-1, c.low, c.low+1)
		}
		for _, n := range tries {
			got, err := NormalizeURL(c.url(n), POST)
			if good := n >= c.low && n <= c.high; good != (err == nil) || len(got) > MaxURL {
				t.Errorf("%s: NormalizeURL with %d = %v, want it taken: %v", c.name, n, err, good)
			}
		}
	}
}

// Every byte is tried where a target URL, a header's name and its value can have it.
func TestEveryByte(t *testing.T) {
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
	for c := range 256 {
		b := string([]byte{byte(c)})
		good := c > 0x20 && c < 0x7f && b != "\\" && b != "#"
		if _, err := NormalizeURL("https://example.com/?"+b+"20", POST); (err == nil) != good {
			t.Errorf("NormalizeURL with the byte %#x = %v", c, err)
		}
		name, value := CheckHeader("X"+b, "a"+b+"z", false)
		if (name == nil) != strings.Contains(token, b) {
			t.Errorf("CheckHeader of a name with the byte %#x = %v", c, name)
		}
		if (value == nil) != (c == '\t' || c >= 0x20 && c < 0x7f) {
			t.Errorf("CheckHeader of a value with the byte %#x = %v", c, value)
		}
	}
}

// What is wrong is said, not just that something is.
func TestRefusalsSayWhatIsWrong(t *testing.T) {
	for raw, want := range map[string]string{
		"https:///x": "has no host", "https://?x": "has no host", "https://:80/": "has no host", "https://": "has no host",
		"https://[::1": "unclosed [", "https://[]/": "not a plain IPv6 address", "https://[::1]80/": "between ] and the port",
		"https://a:0/": "not a number from 1 to 65535", "https://a@b/": "user name",
		"://a/": "must begin with", "a": "must begin with",
		"https://a../": "empty label", "https://127.1/": "looks like a number", "https://a%62/": "% in the host",
	} {
		if _, err := NormalizeURL(raw, POST); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NormalizeURL(%s) = %v, want an error with %q", raw, err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	for n, want := range map[int64]int{1: 1, WarnSigningKey - 1: 1, WarnSigningKey: 0, WarnSigningKey + 1: 0} {
		w := valid()
		w.SigningKeys = []SigningKey{{ID: "k", Key: NewSecret(text(99))}, {ID: "l", Key: NewSecret("!" + text(n-1))}}
		if got := w.Warnings(); len(got) != want {
			t.Errorf("Warnings with a key of %d bytes = %q, want %d", n, got, want)
		}
		w.URL = "http://example.com/"
		if got := w.Warnings(); len(got) != want+1 {
			t.Errorf("Warnings with a key of %d bytes and plain http = %q, want %d", n, got, want+1)
		}
	}
}

func TestDefaultRetrySchedule(t *testing.T) {
	var total time.Duration
	var got []string
	for _, d := range DefaultRetrySchedule() {
		got, total = append(got, d.String()), total+d
	}
	const want = "5s 30s 2m0s 10m0s 30m0s 1h0m0s 2h0m0s 4h0m0s 8h0m0s 12h0m0s 12h0m0s 12h0m0s 12h0m0s 12h0m0s"
	if strings.Join(got, " ") != want || total.Round(time.Hour) != 76*time.Hour || DefaultTimeout != 15*time.Second {
		t.Errorf("DefaultRetrySchedule() = %s, %v in all, want %s", got, total, want)
	}
}
