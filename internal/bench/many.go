package bench

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/quantfolio/qhook/internal/app"
)

// How many webhooks one event matches, and how many of how many tenants a node starts with.
const (
	matching     = 5_000
	manyWebhooks = 100_000
	manyTenants  = 10_000
)

// benchMatch publishes an event that many webhooks match, and compares how fast it is delivered with the ceiling.
func (g *rig) benchMatch(ctx context.Context, b *Report) error {
	s, err := g.storeWith(ctx, matching, 1, "/n")
	if err != nil {
		return err
	}
	return g.withStore(ctx, s, func(n *node) error {
		deliver := func() (float64, error) {
			r, err := g.start(ctx, n, flow{size: 1, workers: 1, eventType: benchType, most: 1, tenant: app.TenantName(0)})
			if err != nil {
				return 0, err
			}
			began := time.Now()
			if err := r.wait(); err != nil {
				return 0, err
			}
			err = g.awaitAll(ctx, r.base, matching, 90*time.Second)
			return matching / time.Since(began).Seconds(), err
		}
		ratio, per, _, err := paired(rounds, deliver, func() (float64, error) { return g.ceiling(ctx) })
		b.add("delivered, one event that 5,000 webhooks match", per, "deliveries/s")
		b.target("  over the ceiling", ratio, "×", 0.25, 0.5, false)
		return err
	})
}

// benchStart starts a node with very many webhooks, and publishes to their tenants in turn, beside a node with ten.
func (g *rig) benchStart(ctx context.Context, b *Report) error {
	began := time.Now()
	s, err := g.storeWith(ctx, manyWebhooks, manyTenants, "/n")
	if err != nil {
		return err
	}
	b.add("(writing 100,000 webhooks of 10,000 tenants)", time.Since(began).Seconds(), "s")
	const what = "start with 100,000 webhooks of 10,000 tenants"
	err = g.withStore(ctx, s, func(many *node) error {
		b.target(what, many.started.Seconds(), "s", 3, 1, true)
		now, _, err := memory(many.pid())
		if err != nil {
			return err
		}
		b.add("  memory then", float64(now)/mega, "MB")
		s, err := g.storeWith(ctx, manyWebhooks/manyTenants, 1, "/n")
		if err != nil {
			return err
		}
		return g.withStore(ctx, s, func(few *node) error {
			p99 := func(n *node, tenants int) func() (float64, error) {
				i := 0
				return func() (float64, error) {
					took, err := g.publishTimed(ctx, n, 100, 2*time.Second, func(int) string {
						return app.TenantName(i % tenants)
					})
					i += len(took)
					return quantile(took, 0.99), err
				}
			}
			ratio, with, without, err := paired(rounds, p99(many, manyTenants), p99(few, 1))
			b.add("publish p99, 10 webhooks of one tenant", without, "ms")
			b.add("publish p99, 100,000 webhooks of 10,000 tenants", with, "ms")
			b.target("  with 100,000 over with 10", ratio, "×", 1.2, 1, true)
			return err
		})
	})
	if errors.Is(err, errNotStarted) {
		b.target(what+": not within", startTime.Seconds(), "s", 3, 1, true)
		err = nil
	}
	return err
}

// files is the limit of descriptors that many webhooks have to do with.
const files = 1024

// benchDescriptors publishes events that many webhooks match whose receivers take a while, to a node with few
// descriptors. The receiver answers all, so an attempt that fails is lost to the node's own limits.
func (g *rig) benchDescriptors(ctx context.Context, b *Report) error {
	s, err := g.storeWith(ctx, matching, 1, "/slow/200")
	if err != nil {
		return err
	}
	s.files = files
	return g.withStore(ctx, s, func(n *node) error {
		var base int64
		if err := g.control(ctx, "/ctl/count", &base); err != nil {
			return err
		}
		const events = 3
		path, body := benchBody(benchType, events, 0)
		if err := g.send(ctx, n.url, n.key,
			call{method: http.MethodPost, path: path, tenant: app.TenantName(0), body: body,
				status: http.StatusAccepted}); err != nil {
			return err
		}
		began := time.Now()
		late := g.awaitAll(ctx, base, events*matching, 30*time.Second)
		took := time.Since(began).Seconds()
		lost, err := n.failedAttempts(ctx)
		if err != nil {
			return err
		}
		b.target("attempts lost to 1,024 descriptors, 3 events to 5,000 webhooks", lost, "attempts", 0, 0, true)
		if late != nil {
			b.add("  delivered within 30 s, of 15,000", float64(g.arrived.get()-base), "deliveries")
		} else {
			b.add("  all delivered after", took, "s")
		}
		return nil
	})
}
