package cli

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/quantfolio/qhook/client"
)

const mega = 1 << 20

// withNode runs f against a new node with a webhook to path ("": none).
func (g *rig) withNode(ctx context.Context, path string, f func(*node) error) error {
	n, err := g.startNode(ctx)
	if err != nil {
		return err
	}
	defer n.end()
	if path != "" {
		if err := n.hook(ctx, g, path); err != nil {
			return err
		}
	}
	return f(n)
}

// batches is the flow of 100 events a request.
func (g *rig) batches() flow {
	return flow{size: 100, workers: 4, eventType: benchType, window: g.cmd.Window}
}

func (g *rig) benchOne(ctx context.Context, b *benchReport) error {
	return g.benchFlow(ctx, b, "one", "peak memory, one event a request",
		flow{size: 1, workers: connections, eventType: benchType, window: g.cmd.Window}, g.cmd.Duration)
}

func (g *rig) benchBatch(ctx context.Context, b *benchReport) error {
	return g.benchFlow(ctx, b, "batch", "peak memory, 100 events a request", g.batches(), g.cmd.Duration)
}

func (g *rig) benchFlood(ctx context.Context, b *benchReport) error {
	f := g.batches()
	f.window = 0
	return g.benchFlow(ctx, b, "flood", "peak memory, nothing held back", f, g.cmd.Duration/2)
}

func (g *rig) benchFlow(ctx context.Context, b *benchReport, name, memoryRow string, f flow, d time.Duration) error {
	return g.withNode(ctx, "/n", func(n *node) error {
		t, err := g.measure(ctx, n, f, d)
		if err != nil {
			return err
		}
		b.Runs[name] = t
		if n.database != nil && name == "batch" {
			if err := n.database.deadRows(ctx, b); err != nil {
				return err
			}
		}
		_, peak, err := memory(n.pid())
		b.add(memoryRow, float64(peak)/mega, "MB")
		return err
	})
}

// benchInvestors is how many investors the updates go to, in turn.
const benchInvestors = 1000

// updateRounds is how often updates and plain publishing are measured in turn.
const updateRounds = 4

// benchUpdates changes investors through the advisory platform, each change with its event, and publishes the same number
// of events plainly, in turn on one node, so that a machine that slows down favours neither.
func (g *rig) benchUpdates(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "/n", func(n *node) error {
		if err := n.hookFor(ctx, g, "/n", "qap.investor.updated"); err != nil {
			return err
		}
		advisor, err := n.client.CreateAdvisor(ctx, client.Advisor{Name: "Bench"}, "")
		if err != nil {
			return fmt.Errorf("create an advisor: %w", err)
		}
		paths := make([]string, benchInvestors)
		for i := range paths {
			x, err := n.client.CreateInvestor(ctx, client.Investor{AdvisorID: advisor.ID, Type: "person", Name: "John Doe"}, "")
			if err != nil {
				return fmt.Errorf("create an investor: %w", err)
			}
			paths[i] = "/v1/investors/" + x.ID
		}
		updates := flow{size: 1, workers: connections, window: g.cmd.Window, next: func(i int64) call {
			return call{http.MethodPatch, paths[i%benchInvestors], []byte(`{"investor_name":"John Doe ` + strconv.FormatInt(i, 10) + `"}`), http.StatusOK}
		}}
		plain := flow{size: 1, workers: connections, eventType: benchType, window: g.cmd.Window}
		var rates [2]float64
		for round := range updateRounds {
			for k := range 2 {
				i := (k + round) % 2
				t, err := g.measure(ctx, n, []flow{updates, plain}[i], max(g.cmd.Duration/2, 100*time.Millisecond))
				if err != nil {
					return err
				}
				if rates[i] += t.PerSecond / updateRounds; i == 0 {
					b.Runs["updates"] = t
				}
			}
		}
		b.add("investor updates, end to end", rates[0], "deliveries/s")
		b.target("  over one event a request, in turn", rates[0]/rates[1], "×", 0.5, 0.7, false)
		return nil
	})
}

func (g *rig) benchLatency(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "/lat/0", func(n *node) error {
		if err := g.publishSteadily(ctx, n, 50, 2*warmUp); err != nil {
			return err
		}
		if _, err := g.latencies(ctx); err != nil {
			return err
		}
		if err := g.publishSteadily(ctx, n, 50, g.cmd.Latency); err != nil {
			return err
		}
		byPath, err := g.latencies(ctx)
		if err != nil {
			return err
		}
		ns := byPath[0]
		if want := int(g.cmd.Latency.Seconds() * 50 * 0.9); len(ns) < want {
			return fmt.Errorf("%d arrivals recorded, at least %d expected", len(ns), want)
		}
		p50, p99 := [2]float64{3, 1}, [2]float64{15, 5}
		if n.database != nil {
			p50, p99 = [2]float64{6, 3}, [2]float64{30, 10}
		}
		b.target("publish to arrival at 50 events/s, p50", quantile(ns, 0.50), "ms", p50[0], p50[1], true)
		b.target("publish to arrival at 50 events/s, p99", quantile(ns, 0.99), "ms", p99[0], p99[1], true)
		return nil
	})
}

