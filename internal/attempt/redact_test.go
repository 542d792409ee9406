package attempt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/webhook"
)

// canaries are one in each secret field, with characters that escapes change.
const (
	canaryAuth   = `cnry+auth/1"&=x`
	canaryHeader = `cnry header %2F\t=`
	canaryKey    = "cnrykeycnrykeycnrykeycnrykey12"
)

func echoing(auth webhook.AuthType) func(*webhook.Webhook) {
	return func(w *webhook.Webhook) {
		w.Auth = webhook.Auth{Type: auth, Username: "bank", Header: "X-Api-Key", Secret: webhook.NewSecret(canaryAuth)}
		w.Headers = []webhook.Header{{Name: "X-Team", Value: webhook.NewSecret(canaryHeader)}}
		w.SigningKeys = []webhook.SigningKey{{ID: "k", Key: webhook.NewSecret(canaryKey)}}
	}
}

// inner are the texts that a receiver got and that say something secret.
func inner(req *http.Request) (list []string) {
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Team", "X-Quantfolio-Signature-256",
		"Webhook-Signature"} {
		if v := req.Header.Get(name); v != "" {
			for _, prefix := range []string{"Bearer ", "Basic ", "sha256=", "v1,"} {
				v = strings.TrimPrefix(v, prefix)
			}
			list = append(list, v)
		}
	}
	if user, password, ok := req.BasicAuth(); ok {
		list = append(list, password, base64.URLEncoding.EncodeToString([]byte(user+":"+password)))
	}
	return append(list, canaryKey)
}

var echoes = map[string]func(string) string{
	"as is":          func(s string) string { return s },
	"percent, query": url.QueryEscape,
	"percent, path":  url.PathEscape,
	"percent, all":   func(s string) string { return everyByte(s, "%%%02X") },
	"percent, lower": func(s string) string { return everyByte(s, "%%%02x") },
	"JSON":           func(s string) string { b, _ := json.Marshal(s); return string(b[1 : len(b)-1]) },
	"JSON, all":      func(s string) string { return everyByte(s, `\u%04x`) },
	"JSON, slashes": func(s string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`,
			`\/`).Replace(s)
	},
	"JSON in JSON": func(s string) string {
		b, _ := json.Marshal(s)
		c,
			_ := json.Marshal(string(b))
		return string(c)
	},
	"percent in JSON":   func(s string) string { b, _ := json.Marshal(url.QueryEscape(s)); return string(b) },
	"percent twice":     func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"HTML":              html.EscapeString,
	"HTML, all":         func(s string) string { return everyByte(s, "&#%d;") },
	"HTML, all, hex":    func(s string) string { return everyByte(s, "&#x%x;") },
	"twice in one line": func(s string) string { return s + s },
}

func everyByte(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// TestEcho: a receiver that answers with what it was sent, escaped as it likes, in the body and in the headers, puts no
// secret on record.
func TestEcho(t *testing.T) {
	for name, escape := range echoes {
		for _, auth := range []webhook.AuthType{webhook.AuthBasic, webhook.AuthBearer, webhook.AuthAPIKey} {
			for _, method := range []webhook.Method{webhook.POST, webhook.GET} {
				t.Run(fmt.Sprint(name, " ", auth, " ", method), func(t *testing.T) {
					var sent []string // written before the answer is, read after it
					w := newWire(t, func(c net.Conn, req *http.Request, _, _ []byte) bool {
						sent = inner(req)
						var heads, body string
						for i, s := range sent {
							heads += fmt.Sprintf("X-Echo-%d: <%s>\r\n", i, escape(s))
							body += fmt.Sprintf(`{"got":"%s"} `, escape(s))
						}
						fmt.Fprintf(c, "HTTP/1.1 500 X\r\n%sContent-Length: %d\r\n\r\n%s", heads, len(body), body)
						return true
					})
					r := wireSender(t).Send(t.Context(), w.target(t, method, echoing(auth)).ForTest(), wireEvent())
					if r.Status != 500 || len(sent) < 5 {
						t.Fatalf("Send = %+v, want an answer to %d texts", r, len(sent))
					}
					kept := string(r.Response) + fmt.Sprint(r.Headers)
					for _, s := range sent {
						if strings.Contains(kept, s) || strings.Contains(kept, escape(s)) {
							t.Errorf("%q is on record: %s", s, kept)
						}
					}
					if n := strings.Count(kept, "[secret]"); n < 2*len(sent) {
						t.Errorf("%d texts were replaced, want at least %d: %s", n, 2*len(sent), kept)
					}
					if !strings.HasPrefix(string(r.Response), `{"got":"`) ||
						!strings.HasSuffix(string(r.Response), `"} `) {
						t.Errorf("the rest of the answer was changed: %s", r.Response)
					}
				})
			}
		}
	}
}

// TestEchoHTTP2 is the same way over HTTP/2.
func TestEchoHTTP2(t *testing.T) {
	srv, s := newSecure(t, true, nil, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Echo", req.Header.Get("Authorization"))
		fmt.Fprint(w, req.Header.Get("Authorization"), req.Header.Get("X-Quantfolio-Signature-256"))
	})
	hook := *srv.target(t, 5*time.Second).webhook
	echoing(webhook.AuthBearer)(&hook)
	target, err := NewTarget(&hook)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Send(t.Context(), target.ForTest(), wireEvent())
	if string(r.Response) != "Bearer [secret]sha256=[secret]" || strings.Contains(fmt.Sprint(r.Headers), canaryAuth) {
		t.Errorf("Send = %s, %v, want both replaced", r.Response, r.Headers)
	}
}

