package bench

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/quantfolio/qhook/client"
)

// benchInvestors is how many investors the updates go to, in turn.
const benchInvestors = 1000

// benchUpdates changes investors through the advisory platform, each change with its event, and publishes plainly, in
// turn on one node.
func (g *rig) benchUpdates(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "/n", func(n *node) error {
		if err := n.hookFor(ctx, g, "/n", "qap.investor.updated"); err != nil {
			return err
		}
		advisor, err := n.client.CreateAdvisor(ctx, client.NewAdvisor{Name: "Bench"}, "")
		if err != nil {
			return fmt.Errorf("create an advisor: %w", err)
		}
		paths := make([]string, benchInvestors)
		for i := range paths {
			x, err := n.client.CreateInvestor(ctx,
				client.NewInvestor{AdvisorID: advisor.ID, Type: "person", Name: "John Doe"}, "")
			if err != nil {
				return fmt.Errorf("create an investor: %w", err)
			}
			paths[i] = "/v1/investors/" + x.ID
		}
		if n.database != nil {
			if err := n.database.analyze(ctx); err != nil {
				return err
			}
		}
		var change atomic.Int64 // every one gives another name: one that changes nothing has no event
		updates := g.singles()
		updates.next = func(int64) call {
			i := change.Add(1)
			return call{method: http.MethodPatch, path: paths[i%benchInvestors], status: http.StatusOK,
				body: []byte(`{"investor_name":"John Doe ` + strconv.FormatInt(i, 10) + `"}`)}
		}
		rate := func(f flow) func() (float64, error) {
			return func() (float64, error) {
				t, err := g.measure(ctx, n, f, g.Round)
				return t.PerSecond, err
			}
		}
		ratio, per, _, err := paired(rounds, rate(updates), rate(g.singles()))
		b.add("investor updates, end to end", per, "deliveries/s")
		b.target("  over one event a request", ratio, "×", 0.5, 0.7, false)
		return err
	})
}
