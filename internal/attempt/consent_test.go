package attempt

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// TestConsentOnTheWire: the request for consent goes to the webhook's very URL and has the sender's name, but nothing
// of what the webhook authenticates or signs with; the answer's header alone tells.
func TestConsentOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         bool
	}{
		{"by name", "HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: hooks.example\r\nContent-Length: 0\r\n\r\n", true},
		{"in capitals", "HTTP/1.1 200 OK\r\nWEBHOOK-ALLOWED-ORIGIN:  HOOKS.EXAMPLE \r\nContent-Length: 0\r\n\r\n",
			true},
		{"everybody, with no content", "HTTP/1.1 204 No Content\r\nWebHook-Allowed-Origin: *\r\n\r\n", true},
		{"although it has no OPTIONS", "HTTP/1.1 405 No\r\nWebHook-Allowed-Origin: *\r\nContent-Length: 0\r\n\r\n",
			true},
		{"another", "HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: other.example\r\nContent-Length: 0\r\n\r\n", false},
		{"a part of the name", "HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: example\r\nContent-Length: 0\r\n\r\n",
			false},
		{"a status that says nothing", "HTTP/1.1 200 OK\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n", false},
		{"CORS", "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n", false},
		{"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nWebHook-Allowed-Origin: *", false},
		{"no answer", "", false},
	} {
		for _, m := range []webhook.Method{webhook.POST, webhook.GET} {
			var got []byte
			w := newWire(t, func(conn net.Conn, _ *http.Request, _, raw []byte) bool {
				got = raw
				_, err := io.WriteString(conn, c.answer)
				return err == nil && c.answer != ""
			})
			tt := w.target(t, m, func(h *webhook.Webhook) {
				h.URL += "?a=b"
				h.Auth = webhook.Auth{Type: webhook.AuthBearer, Secret: webhook.NewSecret("canary-token")}
				h.Headers = []webhook.Header{{Name: "X-Team", Value: webhook.NewSecret("canary-team")}}
				h.SigningKeys = []webhook.SigningKey{{ID: "k", Key: webhook.NewSecret("canary-signing-key")}}
			})
			r := wireSender(t).Send(t.Context(), tt.ForConsent("hooks.example"), new(event.Event))
			want := "OPTIONS /hook?a=b HTTP/1.1\r\nHost: " + w.Addr().String() +
				"\r\nUser-Agent: Quantfolio-Webhooks/1\r\nWebHook-Request-Origin: hooks.example\r\n\r\n"
			if string(got) != want {
				t.Errorf("%s, %s: sent %q, want %q", c.name, m, got, want)
			}
			if Consents(&r, "hooks.example") != c.want {
				t.Errorf("%s, %s: consent = %v, want %v (%+v)", c.name, m, !c.want, c.want, r)
			}
		}
	}
	s, sender := newSecure(t, true, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "OPTIONS" || r.ProtoMajor != 2 || strings.Contains(r.Header.Get("Content-Type"), "json") {
			t.Errorf("over HTTP/2 came %s %s %v", r.Method, r.Proto, r.Header)
		}
		w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
	})
	r := sender.Send(t.Context(), s.target(t, 10*time.Second).ForConsent("hooks.example"), new(event.Event))
	if !Consents(&r, "hooks.example") {
		t.Errorf("over HTTP/2 there is no consent: %+v", r)
	}
}
