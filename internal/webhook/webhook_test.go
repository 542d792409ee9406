package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
)

func TestNormalizeURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://Example.COM":                    "https://example.com/",
		"HTTPS://example.com:443/a?b=%2F":        "https://example.com/a?b=%2F",
		"http://example.com:80/":                 "http://example.com/",
		"https://example.com:8443/x//y/../z?q=;": "https://example.com:8443/x//y/../z?q=;",
		"https://example.com?x=1":                "https://example.com/?x=1",
		"https://bücher.example/a":               "https://xn--bcher-kva.example/a",
		"https://127.0.0.1/":                     "https://127.0.0.1/",
		"https://[2001:DB8::1]:444/":             "https://[2001:db8::1]:444/",
		"https://a_b.example/":                   "https://a_b.example/",
	} {
		got, err := NormalizeURL(in, POST)
		if err != nil || got != want {
			t.Errorf("NormalizeURL(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "example.com", "//example.com/", "ftp://example.com/", "javascript://example.com/", "https:example.com", "https:///x", "https://",
		"https://user@example.com/", "https://@example.com/", "https://u:p@example.com/", "https://example.com:0/", "https://example.com:65536/",
		"https://example.com:/", "https://example.com:08443/", "https://example.com:x/", "https://exa mple.com/", "https://example.com/a b",
		"https://example.com/\r\nX: y", "https://example.com/\x00", "https://example.com\\@evil.example/", "https://example.com/\x7f",
		"https://example.com/ü", "https://１２７.０.０.１/", "https://ⓛocalhost/", "https://127.1/", "https://2130706433/", "https://0x7f000001/",
		"https://127.0.0.0x1/", "https://0177.0.0.1/", "https://127.0.0.01/", "https://1.2.3.4.5/", "https://[fe80::1%25eth0]/", "https://[127.0.0.1]/",
		"https://[::ffff:127.0.0.1]/", "https://[::1/", "https://[::1]x/", "https://" + strings.Repeat("a", 64) +
			".example/",
		"https://" + strings.Repeat("a.", 127) +
			"example/", "https://a..b/", "https://example.com/#x", "https://example.com/" + strings.Repeat("x", MaxURL),
		"https://ex%61mple.com/", "https://example.com%2f/", "https://-a.example/", "https://a-.example/", "https://a.-b/", "https://b.a-/",
	} {
		if got, err := NormalizeURL(bad, POST); err == nil {
			t.Errorf("NormalizeURL(%q) = %q, want an error", bad, got)
		}
	}
	for _, bad := range []string{"?id=1", "?a=1&type=x", "?%69d=1", "?owner_id", "?a=%zz", "?a=1;b=2", "?time=",
		"?object_id=&x", "?object_owner_id=1"} {
		if got, err := NormalizeURL("https://example.com/"+bad, GET); err == nil {
			t.Errorf("NormalizeURL(%q, GET) = %q, want an error", bad, got)
		}
	}
	if _, err := NormalizeURL("https://example.com/?source=1&ID=2", GET); err != nil {
		t.Errorf("NormalizeURL of other parameters = %v, want nil", err)
	}
}

func TestCheckHeader(t *testing.T) {
	for _, name := range []string{"X-System", "X-Api-Key", "Authorization", "x", "Accept", "X_Y"} {
		if n, v := CheckHeader(name, "a value\twith tab", false); n != nil || v != nil {
			t.Errorf("CheckHeader(%s) = %v, %v, want none", name, n, v)
		}
	}
	for _, name := range []string{
		"", "a b", "a:b", "ä", "a\r\n", strings.Repeat("x", MaxHeaderName+1),
		"Connection", "keep-alive", "Proxy-Authorization", "proxy-anything", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings",
		"Content-Length", "HOST", "Expect", "Content-Type", "content-encoding", "Repr-Digest", "Digest", "Accept-Encoding", "Range", "If-Match",
		"X-Quantfolio-Signature-256", "x-quantfolio-else", "webhook-id", "Webhook-Other", "Signature", "Signature-Input", "X-Hub-Signature-256",
		"User-Agent", "Date", "From", "Idempotency-Key", "X-Idempotency-Key", "Forwarded", "X-Forwarded-For", "X-Real-IP", "Via",
		"X-HTTP-Method-Override", "X-Method-Override", "traceparent", "tracestate", "baggage", "Metadata", "Metadata-Flavor",
		"X-aws-ec2-metadata-token", "X-Google-Metadata-Request", "Cookie", "Origin", "Referer", "Sec-Fetch-Mode",
	} {
		if n, _ := CheckHeader(name, "v", false); n == nil {
			t.Errorf("CheckHeader(%q) = nil, want an error", name)
		}
	}
	if n, _ := CheckHeader("authorization", "v", true); n == nil {
		t.Error("CheckHeader(authorization) beside an authentication = nil, want an error")
	}
	for _, value := range []string{"", " a", "a ", "\ta", "a\r\nb", "a\x00", "ä", "\x7f",
		strings.Repeat("x", MaxHeaderValue+1)} {
		if _, v := CheckHeader("X-A", value, false); v == nil {
			t.Errorf("CheckHeader(X-A: %q) = nil, want an error", value)
		}
	}
}

func valid() *Webhook {
	return &Webhook{ID: "w", Tenant: "t", URL: "https://example.com/", Method: POST, EventTypes: []string{"**"},
		Auth:    Auth{Type: AuthNone},
		Timeout: DefaultTimeout, RetrySchedule: DefaultRetrySchedule()}
}

func TestCheckNamesEachField(t *testing.T) {
	if err := valid().Check(); err != nil {
		t.Fatalf("Check of a valid webhook = %v, want nil", err)
	}
	long := make([]Header, MaxHeaders+1)
	for field, change := range map[string]func(*Webhook){
		"method":         func(w *Webhook) { w.Method = "PUT" },
		"url":            func(w *Webhook) { w.URL = "x" },
		"event_types":    func(w *Webhook) { w.EventTypes = nil },
		"event_types[1]": func(w *Webhook) { w.EventTypes = []string{"**", "nothing.*"} },
		"owner_id":       func(w *Webhook) { w.OwnerID = "a\nb" },
		"auth.type":      func(w *Webhook) { w.Auth.Type = "digest" },
		"auth.username":  func(w *Webhook) { w.Auth = Auth{Type: AuthBasic, Username: "a:b"} },
		"auth.password": func(w *Webhook) {
			w.Auth = Auth{Type: AuthBasic, Username: "a",
				Secret: NewSecret("x\n")}
		},
		"auth.token": func(w *Webhook) { w.Auth = Auth{Type: AuthBearer, Secret: NewSecret("a b")} },
		"auth.header": func(w *Webhook) {
			w.Auth = Auth{Type: AuthAPIKey, Header: "Host",
				Secret: NewSecret("a")}
		},
		"auth.value":       func(w *Webhook) { w.Auth = Auth{Type: AuthAPIKey, Header: "X-Key"} },
		"headers":          func(w *Webhook) { w.Headers = long },
		"headers[1].name":  func(w *Webhook) { w.Headers = []Header{{"X-A", NewSecret("1")}, {"x-a", NewSecret("2")}} },
		"headers[0].value": func(w *Webhook) { w.Headers = []Header{{"X-A", NewSecret("1\r\n")}} },
		"headers[0].name": func(w *Webhook) {
			w.Headers = []Header{{"Authorization", NewSecret("1")}}
			w.Auth = Auth{Type: AuthBearer, Secret: NewSecret("t")}
		},
		"signing_key":       func(w *Webhook) { w.SigningKeys = []SigningKey{{ID: "k", Key: NewSecret("a\x00")}} },
		"description":       func(w *Webhook) { w.Description = strings.Repeat("x", MaxDescription+1) },
		"timeout":           func(w *Webhook) { w.Timeout = time.Hour },
		"retry_schedule[0]": func(w *Webhook) { w.RetrySchedule = []time.Duration{time.Millisecond} },
		"retry_schedule":    func(w *Webhook) { w.RetrySchedule = make([]time.Duration, MaxRetries+1) },
	} {
		w := valid()
		change(w)
		var v event.Violations
		if err := w.Check(); !errors.As(err, &v) || len(v) != 1 || v[0].Field != field {
			t.Errorf("Check = %v, want one violation of %s", err, field)
		}
	}
}

func TestRotation(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := valid()
	if one, all := w.KeysAt(now); one != nil || all != nil {
		t.Fatal("a webhook without keys signs")
	}
	w.Rotate(NewSecret("old"), now, now, time.Hour)
	w.Rotate(NewSecret("new"), now, now.Add(time.Hour), 24*time.Hour)
	for _, c := range []struct {
		after time.Duration
		one   string
		all   int
	}{{0, "old", 2}, {59 * time.Minute, "old", 2}, {time.Hour, "new", 2}, {24 * time.Hour, "new", 2}, {25 * time.Hour,
		"new", 1}} {
		one, all := w.KeysAt(now.Add(c.after))
		if one.Key.Reveal() != c.one || len(all) != c.all {
			t.Errorf("KeysAt(+%v) = %s and %d keys, want %s and %d", c.after, one.Key.Reveal(), len(all), c.one, c.all)
		}
	}
	w.Rotate(NewSecret("newest"), now.Add(2*time.Hour), now.Add(2*time.Hour), 0)
	if len(w.SigningKeys) != 2 {
		t.Errorf("%d keys after a third, want 2", len(w.SigningKeys))
	}
}

const canary = "canary-5f1e-secret"

func TestSecretCannotBePrinted(t *testing.T) {
	s := NewSecret(canary)
	h := Header{"X-A", s}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%o"} {
		for _, x := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"a": s},
			Webhook{Auth: Auth{Secret: s}, Headers: []Header{h}}} {
			fmt.Fprintf(&b, verb, x)
		}
	}
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		l.Info("x", "secret", s, "header", h, "pointer", &h, "list", []Header{h})
	}
	if err := json.NewEncoder(&b).Encode(map[string]any{"s": s, "h": h}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&b, fmt.Errorf("failed: %v", s), s.String(), s.GoString())
	if out := b.String(); strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret was printed: %s", out)
	}
}

func TestKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	k, err := LoadOrCreateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file's mode is %v, %v, want 0600", info.Mode(), err)
	}
	sealed, err := k.Seal(NewSecret(canary), "t", "w", "auth")
	if err != nil || bytes.Contains(sealed, []byte(canary)) {
		t.Fatalf("Seal = %q, %v", sealed, err)
	}
	again, err := LoadOrCreateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := again.Open(sealed, "t", "w", "auth"); err != nil || s.Reveal() != canary {
		t.Errorf("Open = %v, want the secret", err)
	}
	for _, p := range [][3]string{{"u", "w", "auth"}, {"t", "x", "auth"}, {"t", "w", "header"}, {"tw", "", "auth"}} {
		if _, err := again.Open(sealed, p[0], p[1], p[2]); err == nil {
			t.Errorf("what was sealed for t, w, auth opens at %v", p)
		}
	}
	if b, err := k.Seal(Secret{}, "t", "w", "auth"); b != nil || err != nil {
		t.Errorf("Seal of nothing = %v, %v, want nil", b, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKeyring(path); err == nil {
		t.Error("a key file that others can read is taken")
	}
	if _, err := ParseKeyring([]byte(canary)); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("ParseKeyring of nonsense = %v, want an error without its content", err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://Bücher.example:8443/a?b", true)
	f.Add("https://[::1]/", false)
	f.Fuzz(func(t *testing.T, raw string, get bool) {
		m := POST
		if get {
			m = GET
		}
		got, err := NormalizeURL(raw, m)
		if err != nil {
			return
		}
		if again, err := NormalizeURL(got, m); err != nil || again != got {
			t.Fatalf("NormalizeURL(%q) = %q, and of that %q, %v", raw, got, again, err)
		}
		for i := range len(got) {
			if got[i] < 0x21 || got[i] > 0x7e {
				t.Fatalf("NormalizeURL(%q) = %q has the byte %#x", raw, got, got[i])
			}
		}
		u, err := url.Parse(got)
		o, path, serr := SplitURL(got)
		if err != nil || serr != nil || u.Host != o.Host || u.Hostname() != o.Name || u.User != nil ||
			!strings.HasSuffix(got, path) {
			t.Fatalf("%q: url.Parse has host %q (%v), SplitURL %+v (%v)", got, u.Host, err, o, serr)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add("X-System", "crm\t1")
	f.Fuzz(func(t *testing.T, name, value string) {
		if n, v := CheckHeader(name, value, false); n != nil || v != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\n" + name + ": " +
			value + "\r\n\r\n")))
		if err != nil || len(r.Header) != 1 || r.Header.Get(name) != value {
			t.Fatalf("CheckHeader takes %q: %q, which is read back as %v, %v", name, value, r.Header, err)
		}
	})
}
