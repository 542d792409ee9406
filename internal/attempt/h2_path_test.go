package attempt

import (
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/webhook"
)

// sent is a request as it came.
type sent struct {
	target  string // path and query
	headers map[string]string
	body    string
}

// bothWays are a receiver of each version of HTTP, which hand on what came.
func bothWays(t *testing.T) (send func(tail string, m webhook.Method) (one, two sent)) {
	t.Helper()
	got := make(chan sent, 1)
	one := newWire(t, func(c net.Conn, req *http.Request, body, raw []byte) bool {
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		s := sent{target: strings.Split(lines[0], " ")[1], headers: map[string]string{}, body: string(body)}
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ": ")
			s.headers[strings.ToLower(name)] = value
		}
		got <- s
		return say(ok204)(c, req, body, raw)
	})
	two, sender := newPeers(t, func(p *peer) {
		for r := p.settle(); r.stream != 0; r, _ = p.request(true) {
			s := sent{target: r.fields[":path"], headers: r.fields, body: string(r.body)}
			s.headers["host"] = s.headers[":authority"]
			maps.DeleteFunc(s.headers, func(name, _ string) bool { return strings.HasPrefix(name, ":") })
			got <- s
			p.head(r.stream, true, ":status", "204")
		}
	})
	return func(tail string, m webhook.Method) (sent, sent) {
		var all [2]sent
		for i, base := range []string{"http://" + one.Addr().String(), "https://" + two.Addr().String()} {
			tt, err := NewTarget(&webhook.Webhook{URL: base + tail, Method: m, Timeout: 20 * time.Second,
				Headers: []webhook.Header{{Name: "x_Odd.Name", Value: webhook.NewSecret("a, b; c=\"d\"")}}})
			if err != nil {
				t.Fatal(err)
			}
			if r := sender.Send(t.Context(), tt, wireEvent()); r.Verdict != Success {
				t.Fatalf("Send to %s%s = %+v, want success", base, tail, r)
			}
			all[i] = <-got
			delete(all[i].headers, "host")
		}
		return all[0], all[1]
	}
}

// Path and query go out byte for byte as they were saved (RFC 9113, section 8.3.1), and all else as by HTTP/1.1.
func TestHTTP2SendsTargetsByteForByte(t *testing.T) {
	t.Parallel()
	send := bothWays(t)
	for _, tail := range []string{"/", "/hook", "//", "//evil.example/x", "///a//b/", "/x?", "/?", "/*", "/a%2Fb%2f",
		"/%41%7e", "/a/../b/./c", "/a:b@c", "/;p=1,2/$&'()+!=~_-", `/"<>^{|}` + "`[]", "/x?a=b?c=/d:e@",
		"/x?q=%20+%2B&&=", "/x??", "/https://other.example/", "/x?u=https://other.example/?y", "/%E2%82%AC", "/a%00b"} {
		for _, m := range []webhook.Method{webhook.POST, webhook.GET} {
			if _, err := webhook.NormalizeURL("https://127.0.0.1"+tail, m); err != nil {
				if m == webhook.POST {
					t.Logf("%s is not taken: %v", tail, err)
				}
				continue
			}
			one, two := send(tail, m)
			if m == webhook.POST && two.target != tail {
				t.Errorf("%s went out as %s", tail, two.target)
			}
			if one.target != two.target || !maps.Equal(one.headers, two.headers) || one.body != two.body {
				t.Errorf("%s %s: %+v by HTTP/2, want as by HTTP/1.1 %+v", m, tail, two, one)
			}
		}
	}
}

func TestHTTP2SendsWhatHTTP1Sends(t *testing.T) {
	t.Parallel()
	send := bothWays(t)
	rapid.Check(t, func(r *rapid.T) {
		tail := "/" + rapid.StringMatching(`([!-~]|[/?%&=:@*;]|%[0-9A-Fa-f]{2}){0,40}`).Draw(r, "tail")
		m := rapid.SampledFrom([]webhook.Method{webhook.GET, webhook.POST}).Draw(r, "method")
		u, err := webhook.NormalizeURL("https://127.0.0.1"+tail, m)
		if err != nil {
			r.Skip(err)
		}
		one, two := send(strings.TrimPrefix(u, "https://127.0.0.1"), m)
		if one.target != two.target || !maps.Equal(one.headers, two.headers) || one.body != two.body {
			r.Errorf("%s %s: %+v by HTTP/2, want as by HTTP/1.1 %+v", m, tail, two, one)
		}
	})
}
