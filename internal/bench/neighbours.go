package bench

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgserver"
)

// trouble is what a tenant does to a node while others' latency is measured.
type trouble struct {
	webhooks int    // of the tenant
	to       string // path of the receiver, or URL
	flow     flow   // of one round; it is not longer than the measurement
	what     string
}

// benchFlooded has a tenant flood a webhook whose receiver never answers with large events.
func (g *rig) benchFlooded(ctx context.Context, b *Report) error {
	return g.others(ctx, b, trouble{webhooks: 1, to: "/hang/0", what: "while a tenant floods a hanging webhook",
		flow: flow{size: 100, workers: 4, more: 8 << 10, most: 100_000 / rounds}})
}

// benchRefused has a tenant's events go to many webhooks on a port where nobody listens.
func (g *rig) benchRefused(ctx context.Context, b *Report) error {
	port, err := pgserver.FreePort()
	if err != nil {
		return err
	}
	const refusing = 2_000
	return g.others(ctx, b, trouble{webhooks: refusing, to: "http://127.0.0.1:" + strconv.Itoa(port) + "/",
		what: "while 2,000 webhooks of a tenant refuse",
		flow: flow{size: 1, workers: 1, most: 100_000 / refusing / rounds}})
}

// others compares the latency of another tenant's events on a node in trouble with that on a quiet one, which is
// measured before and after.
func (g *rig) others(ctx context.Context, b *Report, t trouble) error {
	return g.withNode(ctx, "/lat/0", func(quiet *node) error {
		s, err := g.storeWith(ctx, t.webhooks, 1, t.to)
		if err != nil {
			return err
		}
		t.flow.eventType, t.flow.tenant = benchType, app.TenantName(0)
		var calm, troubled, took []float64
		rounds := func(n int, f func() error) error {
			for range n {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}
		still := func() error {
			ns, err := g.othersRound(ctx, quiet, nil)
			calm = append(calm, quantile(ns, 0.99))
			return err
		}
		if err := rounds(2, still); err != nil {
			return err
		}
		if err := g.withStore(ctx, s, func(n *node) error {
			if err := n.hook(ctx, g, "/lat/0"); err != nil {
				return err
			}
			return rounds(5, func() error {
				began := time.Now()
				ns, err := g.othersRound(ctx, n, &t.flow)
				troubled, took = append(troubled, quantile(ns, 0.99)), append(took, time.Since(began).Seconds())
				return err
			})
		}); err != nil {
			return err
		}
		if err := rounds(3, still); err != nil {
			return err
		}
		b.add("others' p99 from publishing to arrival, quiet", median(calm), "ms")
		b.add("  "+t.what, median(troubled), "ms")
		b.target("  over quiet", median(troubled)/median(calm), "×", 2, 1.2, true)
		b.add("  (a round of the flood took)", median(took), "s")
		return nil
	})
}

// othersRound publishes steadily for two seconds, or as long as the flood goes on, and is how long the events took to
// arrive, nanoseconds.
func (g *rig) othersRound(ctx context.Context, n *node, flood *flow) (took []int64, err error) {
	if err := g.publishSteadily(ctx, n, 50, warmUp); err != nil {
		return nil, err
	}
	if _, err := g.latencies(ctx); err != nil {
		return nil, err
	}
	flooded := make(chan error, 1) // sent once, when the flood is over
	if flood == nil {
		flooded <- nil
	} else {
		r, err := g.start(ctx, n, *flood)
		if err != nil {
			return nil, err
		}
		go func() { flooded <- r.wait() }()
	}
	sent := 0
	for over := false; !over; {
		answered, err := g.publishTimed(ctx, n, 100, 2*time.Second, func(int) string { return "" })
		if err != nil {
			return nil, err
		}
		sent += len(answered)
		select {
		case err := <-flooded:
			if over = true; err != nil {
				return nil, err
			}
		default:
		}
	}
	return g.arrivals(ctx, sent)
}

// lateLimit is how long events are waited for; what has not arrived by then counts as having taken so long.
const lateLimit = 6 * time.Second

// arrivals waits for what was sent to path 0 and is how long it took, nanoseconds.
func (g *rig) arrivals(ctx context.Context, sent int) (took []int64, err error) {
	for end := time.Now().Add(lateLimit); len(took) < sent; {
		byPath, err := g.latencies(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, byPath[0]...)
		if time.Now().After(end) {
			break
		}
	}
	for len(took) < sent {
		took = append(took, lateLimit.Nanoseconds())
	}
	return took, nil
}

// failSchedule is that of the webhooks that fail.
var failSchedule = []client.Duration{client.Duration(time.Second), client.Duration(time.Second)}

// benchFail publishes at half of what the node can do to 20 webhooks, of which every fifth answers 500.
func (g *rig) benchFail(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "", func(none *node) error {
		if err := g.failPaths(ctx, none, false); err != nil {
			return err
		}
		unpaced := g.singles()
		unpaced.each = hookCount
		most, err := g.measure(ctx, none, unpaced, g.Round)
		if err != nil {
			return err
		}
		rate := max(int(most.PerSecond/hookCount/2), 1)
		var calm, some, calmP99, someP99 []float64
		round := func(n *node, rates, p99s *[]float64) error {
			ns, err := g.healthyAt(ctx, n, rate, 2*time.Second, nil)
			*rates, *p99s = append(*rates, float64(len(ns))), append(*p99s, quantile(ns, 0.99))
			return err
		}
		for range 2 {
			if err := round(none, &calm, &calmP99); err != nil {
				return err
			}
		}
		if err := g.withNode(ctx, "", func(n *node) error {
			if err := g.failPaths(ctx, n, true); err != nil {
				return err
			}
			for range rounds {
				if err := round(n, &some, &someP99); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for range 3 {
			if err := round(none, &calm, &calmP99); err != nil {
				return err
			}
		}
		if median(calm) == 0 || median(some) == 0 {
			return errNoLatencies
		}
		b.add("events/s to 20 webhooks, half of what it can do", float64(rate), "events/s")
		b.target("healthy throughput, every fifth failing over none", median(some)/median(calm), "×", 0.95, 1, false)
		b.add("p99 of the healthy, none failing", median(calmP99), "ms")
		b.add("p99 of the healthy, every fifth failing", median(someP99), "ms")
		b.target("  failing over none", median(someP99)/median(calmP99), "×", 1.5, 1.1, true)
		return nil
	})
}

// failPaths registers 20 webhooks that all get every event; every fifth answers 500 when failing.
func (g *rig) failPaths(ctx context.Context, n *node, failing bool) error {
	for k := range hookCount {
		path := fmt.Sprintf("/lat/%d", k)
		if failing && troubles(k) {
			path = fmt.Sprintf("/fail/%d", k)
		}
		if err := n.hookFor(ctx, g, path, benchType, failSchedule...); err != nil {
			return err
		}
	}
	return nil
}

// failedAttempts is how many attempts for the first filled tenant failed.
func (n *node) failedAttempts(ctx context.Context) (float64, error) {
	c := client.New(n.url, n.key, client.WithTenant(app.TenantName(0)),
		client.WithHTTPClient(&http.Client{Timeout: time.Minute}))
	s, err := c.Stats(ctx, client.Hour, "")
	return float64(s.Retried + s.Exhausted), err
}
