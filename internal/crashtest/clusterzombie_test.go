package crashtest

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestZombie stops one of three nodes under load, as a machine that is suspended does, until the others have taken its
// work over, and lets it go on.
func TestZombie(t *testing.T) {
	stopped := duration(t, "QHOOK_TEST_ZOMBIE", 6*time.Second)
	c := newCluster(t, 3, 0.1)
	egress := newProxy(t, "") // says which requests are the zombie's
	z := c.nodes[2]
	z.more = append(z.more, "--egress-proxy", "http://"+egress.addr())
	c.start()
	slot := c.query(`SELECT slot FROM nodes WHERE name = 'node 2'`)
	known := func() int { return c.query(`SELECT count(*) FROM nodes WHERE slot = $1`, slot) }
	stop := c.publish(3)
	within(t, 10*time.Second, "the nodes send", func() bool { return len(c.r.between(time.Time{}, time.Now())) > 300 })

	z.signal(syscall.SIGSTOP)
	began := time.Now()
	t.Cleanup(func() { _ = z.cmd.Process.Signal(syscall.SIGCONT) })
	within(t, stopped, "the others take the stopped node's work over", func() bool { return known() == 0 })
	t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	// What it had accepted is settled by the others, or is waiting with an attempt on record.
	within(t, 5*time.Second, "the others attempt what the stopped node had accepted", func() bool {
		return c.query(`SELECT count(*) FROM events AS e WHERE slot = $1 AND NOT EXISTS (
			SELECT 1 FROM outcomes AS o WHERE o.tenant = e.tenant AND o.event = e.seq)`, slot) == 0
	})
	time.Sleep(time.Until(began.Add(stopped)))
	up := time.Now()
	z.signal(syscall.SIGCONT)

	t.Logf("ready again after %v", within(t, 15*time.Second, "the node serves again", func() bool {
		return known() == 0 && c.query(`SELECT count(*) FROM nodes WHERE name = 'node 2'`) == 1 &&
			z.readyz() == http.StatusOK
	}).Round(time.Millisecond))
	again := c.query(`SELECT slot FROM nodes WHERE name = 'node 2'`)
	stop()

	// Publishing through it is delivered, and by itself: the event has its new slot.
	events := batchOf(3)
	if _, err := z.client().PublishBatch(t.Context(), events); err != nil {
		t.Fatalf("publishing through the node that was stopped: %v", err)
	}
	c.note(events, nil)
	if n := c.query(`SELECT count(*) FROM events WHERE slot = $1`, again); n < len(events) {
		t.Errorf("%d events have the slot of the node that joined again, want at least %d", n, len(events))
	}
	c.check(1, unsettled)
	c.checkZombie(slot, egress, up)
}

// checkZombie looks at what the node did as its former self after it went on: its lease had run out and its fence was
// gone. So it sends nothing but what its 32 workers had in their hands, and records nothing: of no event that it had
// accepted are more attempts on record than requests arrived without those.
func (c *cluster) checkZombie(slot int, egress *proxy, up time.Time) {
	c.t.Helper()
	joined := time.UnixMicro(int64(c.query(`SELECT extract(epoch FROM joined) * 1000000 FROM nodes WHERE name = 'node 2'`)))
	requests, late := map[string]int{}, 0
	for _, x := range c.r.between(time.Time{}, time.Now()) {
		if !x.at.Before(up) && x.at.Before(joined) && egress.has(x.from) {
			late++
			continue
		}
		requests[x.event]++
	}
	c.t.Logf("it sent %d requests after it went on and before it joined again, %v later", late,
		joined.Sub(up).Round(time.Millisecond))
	if late > 32 {
		c.t.Errorf("the stopped node sent %d requests after it went on; want at most the 32 that were under way", late)
	}
	const sent = `SELECT e.id::text, count(*) FROM events AS e JOIN outcomes AS o ON o.tenant = e.tenant AND o.event = e.seq
		WHERE e.slot = $1 AND o.sent GROUP BY e.id`
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		c.t.Fatalf("connect to look at the database: %v", err)
	}
	defer conn.Close(ctx)
	var id string
	var n int
	rows, _ := conn.Query(ctx, sent, slot) // ForEachRow says what is wrong
	tag, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error {
		if n > requests[id] {
			c.t.Errorf("event %s has %d attempts on record, and only %d requests that the stopped node had the right to make", id, n, requests[id])
		}
		return nil
	})
	if err != nil || tag.RowsAffected() == 0 {
		c.t.Errorf("read the stopped node's outcomes: %d events, %v", tag.RowsAffected(), err)
	}
}

// TestRollingRestart restarts three nodes one after the other under load, as a new version of the program is rolled
// out.
func TestRollingRestart(t *testing.T) {
	c := newCluster(t, 3, 0)
	c.start()
	stop := c.publish(3)
	for i, n := range c.nodes {
		time.Sleep(500 * time.Millisecond)
		n.signal(syscall.SIGTERM)
		began := time.Now()
		select {
		case <-n.done:
		case <-time.After(15 * time.Second):
			t.Fatalf("node %d did not end within 15 s of SIGTERM", i)
		}
		ended := time.Since(began)
		n.mustStart()
		t.Logf("node %d ended in %v and was ready %v after SIGTERM", i, ended.Round(time.Millisecond),
			time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	// The only requests without a record are those that were broken off: none, since stopping waits for what is under
	// way.
	c.check(len(c.nodes), 0)
	gap := c.slowest()
	t.Logf("the longest from an answer of 202 to the arrival took %v", gap.Round(time.Millisecond))
	if gap > 3*time.Second {
		t.Errorf("an event arrived %v after it was accepted, want within 3 s", gap)
	}
}
