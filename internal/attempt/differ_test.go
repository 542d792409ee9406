package attempt

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

// reading is what a client makes of an answer.
type reading struct {
	ok     bool
	status int
	body   string // up to MaxKept
}

func (r reading) String() string {
	if !r.ok {
		return "refused"
	}
	return fmt.Sprintf("%d with %d bytes", r.status, len(r.body))
}

// pieces gives its parts one by one.
type pieces struct{ parts [][]byte }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.parts[0])
	if p.parts[0] = p.parts[0][n:]; len(p.parts[0]) == 0 {
		p.parts = p.parts[1:]
	}
	return n, nil
}

func ours(answer [][]byte) reading {
	r, _, err := exchange(&scripted{answer: &pieces{answer}})
	if err != nil {
		return reading{}
	}
	return reading{true, r.Status, string(r.Response)}
}

// std reads by net/http, as its Transport does: interim answers are passed over.
func std(answer [][]byte) reading {
	r := bufio.NewReader(&pieces{answer})
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil || resp.StatusCode == 101 {
			return reading{}
		}
		if resp.StatusCode < 200 {
			continue
		}
		b, _ := readAtMost(resp.Body, MaxKept, -1)
		return reading{resp.StatusCode <= 599, resp.StatusCode, string(b)}
	}
	return reading{}
}

func fast(answer [][]byte) reading {
	var resp fasthttp.Response
	err := resp.Read(bufio.NewReader(&pieces{answer}))
	b := resp.Body()
	return reading{err == nil, resp.StatusCode(), string(b[:min(len(b), MaxKept)])}
}

// explained are the differences that are meant: what is in an answer, who reads it otherwise, how, and why we do not.
var explained = []struct{ has, who, how, why string }{
	{"interim", "fasthttp", "takes", "RFC 9110, section 15.2: any interim answer is passed over, not 100 alone"},
	{"broken off", "fasthttp", "refuses", "an answer is its status; what is missing of the body is for the record only"},
	{"bad chunks", "fasthttp", "refuses", "likewise"},
	{"list of lengths", "fasthttp", "refuses", "RFC 9112, section 6.3, item 5: the same length several times is that length"},
	{"list of lengths", "net/http", "refuses", "likewise"},
	{"two lengths", "fasthttp", "takes", "RFC 9112, section 6.3, item 5: it must be refused"},
	{"chunked twice", "net/http", "refuses", "RFC 9112, section 6.3, item 4: the status is certain, and the connection ends"},
	{"coding but chunked", "net/http", "refuses", "likewise"},
	{"HTTP/1.0", "net/http", "reads another body", "RFC 9112, section 6.1: its framing is faulty; the connection ends, the record has the body"},
}

