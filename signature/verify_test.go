package signature

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const otherKey = "another key, typed by hand"

func TestVerify(t *testing.T) {
	t.Parallel()
	content := []byte(publishedContent)
	good := Quantfolio([]byte(publishedKey), content)
	digits := strings.TrimPrefix(good, "sha256=")
	for _, tt := range []struct {
		name, key, header string
		want              error
	}{
		{"good", publishedKey, good, nil},
		{"other key", otherKey, good, ErrMismatch},
		{"key with a line end", publishedKey + "\n", good, ErrMismatch},
		{"decoded key", string(StandardKey(publishedKey)), good, ErrMismatch},
		{"empty key", "", Quantfolio(nil, content), ErrNoKey},
		{"empty header", publishedKey, "", ErrMissing},
		{"no prefix", publishedKey, digits, ErrMalformed},
		{"other algorithm", publishedKey, "sha1=" + digits, ErrMalformed},
		{"upper-case prefix", publishedKey, "SHA256=" + digits, ErrMalformed},
		{"upper-case hex", publishedKey, "sha256=" + strings.ToUpper(digits), ErrMalformed},
		{"short", publishedKey, good[:len(good)-1], ErrMalformed},
		{"long", publishedKey, good + "0", ErrMalformed},
		{"space before", publishedKey, " " + good, ErrMalformed},
		{"space after", publishedKey, good + " ", ErrMalformed},
		{"not hex", publishedKey, "sha256=" + strings.Repeat("g", 64), ErrMalformed},
		{"two", publishedKey, good + "," + good, ErrMalformed},
		{"zeros", publishedKey, "sha256=" + strings.Repeat("0", 64), ErrMismatch},
	} {
		if err := Verify(tt.key, content, tt.header); !errors.Is(err, tt.want) {
			t.Errorf("%s: Verify = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestVerifyStandard(t *testing.T) {
	t.Parallel()
	content := []byte(publishedContent)
	at := time.Unix(publishedUnix, 0)
	ts := strconv.Itoa(publishedUnix)
	good := publishedSignature
	other := Standard(StandardKey(otherKey), publishedID, at, content)
	raw := strings.TrimPrefix(good, "v1,")
	for _, tt := range []struct {
		name, key, id, timestamp, sig string
		want                          error
	}{
		{"good", publishedKey, publishedID, ts, good, nil},
		{"both keys, new first", publishedKey, publishedID, ts, good + " " + other, nil},
		{"both keys, old first", publishedKey, publishedID, ts, other + " " + good, nil},
		{"both keys, for the other", otherKey, publishedID, ts, good + " " + other, nil},
		{"among other versions", publishedKey, publishedID, ts, "v1a,abc v2," + raw + "  " + good + " ", nil},
		{"other key", otherKey, publishedID, ts, good, ErrMismatch},
		{"key without whsec_", strings.TrimPrefix(publishedKey, "whsec_"), publishedID, ts, good, ErrMismatch},
		{"empty key", "", publishedID, ts, Standard(nil, publishedID, at, content), ErrNoKey},
		{"no ID", publishedKey, "", ts, good, ErrMissing},
		{"no timestamp", publishedKey, publishedID, "", good, ErrMissing},
		{"no signature", publishedKey, publishedID, ts, "", ErrMissing},
		{"other ID", publishedKey, publishedID + "x", ts, good, ErrMismatch},
		{"dotted ID", publishedKey, "a.b", ts, Standard(StandardKey(publishedKey), "a.b", at, content), ErrMalformed},
		{"other timestamp", publishedKey, publishedID, "1614265331", good, ErrMismatch},
		{"timestamp with plus", publishedKey, publishedID, "+" + ts, good, ErrMalformed},
		{"timestamp with zero", publishedKey, publishedID, "0" + ts, good, ErrMalformed},
		{"timestamp with space", publishedKey, publishedID, ts + " ", good, ErrMalformed},
		{"timestamp in words", publishedKey, publishedID, "now", good, ErrMalformed},
		{"timestamp with fraction", publishedKey, publishedID, ts + ".0", good, ErrMalformed},
		{"negative timestamp", publishedKey, publishedID, "-1", good, ErrMalformed},
		{"huge timestamp", publishedKey, publishedID, strconv.FormatInt(math.MaxInt64, 10), good, ErrMalformed},
		{"overflowing timestamp", publishedKey, publishedID, "99999999999999999999", good, ErrMalformed},
		{"no version", publishedKey, publishedID, ts, raw, ErrMalformed},
		{"other version only", publishedKey, publishedID, ts, "v2," + raw, ErrMalformed},
		{"commas between", publishedKey, publishedID, ts, good + "," + other, ErrMalformed},
		{"cut", publishedKey, publishedID, ts, good[:len(good)-1], ErrMalformed},
		// The last digit before the padding has two bits that decoding ignores.
		{"same bytes, other base64", publishedKey, publishedID, ts, strings.Replace(good, "OE=", "OF=", 1),
			ErrMismatch},
	} {
		h := http.Header{}
		for name, v := range map[string]string{HeaderID: tt.id, HeaderTimestamp: tt.timestamp,
			HeaderSignature: tt.sig} {
			h.Set(name, v)
		}
		if err := VerifyStandard(tt.key, h, content, at, DefaultTolerance); !errors.Is(err, tt.want) {
			t.Errorf("%s: VerifyStandard = %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		h := standardHeader(publishedID, publishedUnix, good)
		h.Add(name, h.Get(name))
		if err := VerifyStandard(publishedKey, h, content, at, 0); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s twice: VerifyStandard = %v, want %v", name, err, ErrMalformed)
		}
		h.Del(name)
		if err := VerifyStandard(publishedKey, h, content, at, 0); !errors.Is(err, ErrMissing) {
			t.Errorf("%s absent: VerifyStandard = %v, want %v", name, err, ErrMissing)
		}
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	at := time.Unix(publishedUnix, 0)
	for _, tt := range []struct {
		name      string
		now       time.Time
		tolerance time.Duration
		want      error
	}{
		{"same instant", at, 0, nil},
		{"oldest", at.Add(DefaultTolerance), DefaultTolerance, nil},
		{"too old", at.Add(DefaultTolerance + 1), DefaultTolerance, ErrTooOld},
		{"newest", at.Add(-DefaultTolerance), DefaultTolerance, nil},
		{"too new", at.Add(-DefaultTolerance - 1), DefaultTolerance, ErrTooNew},
		{"zero is the default", at.Add(DefaultTolerance), 0, nil},
		{"zero is not off", at.Add(DefaultTolerance + 1), 0, ErrTooOld},
		{"negative is the default", at.Add(DefaultTolerance), -1, nil},
		{"negative is not off", at.Add(-DefaultTolerance - 1), -1, ErrTooNew},
		{"own", at.Add(time.Second), time.Second, nil},
		{"own, too old", at.Add(time.Second + 1), time.Second, ErrTooOld},
		{"longest", at.Add(100 * time.Hour), math.MaxInt64, nil},
		{"centuries", at.AddDate(500, 0, 0), 0, ErrTooOld},
		{"centuries back", at.AddDate(-500, 0, 0), 0, ErrTooNew},
	} {
		h := standardHeader(publishedID, publishedUnix, publishedSignature)
		if err := VerifyStandard(publishedKey, h, []byte(publishedContent), tt.now,
			tt.tolerance); !errors.Is(err, tt.want) {
			t.Errorf("%s: VerifyStandard = %v, want %v", tt.name, err, tt.want)
		}
		h.Set(HeaderSignature, Standard([]byte("x"), publishedID, at, nil))
		if err := VerifyStandard(publishedKey, h, []byte(publishedContent), tt.now, tt.tolerance); !errors.Is(err,
			ErrMismatch) {
			t.Errorf("%s, wrong signature: VerifyStandard = %v, want %v", tt.name, err, ErrMismatch)
		}
	}
}

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]bool{-1: false, 0: true, 1: true, maxUnix - 1: true, maxUnix: true,
		maxUnix + 1: false} {
		at, err := parseTimestamp(strconv.FormatInt(n, 10))
		if (err == nil) != want || want && at.Unix() != n {
			t.Errorf("parseTimestamp(%d) = %v, %v, want it taken: %t", n, at, err, want)
		}
	}
}

func TestVerifyRequest(t *testing.T) {
	t.Parallel()
	now := time.Unix(publishedUnix, 0)
	const query = "tenant=a+b&id=1&type=t"
	sign := func(r *http.Request, content string, keys ...string) {
		r.Header.Set(HeaderQuantfolio, Quantfolio([]byte(keys[0]), []byte(content)))
		r.Header.Set(HeaderID, "1")
		r.Header.Set(HeaderTimestamp, strconv.Itoa(publishedUnix))
		var list []string
		for _, k := range keys {
			list = append(list, Standard(StandardKey(k), "1", now, []byte(content)))
		}
		r.Header.Set(HeaderSignature, strings.Join(list, " "))
	}
	one := []string{publishedKey}
	for _, tt := range []struct {
		name, method, body string
		signed             string
		by                 []string
		change             func(*http.Request)
		keys               []string
		want               error
	}{
		{"POST", "POST", "{}", "{}", one, nil, one, nil},
		{"GET", "GET", "", query, one, nil, one, nil},
		{"GET, method left empty", "GET", "", query, one, func(r *http.Request) { r.Method = "" }, one, nil},
		{"empty POST", "POST", "", "", one, nil, one, nil},
		{"POST over the query", "POST", "{}", query, one, nil, one, ErrMismatch},
		{"GET with a body", "GET", "{}", query, one, nil, one, ErrMalformed},
		{"PUT", "PUT", "{}", "{}", one, nil, one, ErrMalformed},
		{"HEAD", "HEAD", "", query, one, nil, one, ErrMalformed},
		{"new key, receiver has both", "POST", "{}", "{}", one, nil, []string{otherKey, publishedKey}, nil},
		{"overlap, receiver has both", "POST", "{}", "{}", []string{publishedKey, otherKey}, nil,
			[]string{otherKey, publishedKey}, nil},
		{"overlap, receiver has the old", "POST", "{}", "{}", []string{otherKey, publishedKey}, nil,
			[]string{otherKey}, nil},
		{"an empty key among others", "POST", "{}", "{}", one, nil, []string{"", publishedKey}, nil},
		{"no keys", "POST", "{}", "{}", one, nil, nil, ErrNoKey},
		{"signed with an empty key", "POST", "{}", "{}", []string{""}, nil, []string{""}, ErrNoKey},
		{"wrong key", "POST", "{}", "{}", one, nil, []string{otherKey}, ErrMismatch},
		{"no signature", "POST", "{}", "{}", one, func(r *http.Request) { r.Header = http.Header{} }, one, ErrMissing},
		{"Quantfolio's only", "POST", "{}", "{}", one, func(r *http.Request) {
			r.Header.Del(HeaderID)
			r.Header.Del(HeaderTimestamp)
			r.Header.Del(HeaderSignature)
		}, one, nil},
		{"Standard's only", "POST", "{}", "{}", one, func(r *http.Request) { r.Header.Del(HeaderQuantfolio) },
			one, nil},
		{"Standard's in part", "POST", "{}", "{}", one, func(r *http.Request) { r.Header.Del(HeaderSignature) }, one,
			ErrMissing},
		{"Quantfolio's empty", "POST", "{}", "{}", one, func(r *http.Request) { r.Header.Set(HeaderQuantfolio, "") },
			one, ErrMissing},
		{"Quantfolio's wrong", "POST", "{}", "{}", one, func(r *http.Request) {
			r.Header.Set(HeaderQuantfolio, Quantfolio([]byte(otherKey), []byte("{}")))
		}, one, ErrMismatch},
		{"Standard's wrong", "POST", "{}", "{}", one, func(r *http.Request) { r.Header.Set(HeaderID, "2") }, one,
			ErrMismatch},
		{"Quantfolio's twice", "POST", "{}", "{}", one, func(r *http.Request) {
			r.Header.Add(HeaderQuantfolio, r.Header.Get(HeaderQuantfolio))
		}, one, ErrMalformed},
		{"query changed", "GET", "", query, one, func(r *http.Request) { r.URL.RawQuery += "&id=2" }, one, ErrMismatch},
	} {
		r := httptest.NewRequest(tt.method, "/hook?"+query, strings.NewReader(tt.body))
		sign(r, tt.signed, tt.by...)
		if tt.change != nil {
			tt.change(r)
		}
		if err := verifyRequest(r, []byte(tt.body), now, tt.keys); !errors.Is(err, tt.want) {
			t.Errorf("%s: VerifyRequest = %v, want %v", tt.name, err, tt.want)
		}
	}

	r := httptest.NewRequest("POST", "/hook", strings.NewReader("{}"))
	sign(r, "{}", publishedKey)
	if err := VerifyRequest(r, []byte("{}"), publishedKey); !errors.Is(err, ErrTooOld) {
		t.Errorf("VerifyRequest of an old request = %v, want %v", err, ErrTooOld)
	}
}

// TestTampering changes one byte of what is signed or of the signature.
func TestTampering(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.StringN(1, 80, -1).Draw(rt, "key")
		id := rapid.StringMatching(`[a-z0-9-]{1,36}`).Draw(rt, "id")
		content := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(rt, "content")
		unix := rapid.Int64Range(0, maxUnix).Draw(rt, "unix")
		at := time.Unix(unix, 0)
		q := Quantfolio([]byte(key), content)
		s := Standard(StandardKey(key), id, at, content)
		check := func(what, q, s, id string, content []byte, good bool) {
			if err := Verify(key, content, q); (err == nil) != good {
				rt.Fatalf("%s: Verify = %v, want nil: %t", what, err, good)
			}
			if err := VerifyStandard(key, standardHeader(id, unix, s), content, at, 0); (err == nil) != good {
				rt.Fatalf("%s: VerifyStandard = %v, want nil: %t", what, err, good)
			}
		}
		flip := func(b []byte) []byte {
			b = append([]byte(nil), b...)
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= rapid.ByteRange(1, 255).Draw(rt, "by")
			return b
		}
		check("untouched", q, s, id, content, true)
		check("content", q, s, id, flip(content), false)
		check("content cut", q, s, id, content[:len(content)-1], false)
		check("content longer", q, s, id, append(content[:len(content):len(content)], 0), false)
		check("signature", string(flip([]byte(q))), string(flip([]byte(s))), id, content, false)
		other := standardHeader(string(flip([]byte(id))), unix, s)
		if err := VerifyStandard(key, other, content, at, 0); err == nil {
			rt.Fatal("ID: VerifyStandard = nil, want an error")
		}
		later := standardHeader(id, unix+1, s)
		if err := VerifyStandard(key, later, content, at, 0); err == nil {
			rt.Fatal("timestamp: VerifyStandard = nil, want an error")
		}
	})
}

// TestErrorsHoldNoSecret holds that what a receiver logs shows neither the key
// nor the signature that would have been right.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	content := []byte(publishedContent)
	errs := []error{
		Verify(publishedKey, content, Quantfolio([]byte(otherKey), content)),
		Verify(publishedKey, content, "sha256="),
		VerifyStandard(publishedKey, standardHeader(publishedID, 1, publishedSignature), content, time.Unix(1, 0), 0),
		VerifyStandard(publishedKey, standardHeader("a.b", 1, publishedSignature), content, time.Unix(1, 0), 0),
	}
	for _, err := range errs {
		for _, secret := range []string{publishedKey, publishedSignature,
			Quantfolio([]byte(publishedKey), content), "a.b"} {
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("error = %v, want one that does not hold %q", err, secret)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range mustVectors(f) {
		f.Add(v.Key, []byte(v.Content), v.Quantfolio)
	}
	f.Add("", []byte{}, "")
	f.Add("k", []byte("c"), "sha256="+strings.Repeat("F", 64))
	f.Fuzz(func(t *testing.T, key string, content []byte, header string) {
		exact := key != "" && header == Quantfolio([]byte(key), content)
		if err := Verify(key, content, header); (err == nil) != exact {
			t.Errorf("Verify(%q, %q, %q) = %v, want nil: %t", key, content, header, err, exact)
		}
	})
}

func FuzzStandard(f *testing.F) {
	for _, v := range mustVectors(f) {
		f.Add(v.Key, v.ID, strconv.FormatInt(v.Timestamp, 10), v.Standard, []byte(v.Content))
	}
	f.Add("k", "a.b", "-1", "v1, v1,= ,", []byte{})
	f.Add("whsec_", "", "00", "v1", []byte("."))
	f.Fuzz(func(t *testing.T, key, id, timestamp, sig string, content []byte) {
		h := http.Header{}
		h.Set(HeaderID, id)
		h.Set(HeaderTimestamp, timestamp)
		h.Set(HeaderSignature, sig)
		n, parseErr := strconv.ParseInt(timestamp, 10, 64)
		at := time.Unix(n, 0)
		exact := false
		if key != "" && id != "" && !strings.Contains(id, ".") && parseErr == nil &&
			n >= 0 && n <= maxUnix && strconv.FormatInt(n, 10) == timestamp {
			want := Standard(StandardKey(key), id, at, content)
			for _, s := range strings.Split(sig, " ") {
				exact = exact || s == want
			}
		}
		if err := VerifyStandard(key, h, content, at, 0); (err == nil) != exact {
			t.Errorf("VerifyStandard(%q, %q, %q, %q, %q) = %v, want nil: %t", key, id, timestamp, sig, content,
				err, exact)
		}
	})
}
