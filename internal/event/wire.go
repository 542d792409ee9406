package event

import (
	"encoding/hex"
	"unicode/utf8"

	"github.com/quantfolio/qhook/signature"
)

// QueryNames are the parameters of a GET request, in the order that they are sent and signed in.
var QueryNames = []string{"id", "type", "object_id", "object_owner_id", "owner_id", "time"}

// AppendJSON appends the body of a POST request: compact UTF-8 JSON, the keys in their fixed order. The same event
// always gives the same bytes. The strings and Data are those of a parsed event: valid UTF-8, and a compact JSON
// object.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendID(dst, e)
	dst = append(dst, `","type":`...)
	dst = appendString(dst, e.Type)
	dst = append(dst, `,"object_id":`...)
	dst = appendString(dst, e.ObjectID)
	dst = append(dst, `,"object_owner_id":`...)
	dst = appendString(dst, e.ObjectOwnerID)
	dst = append(dst, `,"owner_id":`...)
	dst = appendString(dst, e.OwnerID)
	dst = append(dst, `,"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, timeForm)
	dst = append(dst, `","data":`...)
	if len(e.Data) == 0 {
		return append(dst, "{}}"...)
	}
	dst = append(dst, e.Data...)
	return append(dst, '}')
}

// AppendQuery appends the query of a GET request: all properties but data, escaped as RFC 3986, section 2.3 has it,
// with upper-case hex digits.
func (e *Event) AppendQuery(dst []byte) []byte {
	dst = append(dst, "id="...)
	dst = appendID(dst, e)
	dst = signature.AppendEscape(append(dst, "&type="...), e.Type)
	dst = signature.AppendEscape(append(dst, "&object_id="...), e.ObjectID)
	dst = signature.AppendEscape(append(dst, "&object_owner_id="...), e.ObjectOwnerID)
	dst = signature.AppendEscape(append(dst, "&owner_id="...), e.OwnerID)
	return signature.AppendEscape(append(dst, "&time="...), FormatTime(e.Time))
}

func appendID(dst []byte, e *Event) []byte {
	var b [36]byte
	hex.Encode(b[0:8], e.ID[0:4])
	hex.Encode(b[9:13], e.ID[4:6])
	hex.Encode(b[14:18], e.ID[6:8])
	hex.Encode(b[19:23], e.ID[8:10])
	hex.Encode(b[24:36], e.ID[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return append(dst, b[:]...)
}

// appendString appends s as a JSON string (RFC 8259, section 7) with no more escapes than needed.
func appendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			continue
		}
		dst = append(dst, s[from:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
