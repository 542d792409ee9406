package webhook

import (
	"net/netip"
	"strings"
	"testing"
)

// hostile.md, "URLs, when saved": what IDNA may and may not make of a host.
func TestURLHostsThatHideAnother(t *testing.T) {
	for _, host := range []string{
		"\u212aube.example",           // Kelvin sign, which strings.ToLower makes a k too
		"ⓛocalhost.bücher.example",    // beside a label that honestly becomes punycode
		"bücher.ⓛocalhost",            // the same, last
		"１２７.0.0.1",                   // full-width digits
		"127。0。0。1",                   // ideographic full stops
		"bücher。example",              // a full stop that only IDNA sees
		"bücher．example",              // full-width full stop
		"a\u00addmin.example",         // soft hyphen: IDNA drops it
		"a\u200bdmin.example",         // zero-width space
		"xn--a",                       // broken punycode
		"xn--localhost-",              // punycode of plain ASCII
		"0\xbc00000", "a\xff.example", // not UTF-8
		"www.xn--a.example", // not the first label
		"2130706433", "127.1", "0x7f000001", "a.0X1", "1.2.3.4.", "0177.0.0.1",
		"a,b", "a<b", `a"b`, "a|b", "a^b", "a`b", "{a}", "a*b", "a!b",
	} {
		if got, err := NormalizeURL("https://"+host+"/", POST); err == nil || got != "" {
			t.Errorf("NormalizeURL(https://%q/) = %q, %v, want an error", host, got, err)
		}
	}
	for host, want := range map[string]string{
		"BÜCHER.Example":                     "xn--bcher-kva.example",
		"bücher.bücher":                      "xn--bcher-kva.xn--bcher-kva",
		"XN--BCHER-KVA.de":                   "xn--bcher-kva.de",
		"a_b.Example":                        "a_b.example",
		"r3---sn-a.example":                  "r3---sn-a.example",
		"a.example.":                         "a.example.",
		"1.2.3.4":                            "1.2.3.4",
		"[2001:DB8:0::1]":                    "[2001:db8::1]",
		"[2001:DB8:0::1]:8443":               "[2001:db8::1]:8443",
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
	} {
		if got, err := NormalizeURL("https://"+host, POST); err != nil || got != "https://"+want+"/" {
			t.Errorf("NormalizeURL(https://%s) = %q, %v, want https://%s/", host, got, err, want)
		}
	}
}

func TestURLRefusedGivesNothing(t *testing.T) {
	for _, q := range []string{"?id=1", "?a=%zz", "?a;b", "?%74ime=1", "?a=1&%6Fwner%5Fid"} {
		if got, err := NormalizeURL("https://example.com/"+q, GET); err == nil || got != "" {
			t.Errorf("NormalizeURL(%q, GET) = %q, %v, want nothing and an error", q, got, err)
		}
		if _, err := NormalizeURL("https://example.com/"+q, POST); err != nil {
			t.Errorf("NormalizeURL(%q, POST) = %v, want nil: the query of a POST is the receiver's", q, err)
		}
	}
	if got, err := NormalizeURL("https://example.com/"+strings.Repeat("x", MaxURL-len("https://example.com/")), POST); err != nil || len(got) != MaxURL {
		t.Errorf("NormalizeURL of %d bytes = %d bytes, %v, want all of them", MaxURL, len(got), err)
	}
}

func TestSplitURLParts(t *testing.T) {
	for _, c := range []struct {
		in     string
		want   Origin
		target string
	}{
		{"https://example.com/a?b=/", Origin{TLS: true, Host: "example.com", Name: "example.com", Port: 443}, "/a?b=/"},
		{"http://example.com:8080/", Origin{Host: "example.com:8080", Name: "example.com", Port: 8080}, "/"},
		{"https://127.0.0.1/", Origin{TLS: true, Host: "127.0.0.1", Name: "127.0.0.1", Addr: netip.MustParseAddr("127.0.0.1"), Port: 443}, "/"},
		{"http://[2001:db8::1]/x", Origin{Host: "[2001:db8::1]", Name: "2001:db8::1", Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}, "/x"},
		{"https://[::1]:444/", Origin{TLS: true, Host: "[::1]:444", Name: "::1", Addr: netip.MustParseAddr("::1"), Port: 444}, "/"},
	} {
		got, target, err := SplitURL(c.in)
		if err != nil || got != c.want || target != c.target {
			t.Errorf("SplitURL(%s) = %+v, %q, %v, want %+v, %q", c.in, got, target, err, c.want, c.target)
		}
	}
	for _, bad := range []string{"", "example.com", "https://example.com", "https:///x", "https://example.com:x/",
		"https://example.com:65536/"} {
		if _, _, err := SplitURL(bad); err == nil {
			t.Errorf("SplitURL(%q) = nil, want an error", bad)
		}
	}
}
