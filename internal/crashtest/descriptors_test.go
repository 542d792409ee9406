package crashtest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
)

// With the fewest descriptors that a node starts with, and far more receivers that take their time, no attempt is lost
// to the node's own limits.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	const webhooks, events = 400, 5
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	receiver := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got.Add(1)
		select {
		case <-time.After(50 * time.Millisecond): // so that attempts pile up
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = receiver.Serve(l) }()
	defer receiver.Close()

	n := newNode(t, t.TempDir())
	n.wrap = []string{"/bin/sh", "-c", `ulimit -n 256; exec "$0" "$@"`}
	if !n.start() {
		t.Fatalf("the node did not start:\n%s", n.logs.String())
	}
	c := client.New("http://"+n.addr, adminKey)
	port := l.Addr().(*net.TCPAddr).Port
	for i := range webhooks { // each its own origin
		_, err := c.CreateWebhook(t.Context(), client.NewWebhook{
			URL: fmt.Sprintf("http://127.0.%d.%d:%d/", 1+i/200, 1+i%200,
				port), Method: "POST", EventTypes: []string{"**"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range events {
		if _, err := c.Publish(t.Context(),
			client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a",
				OwnerID: "o"}); err != nil {
			t.Fatal(err)
		}
	}
	limit := time.Now().Add(60 * time.Second)
	for got.Load() < webhooks*events && time.Now().Before(limit) {
		<-time.After(20 * time.Millisecond)
	}
	if n := got.Load(); n != webhooks*events {
		t.Errorf("the receivers got %d requests, want %d", n, webhooks*events)
	}
	r, err := http.Get("http://" + n.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "qhook_attempt_failures_total") &&
			!strings.HasSuffix(strings.TrimSpace(line), " 0") {
			t.Errorf("attempts failed: %s", line)
		}
	}
}
