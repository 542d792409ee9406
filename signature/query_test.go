package signature

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendEscape(t *testing.T) {
	t.Parallel()
	const unreservedAll = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{unreservedAll, unreservedAll},
		{"a b", "a%20b"},
		{"a+b", "a%2Bb"},
		{"12:46:00.000Z", "12%3A46%3A00.000Z"},
		{"!*'();:@&=+$,/?#[]", "%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%2F%3F%23%5B%5D"},
		{"%", "%25"},
		{"Å€📈", "%C3%85%E2%82%AC%F0%9F%93%88"},
		{"\x00\x7f\xff\"<>\\^`{|}", "%00%7F%FF%22%3C%3E%5C%5E%60%7B%7C%7D"},
	} {
		if got := string(AppendEscape([]byte("x="), tt.in)); got != "x="+tt.want {
			t.Errorf("AppendEscape(%q) = %s, want x=%s", tt.in, got, tt.want)
		}
	}
}

func TestAppendEscapeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(rt, "s"))
		escaped := string(AppendEscape(nil, s))
		if want := strings.ReplaceAll(url.QueryEscape(s), "+", "%20"); escaped != want {
			rt.Fatalf("AppendEscape(%q) = %s, want %s", s, escaped, want)
		}
		if got, err := url.QueryUnescape(escaped); err != nil || got != s {
			rt.Fatalf("QueryUnescape(AppendEscape(%q)) = %q, %v", s, got, err)
		}
	})
}

func TestRebuildQuery(t *testing.T) {
	t.Parallel()
	const six = "id=1&type=t.u&object_id=o%201&object_owner_id=&owner_id=%C3%A5&time=2023-03-15T12%3A46%3A00.000Z"
	mixed := "owner_id=%C3%A5&time=2023-03-15T12:46:00.000Z&tenant=a+b&type=t.u&object_id=o+1&id=1&object_owner_id="
	for _, tt := range []struct{ name, prefix, query, want string }{
		{"as sent", "", six, six},
		{"other order and escapes", "", mixed, six},
		{"prefix", "tenant=a+b", mixed, "tenant=a+b&" + six},
		{"nothing", "", "", ""},
		{"prefix only", "tenant=a", "", "tenant=a"},
		{"missing ones left out", "", "time=t&id=1", "id=1&time=t"},
		{"twice stays twice", "", "id=1&time=t&id=2", "id=1&id=2&time=t"},
	} {
		values, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := RebuildQuery(tt.prefix, values); got != tt.want {
			t.Errorf("%s: RebuildQuery = %s, want %s", tt.name, got, tt.want)
		}
		if tt.prefix == "" {
			if got := QueryFromMap(values); got != tt.want {
				t.Errorf("%s: QueryFromMap = %s, want %s", tt.name, got, tt.want)
			}
		}
	}
}

// TestRebuiltQueriesVerify takes every GET vector apart and rebuilds it.
func TestRebuiltQueriesVerify(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, v := range mustVectors(t) {
		if !strings.HasPrefix(v.Name, "GET") {
			continue
		}
		seen++
		prefix := strings.TrimSuffix(v.Content[:strings.Index(v.Content, "id=0190")], "&")
		values, err := url.ParseQuery(v.Content)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(v.Key, []byte(RebuildQuery(prefix, values)), v.Quantfolio); err != nil {
			t.Errorf("%s: Verify(rebuilt) = %v, want nil", v.Name, err)
		}
		values.Add("id", "evil")
		if err := Verify(v.Key, []byte(RebuildQuery(prefix, values)), v.Quantfolio); err == nil {
			t.Errorf("%s: Verify(rebuilt with a second ID) = nil, want an error", v.Name)
		}
	}
	if seen != 2 {
		t.Errorf("GET vectors = %d, want 2", seen)
	}
}
