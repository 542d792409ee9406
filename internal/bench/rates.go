package bench

import (
	"context"
	"fmt"
	"slices"
)

// batches is the flow of 100 events a request.
func (g *rig) batches() flow {
	return flow{size: 100, workers: 4, eventType: benchType, window: g.Window}
}

// singles is the flow of one event a request.
func (g *rig) singles() flow {
	return flow{size: 1, workers: connections, eventType: benchType, window: g.Window}
}

// rate is a flow that is compared with the ceiling.
type rate struct {
	name, what string
	flow       flow
	targets    map[string][2]float64 // by store: what must be reached, and what is reached for
	node       *node
	runs       []throughput
	ratios     []float64
}

func (g *rig) rates() []*rate {
	flood := g.batches()
	flood.window = 0
	return []*rate{
		{name: "one", what: "one event a request", flow: g.singles(),
			targets: map[string][2]float64{SQLite: {0.28, 0.35}, Postgres: {0.27, 0.35}}},
		{name: "batch", what: "100 events a request", flow: g.batches(),
			targets: map[string][2]float64{SQLite: {0.8, 1}, Postgres: {0.6, 0.8}}},
		{name: "flood", what: "100 a request, nothing held back", flow: flood,
			targets: map[string][2]float64{SQLite: {0.7, 0.9}}},
	}
}

// benchRates measures how many deliveries a second the flows reach, over the ceiling of the same round.
func (g *rig) benchRates(ctx context.Context, b *Report) error {
	list := slices.DeleteFunc(g.rates(), func(r *rate) bool { return !g.wants(r.name) })
	defer func() {
		for _, r := range list {
			if r.node != nil {
				r.node.end()
			}
		}
	}()
	for _, r := range list {
		s, err := g.newStore(ctx)
		if err != nil {
			return err
		}
		if r.node, err = g.serve(ctx, s); err != nil {
			return err
		}
		if err := r.node.hook(ctx, g, "/n"); err != nil {
			return err
		}
	}
	var ceilings []float64
	for range rounds {
		ceiling, err := g.ceiling(ctx)
		if err != nil {
			return err
		}
		ceilings = append(ceilings, ceiling)
		for _, r := range list {
			t, err := g.measure(ctx, r.node, r.flow, g.Round)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.runs = append(r.runs, t)
			r.ratios = append(r.ratios, t.PerSecond/ceiling)
		}
	}
	b.name = "ceiling"
	b.add("ceiling: requests of a bare net/http client loop", median(ceilings), "requests/s")
	for _, r := range list {
		if err := r.report(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// report adds the rate's lines.
func (r *rate) report(ctx context.Context, b *Report) error {
	slices.SortFunc(r.runs, func(x, y throughput) int { return int(x.PerSecond - y.PerSecond) })
	t := r.runs[len(r.runs)/2]
	b.name = r.name
	b.keep(r.name, t)
	b.add("delivered, "+r.what, t.PerSecond, "deliveries/s")
	if target, ok := r.targets[b.store]; ok {
		b.target("  over the ceiling", median(r.ratios), "×", target[0], target[1], false)
	} else {
		b.add("  over the ceiling", median(r.ratios), "×")
	}
	if r.flow.window == 0 {
		b.add("  accepted meanwhile", t.Published, "events/s")
	}
	b.add("  CPU of serve, per 1,000", t.ServeCPU, "s")
	b.add("  CPU of the receiver, per 1,000", t.ReceiverCPU, "s")
	b.add("  CPU of the publisher, per 1,000", t.BenchCPU, "s")
	if r.node.database != nil && r.name == "batch" {
		if err := r.node.database.deadRows(ctx, b); err != nil {
			return err
		}
	}
	_, peak, err := memory(r.node.pid())
	b.add("  peak memory", float64(peak)/mega, "MB")
	return err
}