// TestEchoCut: a secret that the kept part of an answer ends in is not half there.
func TestEchoCut(t *testing.T) {
	for name, escape := range map[string]func(string) string{"as is": echoes["as is"],
		"percent": echoes["percent, all"],
		"JSON":    echoes["JSON, all"], "HTML": echoes["HTML, all"]} {
		shown := escape(canaryKey)
		for over := 1; over < len(shown); over++ {
			body := strings.Repeat(".", MaxKept-len(shown)+over) + shown
			w := newWire(t, say(fmt.Sprintf("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
			r := wireSender(t).Send(t.Context(), w.target(t, webhook.POST, echoing(webhook.AuthNone)), wireEvent())
			rest := strings.TrimLeft(string(r.Response), ".")
			if most := len(escape(canaryKey[:minSecret])) - 1; len(rest) > most && rest != "[secret]" {
				t.Fatalf("%s, %d bytes over: the answer ends in %q", name, over, rest)
			}
		}
	}
}

// TestRedactKeeps: an answer without a secret is the same memory, escapes or not; and what is too short to be one
// stays.
func TestRedactKeeps(t *testing.T) {
	secrets := secretsOf(&webhook.Webhook{Auth: webhook.Auth{Type: webhook.AuthBearer,
		Secret: webhook.NewSecret("longenough")},
		Headers: []webhook.Header{{Name: "A", Value: webhook.NewSecret("abc")},
			{Name: "B", Value: webhook.NewSecret("wxyz")}}})
	for _, s := range []string{"", "%", "%4", `\`, `\u00`, "&", "&#", "&#;", "&#x;", "longenoug", "abc",
		`{"a":"b\/c%41&amp;"}`, "%FF%u0041"} {
		b := []byte(s)
		if got := redact(b, secrets, false); len(got) != len(b) || len(b) > 0 && &got[0] != &b[0] {
			t.Errorf("redact(%q) = %q, want what was there", s, got)
		}
	}
	for in, want := range map[string]string{"wxyz": "[secret]", "-wxyz-longenough-": "-[secret]-[secret]-",
		"longenoughwxyz": "[secret][secret]", "lon%67enough&amp;": "[secret]&amp;"} {
		if got := string(redact([]byte(in), secrets, false)); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestRedactMixed: each character escaped its own way, in any surroundings.
func TestRedactMixed(t *testing.T) {
	forms := []string{"%c", "%%%02X", "%%%02x", `\u%04X`, `\u%04x`, `\x%02x`, "&#%d;", "&#x%X;"}
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ -~]{8,40}`).Draw(t, "secret")
		var shown strings.Builder
		for _, c := range []byte(secret) {
			form := rapid.SampledFrom(forms).Draw(t, "form")
			if form == "%c" && strings.IndexByte(`%\&`, c) >= 0 {
				form = "%%%02x"
			}
			fmt.Fprintf(&shown, form, c)
		}
		before, after := rapid.StringMatching(`[a-z<>{}:]{0,20}`).Draw(t,
			"before"), rapid.StringMatching(`[a-z<>{}:]{0,20}`).Draw(t, "after")
		secrets := secretsOf(&webhook.Webhook{Auth: webhook.Auth{Type: webhook.AuthBearer,
			Secret: webhook.NewSecret(secret)}})
		got := redact([]byte(before+shown.String()+after), secrets, false)
		if want := before + "[secret]" + after; string(got) != want {
			t.Fatalf("redact(%q) = %q, want %q", before+shown.String()+after, got, want)
		}
	})
}

// BenchmarkNoSecret is what looking costs where there is nothing to find.
func BenchmarkNoSecret(b *testing.B) {
	for name, body := range map[string]string{"small": `{"ok":true}`,
		"1 KiB":         strings.Repeat(`{"status":"received","id":"0190a5d2"},`, 27)[:1024],
		"1 KiB escaped": strings.Repeat(`{"url":"https:\/\/bank.example\/a%20b"},`, 27)[:1024]} {
		b.Run(name, func(b *testing.B) {
			hook := &webhook.Webhook{URL: "https://bank.example/hook", Method: webhook.POST}
			hook.Auth = webhook.Auth{Type: webhook.AuthBearer,
				Secret: webhook.NewSecret("kT9vQx2LrW8mZp4NfYc7HbJd3GsAe6Uo")}
			hook.SigningKeys = []webhook.SigningKey{{ID: "k",
				Key: webhook.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}
			target, err := NewTarget(hook)
			if err != nil {
				b.Fatal(err)
			}
			var buf buffer
			req := target.build(&buf, wireEvent(), time.Now(), "x")
			r := Result{Response: []byte(body)}
			b.ReportAllocs()
			for b.Loop() {
				target.hide(&r, &req)
			}
			if !bytes.Equal(r.Response, []byte(body)) {
				b.Error("something was found")
			}
		})
	}
}
