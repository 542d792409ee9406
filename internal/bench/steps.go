package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const mega = 1 << 20

var errNoLatencies = errors.New("the receiver recorded no arrivals")

// benchLatency publishes steadily and slowly.
func (g *rig) benchLatency(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "/lat/0", func(n *node) error {
		if err := g.publishSteadily(ctx, n, 50, 2*warmUp); err != nil {
			return err
		}
		if _, err := g.latencies(ctx); err != nil {
			return err
		}
		if err := g.publishSteadily(ctx, n, 50, g.Latency); err != nil {
			return err
		}
		byPath, err := g.latencies(ctx)
		if err != nil {
			return err
		}
		ns := byPath[0]
		if want := int(g.Latency.Seconds() * 50 * 0.9); len(ns) < want {
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

// benchStored compares a store with a history with an empty one.
func (g *rig) benchStored(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "/n", func(full *node) error {
		began := time.Now()
		if err := g.fill(ctx, full, benchUnused, g.Events); err != nil {
			return err
		}
		b.add(fmt.Sprintf("accepted, 1,000 a request, no webhook (%d)", g.Events),
			float64(g.Events)/time.Since(began).Seconds(), "events/s")
		ratio, onFull, onEmpty, err := paired(rounds, func() (float64, error) {
			t, err := g.measure(ctx, full, g.batches(), g.Round)
			return t.PerSecond, err
		}, func() (rate float64, err error) {
			err = g.withNode(ctx, "/n", func(n *node) error {
				t, err := g.measure(ctx, n, g.batches(), g.Round)
				rate = t.PerSecond
				return err
			})
			return rate, err
		})
		if err != nil {
			return err
		}
		b.add("delivered, 100 a request, empty store", onEmpty, "deliveries/s")
		b.add(fmt.Sprintf("delivered, 100 a request, %d stored events", g.Events), onFull, "deliveries/s")
		b.target("  with stored events over empty", ratio, "×", 0.9, 1.0, false)
		_, peak, err := memory(full.pid())
		b.add(fmt.Sprintf("peak memory, %d stored events", g.Events), float64(peak)/mega, "MB")
		return err
	})
}

// benchHang has every fifth webhook hang.
func (g *rig) benchHang(ctx context.Context, b *Report) error {
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
				if none, err = g.healthyAt(ctx, calm, 50, g.Latency/2, none); err != nil {
					return err
				}
				if some, err = g.healthyAt(ctx, troubled, 50, g.Latency/2, some); err != nil {
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
				return fmt.Errorf("healthy webhooks got %d requests while others hang, %d while none does",
					len(some), len(none))
			}
			p, q := quantile(none, 0.99), quantile(some, 0.99)
			b.add("p99 of 16 webhooks, none of 20 hanging", p, "ms")
			b.add("p99 of the same, every fifth of 20 hanging", q, "ms")
			b.target("  hanging over none", q/p, "×", 2, 1.2, true)
			return nil
		})
	})
}

// benchMemory looks at an idle node, and at one with a large backlog.
func (g *rig) benchMemory(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "", func(n *node) error {
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		idle, _, err := memory(n.pid())
		if err != nil {
			return err
		}
		b.target("memory, idle", float64(idle)/mega, "MB", 35, 30, true)
		if n.database != nil && len(g.Only) == 0 {
			return nil
		}
		if err := n.hook(ctx, g, "/hang/0"); err != nil {
			return err
		}
		began := time.Now()
		if err := g.fill(ctx, n, benchType, g.Events); err != nil {
			return err
		}
		rate := float64(g.Events) / time.Since(began).Seconds()
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
		b.target(fmt.Sprintf("memory, %d deliveries waiting", g.Events), float64(largest)/mega, "MB", 200, 100, true)
		b.add("  peak while they came in", float64(peak)/mega, "MB")
		b.add("  accepted and spilled, 1,000 a request", rate, "events/s")
		return err
	})
}
