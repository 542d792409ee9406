package ui

import (
	"bytes"
	"compress/gzip"
	"html"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
)

// A page is parsed when it is first shown; that each one can be is found here.
func TestEveryPageParses(t *testing.T) {
	t.Parallel()
	list, err := newPages()
	if err != nil || len(list) < 20 {
		t.Fatalf("newPages() = %d pages, %v", len(list), err)
	}
	for name, parse := range list {
		if _, err := parse(); err != nil {
			t.Errorf("page %s: %v", name, err)
		}
	}
	if err := list.execute(io.Discard, "nosuch", "page", nil); err == nil {
		t.Error("a page that is not there = nil, want an error")
	}
}

// TestReasonsAreShown: an error of TLS is shown by its reason.
func TestReasonsAreShown(t *testing.T) {
	t.Parallel()
	list, err := newPages()
	if err != nil {
		t.Fatal(err)
	}
	why := client.Explain("tls", "expired", 0)
	a := client.Attempt{Number: 1, Class: "tls", Reason: "expired", Explanation: why.String(), Outcome: "retry"}
	d := client.Delivery{Attempts: 1, LastClass: "tls", LastReason: "expired"}
	means := strings.TrimSuffix(why.Means, ".")
	for _, tt := range []struct {
		page, part string
		data       any
		want       []string
	}{
		{"live", "live-row", liveRow{LiveAttempt: client.LiveAttempt{Attempt: a}},
			[]string{`title="` + a.Explanation + `">` + means + "<"}},
		{"deliveries", "last", d, []string{`title="` + a.Explanation + `">` + means + "<"}},
		{"delivery", "now", page{Content: deliveryPage{DeliveryDetail: client.DeliveryDetail{Delivery: d,
			AttemptLog: []client.Attempt{a}}}}, []string{">" + means + "<", "<p>" + a.Explanation + "</p>"}},
	} {
		var b bytes.Buffer
		if err := list.execute(&b, tt.page, tt.part, tt.data); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if got := html.UnescapeString(b.String()); !strings.Contains(got, want) {
				t.Errorf("%s of %s is without %q:\n%s", tt.part, tt.page, want, got)
			}
		}
	}
}

// noCalls is the API of pages that make none.
type noCalls struct{}

func (noCalls) Session(string, string, string) client.API { return nil }

// An asset is the same with gzip and without, and says what it is whatever the machine's list of types does.
func TestAssetsAreServed(t *testing.T) {
	t.Parallel()
	u, err := New(Config{API: noCalls{}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := assetsByName()
	if err != nil || len(list) == 0 {
		t.Fatalf("assetsByName() = %d assets, %v", len(list), err)
	}
	for name, a := range list {
		var body [2][]byte
		for i, encoding := range []string{"", "gzip"} {
			r := httptest.NewRequest("GET", a.path, nil)
			r.Header.Set("Accept-Encoding", encoding)
			w := httptest.NewRecorder()
			u.ServeHTTP(w, r)
			if got := w.Header().Get("Content-Encoding"); w.Code != 200 || got != encoding {
				t.Errorf("GET %s = %d encoded %q, want 200 and %q", a.path, w.Code, got, encoding)
			}
			if got := w.Header().Get("Content-Type"); got != a.contentType || got == "" {
				t.Errorf("GET %s has type %q, want %q", a.path, got, a.contentType)
			}
			body[i] = w.Body.Bytes()
		}
		z, err := gzip.NewReader(bytes.NewReader(body[1]))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || len(b) == 0 || !bytes.Equal(b, body[0]) {
			t.Errorf("%s has %d bytes in gzip and %d without, %v", name, len(b), len(body[0]), err)
		}
	}
}
