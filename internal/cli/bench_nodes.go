package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/webhook"
)

// newKeyset makes a master keyset that nodes share.
func newKeyset(dir string) (string, error) {
	path := filepath.Join(dir, "master.key")
	if _, err := webhook.LoadOrCreateKeyring(path); err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// benchDatabase is a database that bench made.
type benchDatabase struct{ server, name, url string }

func (g *rig) newDatabase(ctx context.Context) (*benchDatabase, error) {
	u, err := url.Parse(g.cmd.Database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, usageError("--database: give a URL like postgres://user@host/database")
	}
	id := uuid.New()
	d := &benchDatabase{server: g.cmd.Database, name: fmt.Sprintf("qhook_bench_%x", id[:6])}
	u.Path = "/" + d.name
	d.url = u.String()
	return d, d.exec(ctx, "CREATE DATABASE "+d.name)
}

func (d *benchDatabase) exec(ctx context.Context, query string) error {
	conn, err := pgx.Connect(ctx, d.server)
	if err != nil {
		return fmt.Errorf("connect to the database server: %w", err)
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// drop removes the database, whoever uses it.
func (d *benchDatabase) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = d.exec(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)")
}

// deadRows counts the rows of the hot tables that were updated or deleted, which is what leaves dead ones behind.
func (d *benchDatabase) deadRows(ctx context.Context, b *benchReport) error {
	if err := sleep(ctx, 2*time.Second); err != nil { // sessions report what they did with some delay
		return err
	}
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var dead, delivered int64
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(n_tup_upd + n_tup_del + n_dead_tup), 0) FROM pg_stat_user_tables
		WHERE relname ~ '^(events|outcomes|waiting)(_|$)'`).Scan(&dead)
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT count(*) FROM outcomes`).Scan(&delivered)
	}
	if err == nil {
		b.target("dead rows per 1,000 first-try deliveries", float64(dead)*1000/float64(max(delivered, 1)), "rows", 0, 0, true)
	}
	return err
}

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
		n, err := g.serve(ctx, db)
		if err != nil {
			return err
		}
		n.shared = true
		nodes = append(nodes, n)
	}
	return f(nodes)
}

// nodesSlow is how long the receivers take, milliseconds, so that nodes wait and the processors do not decide.
const nodesSlow = 50

// nodesBatch is how many events a request publishes to a node.
const nodesBatch = 20

// benchNodes publishes to all nodes in turn, more than they can deliver.
func (g *rig) benchNodes(ctx context.Context, b *benchReport) error {
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
			path, body := benchBody(benchType, nodesBatch)
			f := flow{size: nodesBatch, workers: 8, window: int64(400 * size), next: func(int64) call {
				n := nodes[turn.Add(1)%int64(size)]
				return call{http.MethodPost, n.url + path, body, http.StatusAccepted}
			}}
			t, err := g.measure(ctx, &node{process: nodes[0].process, key: benchKey}, f, g.cmd.Duration)
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

// takeoverSlow is how long the receiver takes, milliseconds: long enough that most of the work is left when the node is
// killed, and short enough that it is not the receiver that is measured.
const takeoverSlow = 20

// benchTakeover kills a node that has accepted work, and waits for another to deliver it.
func (g *rig) benchTakeover(ctx context.Context, b *benchReport) error {
	return g.cluster(ctx, 2, func(nodes []*node) error {
		if err := g.slowHook(ctx, nodes[0], takeoverSlow); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		const events = 1000
		var base int64
		if err := g.control(ctx, "/ctl/count", &base); err != nil {
			return err
		}
		batch := make([]client.Event, events)
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
		if !g.arrived.await(ctx, g.arrived.get()+1, func() bool { return false }) {
			return errNoLatencies
		}
		b.target("takeover of a killed node's accepted work, first delivery", time.Since(at).Seconds(), "s", 10, 3, true)
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		stop := context.AfterFunc(limited, g.arrived.wake)
		defer stop()
		if !g.arrived.await(limited, base+events, func() bool { return false }) {
			return fmt.Errorf("%d of %d accepted events arrived", g.arrived.get()-base, events)
		}
		b.target("  all of it", time.Since(at).Seconds(), "s", 6, 3, true)
		return nil
	})
}
