package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// duration is a time from the environment, or what holds without it.
func duration(t *testing.T, name string, def time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("%s=%q is not a time like 120s", name, s)
	}
	return d
}

// TestChaos disturbs three nodes and their database in every way at random moments, under load; everything answered 202
// must arrive.
func TestChaos(t *testing.T) {
	limit := duration(t, "QHOOK_TEST_CHAOS", 15*time.Second)
	c := newCluster(t, 3, 0.1)
	c.start()
	stop := c.publish(3)
	chaos := []struct {
		name string
		do   func(i int)
	}{
		{"kill", c.chaosKill},
		{"restart the database", func(int) { c.pg.Kill(t); c.pg.Restart(t) }},
		{"cut all connections", func(int) { c.cut() }},
		{"stall", c.chaosStall},
		{"forget", func(i int) { c.proxies[i].forget() }},
	}
	counts, n := map[string]int{}, 0
	for began := time.Now(); time.Since(began) < limit; {
		for _, k := range rand.Perm(len(chaos)) {
			time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
			if time.Since(began) > limit {
				break
			}
			i := rand.IntN(len(c.nodes))
			fmt.Fprintf(&c.nodes[i].logs, "--- %s: %s\n", time.Now().Format("05.000"), chaos[k].name)
			chaos[k].do(i)
			counts[chaos[k].name]++
			n++
		}
	}
	for _, p := range c.proxies {
		p.stall(false)
	}
	stop()
	for i, node := range c.nodes {
		within(t, 15*time.Second, fmt.Sprintf("node %d is ready after the chaos", i),
			func() bool { return node.readyz() == 200 })
	}
	t.Logf("%d disturbances: %v", n, counts)
	// What a node leaves unrecorded when it is killed: the requests under way, and those answered while a commit ran;
	// see unsettled. One that is cut off for longer than 2.25 s, and taken over, leaves no more: it goes on for 1.75 s,
	// but with nothing new, since the last that it accepted and the last waiting row that it took came with its last
	// commits, and at this load its memory holds less than that. Without its connections, or the database, for a
	// moment, it leaves nothing: what is not recorded stays in its memory until it is.
	c.check(counts["kill"]+counts["stall"]+counts["forget"], unsettled)
}

// chaosKill ends a node and starts it again, like a supervisor does, until it runs.
func (c *cluster) chaosKill(i int) {
	n := c.nodes[i]
	n.kill()
	time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
	for range 5 {
		if n.start() {
			return
		}
	}
	c.t.Fatalf("node %d ended five times before it was ready", i)
}

// chaosStall stalls a node's connections to the database for some seconds, in some of the cases until others take its
// work over.
func (c *cluster) chaosStall(i int) {
	p := c.proxies[i]
	p.stall(true)
	time.AfterFunc(time.Duration(1+rand.IntN(5))*time.Second, func() { p.stall(false) })
}

// cut ends all connections to the database.
func (c *cluster) cut() {
	c.query(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}