// storedRounds is how often the full and the empty store are measured in turn.
const storedRounds = 3

func (g *rig) benchStored(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "/n", func(full *node) error {
		began := time.Now()
		if err := g.fill(ctx, full, benchUnused, g.cmd.Events); err != nil {
			return err
		}
		b.add(fmt.Sprintf("accepted, 1,000 a request, no webhook (%d)", g.cmd.Events), float64(g.cmd.Events)/time.Since(began).Seconds(), "events/s")
		d := max(g.cmd.Duration*2/3, 100*time.Millisecond)
		var onFull, onEmpty float64
		for round := range storedRounds {
			empty := func() error {
				return g.withNode(ctx, "/n", func(n *node) error {
					t, err := g.measure(ctx, n, g.batches(), d)
					onEmpty += t.PerSecond / storedRounds
					return err
				})
			}
			filled := func() error {
				t, err := g.measure(ctx, full, g.batches(), d)
				onFull += t.PerSecond / storedRounds
				return err
			}
			order := []func() error{empty, filled} // in turn, so that a machine that slows down favours neither
			if round%2 == 1 {
				order = []func() error{filled, empty}
			}
			for _, f := range order {
				if err := f(); err != nil {
					return err
				}
			}
		}
		b.add("delivered, 100 a request, empty store", onEmpty, "deliveries/s")
		b.add(fmt.Sprintf("delivered, 100 a request, %d stored events", g.cmd.Events), onFull, "deliveries/s")
		b.target("  with stored events over empty", onFull/onEmpty, "×", 0.9, 1.0, false)
		_, peak, err := memory(full.pid())
		b.add(fmt.Sprintf("peak memory, %d stored events", g.cmd.Events), float64(peak)/mega, "MB")
		return err
	})
}

func (g *rig) benchHang(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "", func(calm *node) error {
		return g.withNode(ctx, "", func(troubled *node) error {
			if err := g.hangPaths(ctx, calm, false); err != nil {
				return err
			}
			if err := g.hangPaths(ctx, troubled, true); err != nil {
				return err
			}
			var none, some []int64
			var err error
			for range 2 {
				if none, err = g.healthy(ctx, calm, g.cmd.Latency/2, none); err != nil {
					return err
				}
				if some, err = g.healthy(ctx, troubled, g.cmd.Latency/2, some); err != nil {
					return err
				}
			}
			var hung int64
			if err := g.control(ctx, "/ctl/hung", &hung); err != nil {
				return err
			}
			if len(none) == 0 || len(some) == 0 || hung == 0 {
				return errNoLatencies
			}
			if len(some)*10 < len(none)*9 {
				return fmt.Errorf("healthy webhooks got %d requests while others hang, %d while none does", len(some), len(none))
			}
			p, q := quantile(none, 0.99), quantile(some, 0.99)
			b.add("p99 of 16 webhooks, none of 20 hanging", p, "ms")
			b.add("p99 of the same, every fifth of 20 hanging", q, "ms")
			b.target("  hanging over none", q/p, "×", 2, 1.2, true)
			return nil
		})
	})
}

func (g *rig) benchMemory(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "", func(n *node) error {
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		idle, _, err := memory(n.pid())
		if err != nil {
			return err
		}
		b.target("memory, idle", float64(idle)/mega, "MB", 60, 30, true)
		if err := n.hook(ctx, g, "/hang/0"); err != nil {
			return err
		}
		began := time.Now()
		if err := g.fill(ctx, n, benchType, g.cmd.Events); err != nil {
			return err
		}
		rate := float64(g.cmd.Events) / time.Since(began).Seconds()
		var largest int64 // sampled for a while: the garbage collector gives back at its own pace
		for range 5 {
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			now, _, err := memory(n.pid())
			if err != nil {
				return err
			}
			largest = max(largest, now)
		}
		_, peak, err := memory(n.pid())
		b.target(fmt.Sprintf("memory, %d deliveries waiting", g.cmd.Events), float64(largest)/mega, "MB", 200, 100, true)
		b.add("  peak while they came in", float64(peak)/mega, "MB")
		b.add("  accepted and spilled, 1,000 a request", rate, "events/s")
		return err
	})
}
