package crashtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/pgtest"
)

// pointed is a node with failpoints, its neighbour on the same database if there is one, and what they were asked.
type pointed struct {
	t     *testing.T
	a, b  *node // b is nil on SQLite
	r     *receiver
	p     *publisher
	names map[string]string // of the webhooks, by ID
	held  string            // the ID of the webhook that is disabled and enabled again and again
	kills int
	pause time.Duration // of the publisher between two requests
}

// How many attempts of a webhook are under way at once, and how many requests a kill leaves unrecorded; see unsettled.
const (
	pointWorkers  = 8
	pointUnproven = pointWorkers * 8 // like unsettled, of one webhook
)

// newPointed makes the nodes, none of which runs, and a receiver that answers by the webhook: healthy, failing or slow.
func newPointed(t *testing.T, program string, onPostgres bool) *pointed {
	t.Helper()
	c := &pointed{t: t, r: newReceiver(t, 0), p: &publisher{}, names: map[string]string{}, pause: 10 * time.Millisecond}
	c.r.fails = func(k Key, nth int) bool {
		if k.Webhook != "healthy" {
			time.Sleep(20 * time.Millisecond) // so that requests are under way at every moment
		}
		return k.Webhook == "failing" && failsFirst(k, nth)
	}
	flags := []string{"--concurrency", fmt.Sprint(pointWorkers), "--drain", "0s"}
	c.a = newNode(t, t.TempDir())
	if onPostgres {
		c.b = newNode(t, t.TempDir())
		flags = append(flags, "--database", pgtest.Start(t, pgtest.WithFsync()).NewDatabase(t),
			"--master-keyset", keyset(t),
			"--database-pool", "4")
	}
	for _, n := range c.nodes() {
		n.prog, n.more = program, flags
	}
	return c
}

// failsFirst tells whether the request fails: the first one of a quarter of the events. If all failed, the webhook
// would be taken for dead and paced, and nothing would be under way.
func failsFirst(k Key, nth int) bool { return nth == 1 && k.Event[0] < '4' }

func (c *pointed) nodes() []*node {
	if c.b == nil {
		return []*node{c.a}
	}
	return []*node{c.a, c.b}
}

// survivor is the node that is not killed; the only one, if there is one.
func (c *pointed) survivor() *node { return c.nodes()[len(c.nodes())-1] }

// start runs the survivor and makes the webhooks.
func (c *pointed) start(webhooks ...string) {
	c.t.Helper()
	n := c.survivor()
	n.mustStart()
	for _, name := range webhooks {
		id := n.mustWebhook(c.t.Context(), c.r.URL+"/"+name, "POST")
		c.names[id] = name
		if name == "held" {
			c.held = id
		}
	}
	c.p.hooks = slices.Collect(maps.Values(c.names))
}

