package signature

import "net/url"

// queryKeys are a GET's parameters in the order in which they are sent and signed.
var queryKeys = [...]string{"id", "type", "object_id", "object_owner_id", "owner_id", "time"}

const upperHex = "0123456789ABCDEF"

// AppendEscape appends s to dst, escaped for a GET's query string, and returns
// the extended slice. The unreserved characters of RFC 3986, section 2.3
// (letters, digits, "-", ".", "_" and "~") stay; every other byte becomes "%"
// and two upper-case hex digits, a space "%20". It differs from
// [url.QueryEscape], which writes a space as "+".
func AppendEscape(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// QueryFromMap rebuilds the signed query string of a GET from its decoded
// parameters, for receivers that get nothing else: id, type, object_id,
// object_owner_id, owner_id and time in this order, each escaped by
// [AppendEscape]. Give the result to [Verify] or [VerifyStandard] as content.
//
// Other parameters are left out and so are not verified: act on none of them.
// One of the six that is missing is left out, and one that came twice is there
// twice, so that neither verifies. Where the webhook's URL has a query of its
// own, use [RebuildQuery].
func QueryFromMap(values url.Values) string {
	return RebuildQuery("", values)
}

// RebuildQuery is [QueryFromMap] for a webhook whose URL has a query of its own.
// Prefix is that query exactly as the URL was saved, without the "?"; it is part
// of what is signed. Take it from configuration, never from the request.
func RebuildQuery(prefix string, values url.Values) string {
	dst := []byte(prefix)
	for _, k := range queryKeys {
		for _, v := range values[k] {
			if len(dst) > 0 {
				dst = append(dst, '&')
			}
			dst = append(append(dst, k...), '=')
			dst = AppendEscape(dst, v)
		}
	}
	return string(dst)
}
