package cli

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// What our own receivers and verify read of a body is tried at its limit, one below and one above.
func TestReceivedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	for n := maxReceived - 1; n <= maxReceived+1; n++ {
		body := strings.Repeat(" ", n)
		b, err := readBounded(strings.NewReader(body), "it")
		if good := n <= maxReceived; good != (err == nil) || good && len(b) != n {
			t.Errorf("readBounded of %d bytes = %d, %v, want it taken: %v", n, len(b), err, good)
		}
		v, err := receive(httptest.NewRecorder(), httptest.NewRequest("POST", "/hook", strings.NewReader(body)))
		if good := n <= maxReceived; good != (err == nil) || good && len(v.Body) != n {
			t.Errorf("receive of %d bytes = %d, %v, want it taken: %v", n, len(v.Body), err, good)
		}
	}
}