// load publishes at the nodes in turn, and disables and enables the held webhook, until stop is called.
func (c *pointed) load(nodes ...*node) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = c.p.once(ctx, nodes[i%len(nodes)].client(), 1+rand.IntN(5)) // noted
			select {
			case <-ctx.Done():
			case <-time.After(c.pause):
			}
		}
	})
	if c.held != "" {
		wg.Go(func() {
			for on := false; ctx.Err() == nil; on = !on {
				c.enable(ctx, on)
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// enable enables or disables the held webhook; false: it was not told that it is done.
func (c *pointed) enable(ctx context.Context, on bool) bool {
	w, err := c.survivor().client().Webhook(ctx, c.held)
	if err != nil {
		return false
	}
	_, err = c.survivor().client().UpdateWebhook(ctx, c.held, w.ETag, client.WebhookPatch{Enabled: &on})
	return err == nil
}

// check waits until all is delivered, and compares the logs of the three sides.
func (c *pointed) check(when string, limit time.Duration) (findings []string) {
	c.t.Helper()
	if c.held != "" {
		within(c.t, 10*time.Second, "the webhook is enabled "+when,
			func() bool { return c.enable(c.t.Context(), true) })
	}
	got := Check(settle(c.t, c.survivor(), c.p, c.r, c.names, limit), c.kills, pointUnproven*len(c.names))
	c.t.Logf("%s: %d events answered 202, %d with no answer; %d duplicates, %d requests on no record in %d kills",
		when, c.p.count.Load(), len(c.p.unsure), got.Duplicates, got.Unrecorded, c.kills)
	return got.Findings
}

// at starts the node, which is killed before if it runs, with failpoints.
func (c *pointed) at(n *node, setting string) (ready bool) {
	c.t.Helper()
	c.kill(n)
	n.env = nil
	if setting != "" {
		n.env = []string{failpoint.Setting + "=" + setting}
	}
	return n.start()
}

// kill ends the node if it runs.
func (c *pointed) kill(n *node) {
	if n.cmd == nil {
		return
	}
	select {
	case <-n.done:
	default:
		c.kills++
		n.kill()
	}
}

// reached counts how often a node said that it had reached the point.
func (n *node) reached(p failpoint.Point) int {
	return strings.Count(n.logs.String(), "failpoint reached: "+string(p)+"\n")
}

// dies waits until the node has ended, by the failpoint and nothing else.
func (c *pointed) dies(n *node, p failpoint.Point, before int) {
	c.t.Helper()
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		c.t.Fatalf("%s: not reached within 30 s", p)
	}
	c.kills++
	if n.reached(p) != before+1 {
		c.t.Fatalf("%s: the node ended, but not by the failpoint", p)
	}
}

// takeover tells the points that only a node that takes another's work over reaches.
func takeover(p failpoint.Point) bool { return strings.HasPrefix(string(p), "takeover-") }

// points are those that the store has; with -short, as beside the race detector, which the program is built without,
// every fourth of them.
func (c *pointed) points() (list []failpoint.Point) {
	for i, p := range failpoint.Points() {
		if (c.b != nil || !takeover(p)) && (!testing.Short() || i%4 == 0) {
			list = append(list, p)
		}
	}
	return list
}

// longPoints, when it is set, has each point tried at more times, and everything compared after each kill.
const longPoints = "QHOOK_TEST_POINTS"

// hits says at which times that the point is reached the node is killed.
func hits(p failpoint.Point) []int {
	long := os.Getenv(longPoints) != ""
	switch {
	case p == failpoint.Recover, p == failpoint.Recovered, takeover(p):
		return []int{1} // once in a process's life, or nearly
	case p == failpoint.Mark, p == failpoint.Marked: // once a second
		if long {
			return []int{1, 2, 3, 5}
		}
		return []int{2}
	case long:
		return []int{1, 2, 3, 7, 20, 50, 100}
	}
	return []int{40}
}

// TestPointsOnPostgres is TestPoints with two nodes: the survivor takes over, and is killed while it does so, too. The
// tests that take longest come first, since they begin in this order.
func TestPointsOnPostgres(t *testing.T) {
	t.Parallel()
	killAtPoints(t, newPointed(t, buildWith(t, small...), true))
}

// TestDelaysOnPostgres is TestDelays with two nodes.
func TestDelaysOnPostgres(t *testing.T) {
	t.Parallel()
	delayAtPoints(t, newPointed(t, buildWith(t, small...), true))
}

// TestPoints kills a node at each point of the protocol under load; the others, or it itself after a start, have
// everything that was answered 202 delivered.
func TestPoints(t *testing.T) {
	t.Parallel()
	killAtPoints(t, newPointed(t, buildWith(t, small...), false))
}

// TestDelays holds up whoever reaches a point for 300 ms, at each point in turn: nothing stands still, nothing is lost.
func TestDelays(t *testing.T) {
	t.Parallel()
	delayAtPoints(t, newPointed(t, buildWith(t, small...), false))
}

func killAtPoints(t *testing.T, c *pointed) {
	c.start("healthy", "failing", "slow", "held")
	for i, p := range c.points() {
		for _, nth := range hits(p) {
			setting := fmt.Sprintf("%s=kill:%d", p, nth)
			count := c.p.count.Load()
			stop := c.load(c.nodes()...)
			within(t, 30*time.Second, "events are accepted", func() bool { return c.p.count.Load() >= count+20 })
			if takeover(p) {
				c.takenOverAt(p, setting)
			} else {
				before := c.a.reached(p)
				c.at(c.a, setting)
				c.dies(c.a, p, before)
			}
			if c.b == nil || takeover(p) {
				c.at(c.a, "")
			}
			stop()
			if c.b != nil && takeover(p) {
				c.at(c.b, "")
			}
			if os.Getenv(longPoints) == "" && i%4 != 3 && i != len(c.points())-1 {
				continue // what is lost here is missed then
			}
			if findings := c.check(setting, 30*time.Second); len(findings) > 0 {
				report(t, findings)
				return
			}
		}
	}
}

// takenOverAt kills a node, and the other one at the point where it takes the first one's work over.
func (c *pointed) takenOverAt(p failpoint.Point, setting string) {
	c.t.Helper()
	if !c.at(c.a, "") {
		c.t.Fatal("the node ended before it was ready")
	}
	before := c.b.reached(p)
	c.at(c.b, setting)
	c.kill(c.a)
	c.dies(c.b, p, before)
}

func delayAtPoints(t *testing.T, c *pointed) {
	c.start("healthy", "failing", "slow", "held")
	c.pause = 50 * time.Millisecond // what is held up is slow
	together := 3
	if os.Getenv(longPoints) != "" {
		together = 1
	}
	all := c.points()
	first := slices.IndexFunc(append(all, failpoint.Takeover), takeover)
	for points := range slices.Chunk(all[:first], together) {
		c.delay(c.a, points)
	}
	for points := range slices.Chunk(all[first:], together) {
		c.delay(c.b, points)
		if !c.at(c.a, "") {
			t.Fatal("the node ended before it was ready")
		}
	}
	for _, n := range c.nodes() {
		c.at(n, "")
	}
	report(t, c.check("after all delays", time.Minute))
}

// delay starts the node with delays at the points, and wants them reached, and events to be accepted and to arrive.
// The node was killed under load before; the neighbour is killed, too, so that this one takes its work over.
func (c *pointed) delay(n *node, points []failpoint.Point) {
	c.t.Helper()
	before, count := map[failpoint.Point]int{}, c.p.count.Load()
	var settings []string
	for _, p := range points {
		before[p] = n.reached(p)
		settings = append(settings, fmt.Sprintf("%s=delay:1:300ms", p))
	}
	if !c.at(n, strings.Join(settings, ",")) {
		c.t.Fatalf("%v: the node ended", points)
	}
	stop := c.load(n)
	if n == c.b {
		c.kill(c.a)
	}
	missed := func(p failpoint.Point) bool { return n.reached(p) == before[p] }
	within(c.t, 30*time.Second, fmt.Sprintf("%v: reached, and events are accepted", points), func() bool {
		return c.p.count.Load() >= count+20 && !slices.ContainsFunc(points, missed)
	})
	stop()
	c.arrives(fmt.Sprintf("%v: they arrive", points))
}

// arrives waits until what the healthy webhook is owed by now has arrived.
func (c *pointed) arrives(what string) {
	c.t.Helper()
	c.p.mu.Lock()
	owed := slices.DeleteFunc(slices.Clone(c.p.owed), func(k Key) bool { return k.Webhook != "healthy" })
	c.p.mu.Unlock()
	within(c.t, 30*time.Second, what, func() bool { return c.r.arrived(owed) == len(owed) })
}

// TestMarkBug plants a bug and has the comparison find it: the recovery mark passes what is not committed with it. The
// writer is held up before it computes the mark, while outcomes are handed over, and killed right after the commit that
// carries it.
func TestMarkBug(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name  string
		edits []edit
		lost  bool
	}{{"without the bug", nil, false}, {"with the bug", []edit{markBug}, true}} {
		c := newPointed(t, buildWith(t, x.edits...), false)
		c.pause = 20 * time.Millisecond
		c.r.fails = func(k Key, nth int) bool { // slower than events come: the workers are always busy
			time.Sleep(60 * time.Millisecond)
			return failsFirst(k, nth)
		}
		c.start("failing")
		before := c.a.reached(failpoint.Committed)
		stop := c.load(c.a)
		c.at(c.a, "mark-before=delay:1:300ms,commit-after=kill:1:mark-after:3")
		c.dies(c.a, failpoint.Committed, before)
		stop()
		c.at(c.a, "")
		findings := c.check(x.name, 10*time.Second)
		lost := slices.ContainsFunc(findings, func(f string) bool { // what arrived before the kill is merely forgotten
			return strings.HasPrefix(f, "lost: ") || strings.HasPrefix(f, "unknown: ")
		})
		if lost != x.lost || !x.lost && len(findings) > 0 {
			t.Errorf("%s: something is lost: %t, want %t; findings:\n%s", x.name, lost, x.lost,
				strings.Join(findings, "\n"))
		}
	}
}
