package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/client"
)

// slowHook registers a webhook whose receiver takes so long.
func (g *rig) slowHook(ctx context.Context, n *node, ms int) error {
	return n.hook(ctx, g, fmt.Sprintf("/slow/%d", ms))
}

// cluster runs f with so many nodes on one database.
func (g *rig) cluster(ctx context.Context, size int, f func([]*node) error) error {
	db, err := g.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.drop()
	var nodes []*node
	defer func() {
		for _, n := range nodes {
			n.end()
		}
	}()
	for range size {
		n, err := g.serve(ctx, serving{database: db, shared: true})
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
	}
	return f(nodes)
}

// nodesSlow is how long the receivers take, milliseconds, so that nodes wait and the processors do not decide.
const nodesSlow = 50

// nodesBatch is how many events a request publishes to a node.
const nodesBatch = 20

// benchNodes publishes to all nodes in turn, more than they can deliver.
func (g *rig) benchNodes(ctx context.Context, b *Report) error {
	rates := map[int]float64{}
	for _, size := range []int{1, 2, 4} {
		err := g.cluster(ctx, size, func(nodes []*node) error {
			if err := g.slowHook(ctx, nodes[0], nodesSlow); err != nil {
				return err
			}
			if err := sleep(ctx, 2*time.Second); err != nil { // every node knows of it within a second
				return err
			}
			var turn atomic.Int64
			path, body := benchBody(benchType, nodesBatch, 0)
			f := flow{size: nodesBatch, workers: 8, window: int64(400 * size), next: func(int64) call {
				n := nodes[turn.Add(1)%int64(size)]
				return call{method: http.MethodPost, path: n.url + path, body: body, status: http.StatusAccepted}
			}}
			t, err := g.measure(ctx, &node{process: nodes[0].process, key: benchKey}, f, g.Round)
			rates[size] = t.PerSecond
			return err
		})
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("delivered, %d nodes, receivers of %d ms", size, nodesSlow), rates[size], "deliveries/s")
	}
	b.target("  4 nodes over 1", rates[4]/rates[1], "×", 3.5, 3.9, false)
	return nil
}

// What a killed node leaves behind: so many events for each of so many webhooks, whose receivers take so long that none
// has answered when it is killed.
const (
	leftWebhooks = 20
	leftEvents   = 50
	leftSlow     = 200 // milliseconds
)

// benchTakeover kills a node that has accepted work, and waits for another to deliver it.
func (g *rig) benchTakeover(ctx context.Context, b *Report) error {
	return g.cluster(ctx, 2, func(nodes []*node) error {
		for range leftWebhooks {
			if err := g.slowHook(ctx, nodes[0], leftSlow); err != nil {
				return err
			}
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		var base int64
		if err := g.control(ctx, "/ctl/count", &base); err != nil {
			return err
		}
		batch := make([]client.Event, leftEvents)
		for i := range batch {
			batch[i] = client.Event{Type: benchType, ObjectID: "i", ObjectOwnerID: "a", OwnerID: "a"}
		}
		if _, err := nodes[0].client.PublishBatch(ctx, batch); err != nil {
			return err
		}
		_ = nodes[0].cmd.Process.Kill()
		at := time.Now()
		if err := sleep(ctx, time.Second); err != nil { // what was under way has been answered
			return err
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		stop := context.AfterFunc(limited, g.arrived.wake)
		defer stop()
		never := func() bool { return false }
		if !g.arrived.await(limited, g.arrived.get()+1, never) {
			return errNoLatencies
		}
		b.add("takeover of a killed node's accepted work, first delivery", time.Since(at).Seconds(), "s")
		if all := base + leftWebhooks*leftEvents; !g.arrived.await(limited, all, never) {
			return fmt.Errorf("%d of %d accepted deliveries arrived", g.arrived.get()-base, all-base)
		}
		b.target("  all of it", time.Since(at).Seconds(), "s", 6, 3, true)
		return nil
	})
}