// drawnAnswer is an answer of a server, put together of parts that are right, doubtful or wrong, and what is in it.
func drawnAnswer(t *rapid.T) (answer string, has map[string]bool) {
	has = map[string]bool{}
	var b strings.Builder
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "interim") {
		has["interim"] = true
		b.WriteString(rapid.SampledFrom([]string{"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
			"HTTP/1.1 102 Processing\r\n\r\n"}).Draw(t, "which"))
	}
	version := rapid.SampledFrom([]string{"1.1", "1.1", "1.1", "1.0"}).Draw(t, "version")
	has["HTTP/1.0"] = version == "1.0"
	status := rapid.SampledFrom([]int{200, 201, 202, 204, 299, 304, 400, 404, 410, 429, 500, 503}).Draw(t, "status")
	has["no body by status"] = status == 204 || status == 304
	fmt.Fprintf(&b, "HTTP/%s %d%s\r\n", version, status, rapid.SampledFrom([]string{" OK", " ", " Not a word: at all"}).Draw(t, "reason"))
	body := strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 2, 100, MaxKept, MaxKept + 1}).Draw(t, "size"))
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	if body == "" {
		chunks = "0\r\n\r\n"
	}
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	const chunked = "Transfer-Encoding: chunked\r\n"
	frames := map[string][2]string{
		"length": {length, body}, "chunks": {chunked, chunks}, "body without length": {"Connection: close\r\n", body},
		"length and chunks": {length + chunked, chunks}, "chunked twice": {chunked + chunked, chunks},
		"coding but chunked":    {"Transfer-Encoding: gzip, chunked\r\n", chunks},
		"the same length twice": {length + length, body}, "list of lengths": {fmt.Sprintf("Content-Length: %d, %[1]d\r\n", len(body)), body},
		"two lengths": {length + fmt.Sprintf("Content-Length: %d\r\n", len(body)+1), body}, "bad length": {"Content-Length: +5\r\n", "hello"},
		"bad chunks": {chunked, "zz\r\n" + body},
	}
	names := []string{"length", "length", "length", "chunks", "chunks", "chunks", "body without length", "length and chunks",
		"chunked twice", "coding but chunked", "the same length twice", "list of lengths", "two lengths", "bad length", "bad chunks"}
	frame := rapid.SampledFrom(names).Draw(t, "frame")
	has[frame] = true
	lines := []string{"Server: x\r\n", "Retry-After: 5\r\n", "X-Empty:\r\n", "x-lower: y\r\n"}
	odd := map[string]string{"space before the colon": "X-Y : z\r\n", "fold": "X-Y: a\r\n\tb\r\n", "CR in a line": "X-Y: a\rb\r\n",
		"NUL in a line": "X-Y: a\x00b\r\n", "no colon": "nonsense\r\n"}
	if name := rapid.SampledFrom([]string{"", "", "", "", "space before the colon", "fold", "CR in a line", "NUL in a line",
		"no colon"}).Draw(t, "odd"); name != "" {
		has[name] = true
		lines = append(lines, odd[name])
	}
	lines = rapid.Permutation(lines).Draw(t, "order")
	at := rapid.IntRange(0, len(lines)).Draw(t, "place")
	b.WriteString(strings.Join(lines[:at], "") + frames[frame][0] + strings.Join(lines[at:], "") + "\r\n" + frames[frame][1])
	answer = b.String()
	if cut := rapid.SampledFrom([]int{0, 0, 0, 0, 1, 3}).Draw(t, "cut"); cut > 0 && cut <= len(frames[frame][1]) {
		has["broken off"] = true
		answer = answer[:len(answer)-cut]
	}
	return answer, has
}

// split cuts an answer into what comes at once.
func split(t *rapid.T, answer string) (parts [][]byte) {
	most := rapid.SampledFrom([]int{1, 7, 1000, len(answer) + 1}).Draw(t, "piece")
	for i := 0; i < len(answer); i += most {
		parts = append(parts, []byte(answer[i:min(i+most, len(answer))]))
	}
	return parts
}

func clone(parts [][]byte) [][]byte {
	out := make([][]byte, len(parts))
	for i, p := range parts {
		out[i] = bytes.Clone(p)
	}
	return out
}

// TestAnswersAsOthersReadThem: what we make of an answer is what net/http and fasthttp make of it, or the difference is
// meant and explained.
func TestAnswersAsOthersReadThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		answer, has := drawnAnswer(t)
		parts := split(t, answer)
		our := ours(clone(parts))
		for who, read := range map[string]func([][]byte) reading{"net/http": std, "fasthttp": fast} {
			their := read(clone(parts))
			if our == their || !our.ok && !their.ok {
				continue
			}
			kind := "reads another body"
			if our.ok != their.ok {
				kind = map[bool]string{true: "refuses", false: "takes"}[our.ok]
			} else if our.status != their.status {
				kind = "takes"
			}
			why := ""
			for _, x := range explained {
				if has[x.has] && x.who == who && x.how == kind {
					why = x.why
				}
			}
			if why == "" {
				t.Fatalf("%q: we read %v, %s %s: %v", answer[:min(len(answer), 300)], our, who, kind, their)
			}
		}
	})
}

// FuzzAnswers: whatever comes, where net/http and we both take it, we take it for the same.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{ok204, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 X\r\n\r\n" + ok204,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 1, 1\r\n\r\nx"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, answer []byte, piece int) {
		if len(answer) > 1<<17 || piece < 1 {
			return
		}
		var parts [][]byte
		for rest := answer; len(rest) > 0; {
			n := min(piece, len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		our, their := ours(clone(parts)), std(clone(parts))
		if our.ok && (our.status < 200 || our.status > 599 || len(our.body) > MaxKept) {
			t.Fatalf("we read %v", our)
		}
		if our.ok && their.ok && our.status != their.status {
			t.Fatalf("%q: we read %v, net/http %v", answer, our, their)
		}
		if whole := ours([][]byte{bytes.Clone(answer)}); len(answer) > 0 && whole != our {
			t.Fatalf("%q: in pieces of %d we read %v, at once %v", answer, piece, our, whole)
		}
	})
}
