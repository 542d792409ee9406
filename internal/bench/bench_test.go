package bench

import (
	"os"
	"slices"

	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// TestBenchReceiver holds what the rest of bench relies on: counts, latencies by path, hanging, and the stream.
func TestBenchReceiver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv := httptest.NewServer(&receiver{ctx: ctx, latencies: map[int][]int64{}})
	defer srv.Close()
	defer cancel() // before Close, which waits for the stream
	g := &rig{http: srv.Client(), base: srv.URL, arrived: newGauge()}
	followed := make(chan struct{}) // closed when follow ended
	go func() { defer close(followed); g.follow(ctx) }()

	for range 3 {
		if err := g.post(ctx, srv.URL+"/n", "", []byte("x"), http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Now().Add(-5 * time.Millisecond).UnixNano()
	if err := g.post(ctx, srv.URL+"/lat/7", "", []byte(benchEvent(benchType, sent)), http.StatusOK); err != nil {
		t.Fatal(err)
	}
	if !g.arrived.await(ctx, 4, func() bool { return false }) {
		t.Error("await(4) = false, want true")
	}
	byPath := map[int][]int64{}
	if err := g.control(ctx, "/ctl/latencies", &byPath); err != nil {
		t.Fatal(err)
	}
	if len(byPath[7]) != 1 || byPath[7][0] < 5e6 || byPath[7][0] > 60e9 {
		t.Errorf("latencies = %v, want one of at least 5 ms on path 7", byPath)
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if err := g.post(short, srv.URL+"/hang/1", "", nil, http.StatusOK); err == nil {
		t.Error("POST /hang/1 = nil, want a timeout")
	}
	var hung int64
	if err := g.control(ctx, "/ctl/hung", &hung); err != nil || hung != 1 {
		t.Errorf("hung = %d, %v, want 1", hung, err)
	}
	cancel()
	<-followed
	if g.arrived.await(context.Background(), 99, func() bool { return false }) {
		t.Error("await after the stream ended = true, want false")
	}
}

func TestFlowKeepsItsWindow(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rec := &receiver{ctx: ctx, latencies: map[int][]int64{}}
	receiver := httptest.NewServer(rec)
	defer receiver.Close()
	defer cancel()
	requests := make(chan struct{}, 100) // sent by the handler, never closed
	accept := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests <- struct{}{}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer accept.Close()
	g := &rig{http: accept.Client(), base: receiver.URL, arrived: newGauge()}
	n := &node{url: accept.URL}

	// Nothing arrives, so exactly the window is published; then all arrives and the flow goes on to its end.
	r, err := g.start(ctx, n, flow{size: 10, workers: 3, eventType: benchType, window: 50, most: 120})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		<-requests
	}
	if got := len(requests); got != 0 {
		t.Errorf("requests beyond the window = %d, want 0", got)
	}
	g.arrived.set(1000)
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	if got := r.published.Load(); got != 120 {
		t.Errorf("published = %d, want 120", got)
	}
}

func TestBenchBody(t *testing.T) {
	t.Parallel()
	path, body := benchBody(benchType, 3, 0)
	if path != "/v1/events/batch" || strings.Count(string(body), benchType) != 3 || body[len(body)-3] != '}' {
		t.Errorf("benchBody(3) = %s %s", path, body)
	}
}

// TestFilledStore fills a store and looks at its pages as bench does: all answer, and the numbers agree with the
// record.
func TestFilledStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := app.Fill(t.Context(), app.FillConfig{To: dir, Events: 3000, Progress: func(app.CopyProgress) {}},
		slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Config{Listen: "127.0.0.1:0", Data: dir, AdminKey: benchKey, Retention: 20000 * time.Hour, UndeleteTime: time.Hour,
		Concurrency: 1, StopTimeout: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop(context.Background()) }()
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := client.New(a.URL(), benchKey)
	signed, err := c.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pages, err := pagesOf(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if _, _, err := fetchPage(t.Context(), a.URL()+p, signed.Key); err != nil {
			t.Error(err)
		}
	}
	stats, err := c.Stats(t.Context(), client.Month, "")
	if err != nil {
		t.Fatal(err)
	}
	for status, got := range map[string]int64{client.StatusDelivered: stats.Delivered,
		client.StatusExhausted: stats.Exhausted, client.StatusWaiting: int64(stats.Waiting)} {
		n, err := c.CountDeliveries(t.Context(), client.DeliveryQuery{Status: status})
		if err != nil || int64(n.Count) != got && status != client.StatusDelivered || int64(n.Count)-got > 60 ||
			got == 0 { // the period begins up to six hours later
			t.Errorf("%s: the numbers say %d, the record %d (%v)", status, got, n.Count, err)
		}
	}
	if size, err := firstView(t.Context(), a.URL(), signed.Key); err != nil || size > 60_000 {
		t.Errorf("the first view has %d bytes (%v), want at most 60,000", size, err)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var ns []int64
	for i := range 100 {
		ns = append(ns, int64(100-i)*1e6)
	}
	for _, tt := range []struct{ q, want float64 }{{0, 1}, {0.5, 51}, {0.99, 100}, {1, 100}} {
		if got := quantile(ns, tt.q); got != tt.want {
			t.Errorf("quantile(%v) = %v, want %v", tt.q, got, tt.want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile(nil) = %v, want 0", got)
	}
}

func TestOwnProcess(t *testing.T) {
	t.Parallel()
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Errorf("cpuTime = %v, want nil", err)
	}
	now, peak, err := memory(os.Getpid())
	if err != nil || now == 0 || peak < now {
		t.Errorf("memory = %d, %d, %v, want 0 < now <= peak", now, peak, err)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		measured, must, reach float64
		less                  bool
		want                  string
	}{
		{0.5, 0.6, 0.9, false, "MISS"}, {0.6, 0.6, 0.9, false, "ok"}, {0.9, 0.6, 0.9, false, "ok, both"},
		{16, 15, 5, true, "MISS"}, {15, 15, 5, true, "ok"}, {5, 15, 5, true, "ok, both"}, {0, 0, 0, true, "ok, both"},
	} {
		b := Report{store: SQLite, name: "one"}
		b.target("a", tt.measured, "×", tt.must, tt.reach, tt.less)
		var out strings.Builder
		if err := b.Print(&out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), "  "+tt.want+"\n") || (len(b.Missed) > 0) != (tt.want == "MISS") {
			t.Errorf("%v of %v: missed %v, printed %s, want %s", tt.measured, tt.must, b.Missed, out.String(), tt.want)
		}
	}
}

func TestPaired(t *testing.T) {
	t.Parallel()
	var order []string
	from := func(name string, list ...float64) func() (float64, error) {
		return func() (float64, error) {
			order = append(order, name)
			v := list[0]
			list = list[1:]
			return v, nil
		}
	}
	// The machine is twice as slow in the third round.
	ratio, a, b, err := paired(3, from("a", 8, 9, 4), from("b", 10, 10, 5))
	if err != nil || ratio != 0.8 || a != 8 || b != 10 {
		t.Errorf("paired = %v, %v, %v, %v, want 0.8, 8, 10", ratio, a, b, err)
	}
	if got := strings.Join(order, ""); got != "abbaab" {
		t.Errorf("order = %s, want abbaab", got)
	}
}

func TestEveryRowHasItsStores(t *testing.T) {
	t.Parallel()
	all := Config{}
	for _, r := range rows {
		sqlite, postgres := all.wantsRow(r, SQLite), all.wantsRow(r, Postgres)
		if sqlite != (r.on != Postgres) || postgres != !r.brief {
			t.Errorf("%s is measured on SQLite: %v, on PostgreSQL: %v", r.name, sqlite, postgres)
		}
		for _, name := range Names() {
			one := Config{Only: []string{name}}
			want := name == r.name || r.name == "rates" && slices.Contains(rates, name)
			if got := one.wantsRow(r, Postgres); got != want {
				t.Errorf("--only %s measures %s on PostgreSQL: %v, want %v", name, r.name, got, want)
			}
		}
	}
}
