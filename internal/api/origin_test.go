package api

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAnotherOrigin: who may change a webhook does not learn its secrets by pointing it at a receiver of their own.
func TestAnotherOrigin(t *testing.T) {
	t.Parallel()
	const (
		bearer  = `"auth":{"type":"bearer","token":"canary-token"}`
		headers = `"headers":[{"name":"X-Team","value":"canary-team"},{"name":"X-Two","value":"canary-two"}]`
	)
	for name, c := range map[string]struct {
		made, change string
		want         string // the fields that are asked for; empty: the change is taken
	}{
		"path only":         {bearer + "," + headers, `{"url":"https://a.example/other?x=1"}`, ""},
		"written otherwise": {bearer, `{"url":"HTTPS://A.example:443/hook"}`, ""},
		"host":              {bearer, `{"url":"https://b.example/hook"}`, "auth.token"},
		"sub-domain":        {bearer, `{"url":"https://a.a.example/hook"}`, "auth.token"},
		"port":              {bearer, `{"url":"https://a.example:8443/hook"}`, "auth.token"},
		"scheme":            {bearer, `{"url":"http://a.example/hook"}`, "auth.token url"},
		"scheme, same port": {bearer, `{"url":"http://a.example:443/hook"}`, "auth.token url"},
		"headers too": {bearer + "," + headers, `{"url":"https://b.example/"}`,
			"auth.token headers[0].value headers[1].value"},
		"secret left out": {bearer, `{"url":"https://b.example/","auth":{"type":"bearer"}}`, "auth.token"},
		"secret as it is shown": {bearer, `{"url":"https://b.example/","auth":{"type":"bearer","token":"[secret]"}}`,
			"auth.token"},
		"secret null": {bearer, `{"url":"https://b.example/","auth":{"type":"bearer","token":null}}`,
			"auth.token"},
		"one header left out": {headers,
			`{"url":"https://b.example/","headers":[{"name":"X-Team","value":"canary-new"},{"name":"x-two"}]}`, "headers[1].value"},
		"basic": {`"auth":{"type":"basic","username":"u","password":"canary-password"}`,
			`{"url":"https://b.example/","auth":{"type":"basic","username":"u"}}`, "auth.password"},
		"api_key": {`"auth":{"type":"api_key","header":"X-Key","value":"canary-value"}`,
			`{"url":"https://b.example/","auth":{"type":"api_key","header":"X-Key"}}`, "auth.value"},
		"api_key, another header": {`"auth":{"type":"api_key","header":"X-Key","value":"canary-value"}`,
			`{"auth":{"type":"api_key","header":"X-Mine"}}`, "auth.value"},
		"another name of a header": {headers, `{"headers":[{"name":"X-Mine"}]}`, "headers[0].value"},
		"given again": {bearer + "," + headers,
			`{"url":"https://b.example/",` + bearer + "," + headers + `}`, ""},
		"cleared": {bearer + "," + headers,
			`{"url":"https://b.example/","auth":null,"headers":[]}`, ""},
		"cleared with null": {bearer + "," + headers,
			`{"url":"https://b.example/","auth":{"type":"none"},"headers":null}`, ""},
		"nothing to give": {`"generate_signing_key":true`, `{"url":"https://b.example/"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			path := r.must(201, admin, "POST", "/v1/webhooks",
				`{"url":"https://a.example/hook","method":"POST","event_types":["**"],`+
					c.made+`}`).header.Get("Location")
			p := r.call(admin, "PATCH", path, c.change)
			if c.want == "" {
				if p.code != 200 {
					t.Errorf("PATCH %s = %d %s, want 200", c.change, p.code, p.body)
				}
				if strings.Contains(c.change, "b.example") != strings.Contains(r.log.String(),
					`"from":"https://a.example","to":"https://b.example"`) {
					t.Errorf("the log does not tell what moved: %s", r.log.String())
				}
				return
			}
			if got := strings.Join(strings.Fields(p.locations()), " "); p.code != 422 || got != c.want {
				t.Errorf("PATCH %s = %d, it asks for %q, want 422 and %q", c.change, p.code, got, c.want)
			}
			if got := r.must(200, admin, "GET", path, ""); !strings.Contains(got.body,
				`"url":"https://a.example/hook"`) {
				t.Errorf("after a refusal: %s", got.body)
			}
			if strings.Contains(p.body, "canary") {
				t.Errorf("a secret shows: %s", p.body)
			}
		})
	}
}

// TestBodiesThatAreNotJSON are refused by name, on every operation that takes a body.
func TestBodiesThatAreNotJSON(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, op := range []struct{ who, method, path, body string }{
		{publisher, "POST", "/v1/events", eventBody}, {publisher, "POST", "/v1/events/batch",
			`{"events":[` + eventBody + `]}`},
		{admin, "POST", "/v1/webhooks", hookBody},
	} {
		for name, c := range map[string]struct {
			header [][2]string
			before string
			want   int
			says   string
		}{
			"JSON":           {[][2]string{{"Content-Type", "application/json"}}, "", 0, ""},
			"JSON, its name": {[][2]string{{"Content-Type", "application/JSON; charset=utf-8"}}, "", 0, ""},
			"merge patch":    {[][2]string{{"Content-Type", "application/merge-patch+json"}}, "", 0, ""},
			"no type":        {nil, "", 0, ""},
			"identity":       {[][2]string{{"Content-Encoding", "identity"}}, "", 0, ""},
			"form": {[][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}, "", 415,
				"Content-Type: application/json"},
			"another site's": {[][2]string{{"Content-Type", "text/plain"}}, "", 415, "Content-Type: application/json"},
			"two types": {[][2]string{{"Content-Type", "application/json"}, {"Content-Type", "text/plain"}}, "",
				415, "JSON"},
			"no type at all": {[][2]string{{"Content-Type", ";"}}, "", 415, "JSON"},
			"gzip":           {[][2]string{{"Content-Encoding", "gzip"}}, "", 415, "Content-Encoding"},
			"br": {[][2]string{{"Content-Encoding", "identity"}, {"Content-Encoding", "br"}}, "", 415,
				"Content-Encoding"},
			"gzip, not said":  {nil, "\x1f\x8b\x08", 400, "gzip"},
			"byte order mark": {nil, "\xef\xbb\xbf", 400, "byte order mark"},
			"UTF-16":          {nil, "\xff\xfe", 400, "UTF-16"},
		} {
			req := httptest.NewRequest(op.method, op.path, strings.NewReader(c.before+op.body))
			req.Header.Set("Authorization", "Bearer "+r.keys[op.who])
			for _, h := range c.header {
				req.Header.Add(h[0], h[1])
			}
			w := httptest.NewRecorder()
			r.h.ServeHTTP(w, req)
			if c.want == 0 && w.Code >= 300 || c.want != 0 && w.Code != c.want ||
				!strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%s %s, %s = %d %s, want %d and %q", op.method, op.path, name, w.Code, w.Body, c.want, c.says)
			}
		}
	}
}

// TestSigningKeysOfTheStandard: a key that looks like one of Standard Webhooks and is none is refused with what is
// wrong, and one that others would decode is taken with a warning.
func TestSigningKeysOfTheStandard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	given := func(key string) reply {
		return r.call(admin, "POST", "/v1/webhooks", strings.Replace(hookBody, "{", `{"signing_key":"`+key+`",`, 1))
	}
	for key, want := range map[string]string{
		"whsec_": "nothing after", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La LaSw": "white space",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa": "lacks the =", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa_-": "URL-safe",
		"whsec_!!!!": "not Base64", "whsec_MfKQ9": "not Base64",
	} {
		if p := given(key); p.code != 422 || !strings.Contains(p.body, want) || strings.Contains(p.body, key[6:]) &&
			len(key) > 6 {
			t.Errorf("signing key %s = %d %s, want 422 that says %q and not the key", key, p.code, p.body, want)
		}
	}
	for key, warnings := range map[string]int{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": 0,
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": 1,
		"not base64, a sentence":           0} {
		p := given(key)
		if p.code != 201 || len(p.json["warnings"].([]any)) != warnings {
			t.Errorf("signing key %s = %d %s, want %d warnings", key, p.code, p.body, warnings)
		}
		r.must(204, admin, "DELETE", p.header.Get("Location"), "")
	}
}
