package crashtest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fromEnv is a number from the environment, or what holds without it.
func fromEnv(t *testing.T, name string, def int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// unsettled is how many requests of one webhook a kill may leave without a record: serve's 32 that are under way, and
// those that were answered while the commit ran that would have recorded them, and the one before. A commit takes a few
// milliseconds, in which the 32 workers make several requests each.
const unsettled = 32 * 8

// TestKill kills a node under load at random moments; everything answered 202 must arrive.
func TestKill(t *testing.T) {
	killUnderLoad(t, newNode(t, t.TempDir()), fromEnv(t, "QHOOK_TEST_KILLS", 20))
}

func killUnderLoad(t *testing.T, n *node, kills int) {
	r := newReceiver(t, 0.1)
	n.mustStart()
	names := map[string]string{n.mustWebhook(t.Context(), r.URL+"/post", "POST"): "post",
		n.mustWebhook(t.Context(), r.URL+"/get", "GET"): "get"}
	p := &publisher{hooks: []string{"post", "get"}}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { p.run(ctx, n.client()) })
	}
	for range kills {
		p.accepting(ctx)
		moment := time.NewTimer(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		<-moment.C
		n.kill()
		n.mustStart()
	}
	stop()
	wg.Wait()

	l := settle(t, n, p, r, names, 2*time.Minute)
	report := Check(l, kills, unsettled*len(names))
	t.Logf("%d kills; %d events answered 202, %d with no answer; %d duplicates, %d requests on no record (at most %d explained)",
		kills, p.count.Load(), len(p.unsure), report.Duplicates, report.Unrecorded, kills*unsettled*len(names))
	if p.count.Load() < int64(kills) {
		t.Errorf("only %d events were accepted; the load was no load", p.count.Load())
	}
	for i, f := range report.Findings {
		if i == 20 {
			t.Errorf("… and %d more", len(report.Findings)-i)
			break
		}
		t.Error(f)
	}
}
