package app_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// troubled is a receiver that counts the whole requests of each event, and does to every other of them what receivers
// do in the field.
type troubled struct {
	mu   sync.Mutex
	seen map[string]int // by webhook-id
}

func (x *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	x.mu.Lock()
	x.seen[r.Header.Get("webhook-id")]++
	x.mu.Unlock()
	hijack := func(answer string, linger int) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // over HTTP/2 the stream is reset
		}
		_, _ = io.WriteString(c, answer)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(linger)
		}
		_ = c.Close()
	}
	switch rand.IntN(10) {
	case 0:
		hijack("", 0) // a reset in place of an answer
	case 1:
		hijack("HTTP/1.1 200 OK\r\nContent-Le", 1)
	case 2:
		hijack("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 1)
	case 3:
		w.WriteHeader(http.StatusInternalServerError)
	case 4:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case 5:
		<-r.Context().Done() // until the attempt's time is over
	case 6:
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	case 7:
		hijack("SSH-2.0-x\r\n", 1)
	}
}

// TestRecordIsWhatTheReceiverSaw: through all that connections and answers suffer, the attempts on record that were
// sent are the requests that the receiver saw, event by event, over HTTP/1.1.
func TestRecordIsWhatTheReceiverSaw(t *testing.T) {
	t.Parallel()
	admin := strings.Repeat("k", 32)
	a, err := app.New(t.Context(), app.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), AdminKey: admin, AllowNetwork: []string{"127.0.0.0/8"},
		Concurrency: 8, Retention: time.Hour, UndeleteTime: time.Hour, StopTimeout: 5 * time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Stop(context.Background()) })
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	x := &troubled{seen: map[string]int{}}
	s := httptest.NewServer(x)
	t.Cleanup(s.Close)
	ctx, c := t.Context(), client.New(a.URL(), admin)
	again := make([]client.Duration, 20)
	for i := range again {
		again[i] = client.Duration(time.Second)
	}
	const events = 40
	must(c.CreateWebhook(ctx, client.NewWebhook{URL: s.URL, EventTypes: []string{"**"}, RetrySchedule: again, GenerateSigningKey: true,
		Timeout: client.Duration(time.Second)}))(t)
	for range events {
		must(c.Publish(ctx, client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "o", OwnerID: "w"}))(t)
	}
	for {
		n := must(c.CountDeliveries(ctx, client.DeliveryQuery{Status: "waiting"}))(t)
		if n.Count == 0 {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(50 * time.Millisecond): // between two looks
		}
	}
	sent, retried := 0, 0
	for _, d := range must(c.Deliveries(ctx, client.DeliveryQuery{Limit: 200}))(t).Deliveries {
		all, tried := must(c.Delivery(ctx, d.ID))(t), 0
		for _, at := range all.AttemptLog {
			if at.Sent {
				tried++
			}
		}
		x.mu.Lock()
		saw := x.seen[d.EventID]
		x.mu.Unlock()
		if tried != saw {
			t.Errorf("event %s: %d attempts on record were sent, the receiver saw %d", d.EventID, tried, saw)
		}
		sent += tried
		retried += tried - 1
	}
	if sent < events || retried == 0 {
		t.Errorf("%d attempts of %d events, %d again: the receiver was no trouble", sent, events, retried)
	}
}
