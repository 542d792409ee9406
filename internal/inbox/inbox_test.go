package inbox

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// What our own receivers read of a body is tried at its limit, one below and one above.
func TestReceivedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	for n := MaxBody - 1; n <= MaxBody+1; n++ {
		body := strings.Repeat(" ", n)
		v, err := Receive(httptest.NewRecorder(), httptest.NewRequest("POST", "/hook", strings.NewReader(body)))
		if good := n <= MaxBody; good != (err == nil) || good && len(v.Body) != n {
			t.Errorf("Receive of %d bytes = %d, %v, want it taken: %v", n, len(v.Body), err, good)
		}
	}
}

// What is printed of a request has nothing that a terminal obeys.
func TestReceivedIsInert(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;owned\x07\x1b[2J\r\u009b31m\u202egnp.exe\u2066\x00\x7f"
	for name, body := range map[string]string{"not JSON": evil, "JSON": `{"a":"` + "\u202e\u009b" + `"}`} {
		req := httptest.NewRequest("POST", "/hook", strings.NewReader(body))
		req.URL.Path, req.URL.RawQuery = "/"+evil, evil
		req.Header.Set("X-Quantfolio-Signature-256", evil)
		v, err := Receive(httptest.NewRecorder(), req)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		v.Show(&out)
		for _, r := range out.String() {
			if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202e || r == 0x2066 {
				t.Errorf("%s: %U is printed: %q", name, r, out.String())
			}
		}
	}
}
