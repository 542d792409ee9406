package ui

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestLocalPanics lets the API panic at every moment of an answer, with and without a stream.
func TestLocalPanics(t *testing.T) {
	t.Parallel()
	write := func(w http.ResponseWriter, contentType string) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, "data: 1\n\n")
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		status  int  // 0: an error in place of an answer
		whole   bool // the body ends as it should
	}{
		"at once":  {func(http.ResponseWriter, *http.Request) { panic("boom") }, 500, true},
		"to abort": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, false},
		"after a part": {func(w http.ResponseWriter, _ *http.Request) {
			write(w, "application/json")
			panic("boom")
		}, 0, false},
		"after events": {func(w http.ResponseWriter, _ *http.Request) { write(w, eventStream); panic("boom") },
			200, false},
		"to abort after events": {func(w http.ResponseWriter, _ *http.Request) {
			write(w, eventStream)
			panic(http.ErrAbortHandler)
		}, 200, false},
		"no panic":                {func(w http.ResponseWriter, _ *http.Request) { write(w, "application/json") }, 200, true},
		"no panic, events":        {func(w http.ResponseWriter, _ *http.Request) { write(w, eventStream) }, 200, true},
		"no panic, nothing":       {func(http.ResponseWriter, *http.Request) {}, 200, true},
		"no panic, just a header": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 404, true},
	} {
		for _, accept := range []string{"application/json", eventStream} {
			if accept != eventStream && strings.Contains(name, "events") {
				continue // a stream has to be asked for
			}
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/v1/attempts/live", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", accept)
			resp, err := local{tt.handler}.RoundTrip(r)
			if tt.status == 0 {
				if err == nil {
					t.Errorf("%s, %s: RoundTrip = %s, want an error", name, accept, resp.Status)
				}
				continue
			}
			if err != nil || resp.StatusCode != tt.status {
				t.Errorf("%s, %s: RoundTrip = %v, %v, want %d", name, accept, resp, err, tt.status)
				continue
			}
			if _, err := io.ReadAll(resp.Body); (err == nil) != tt.whole {
				t.Errorf("%s, %s: the body ends with %v, want it whole: %v", name, accept, err, tt.whole)
			}
		}
	}
}
