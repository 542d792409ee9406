package crashtest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
)

// TestDatabaseAway takes the database away for some seconds: publishers are told so, attempts end, and everything goes
// on by itself.
func TestDatabaseAway(t *testing.T) {
	const away = 6 * time.Second
	c := newCluster(t, 2, 0.1)
	c.start()
	stop := c.publish(2)
	within(t, 10*time.Second, "the nodes send", func() bool { return len(c.r.between(time.Time{}, time.Now())) > 200 })
	c.pg.Kill(t)
	gone := time.Now()
	refusals := make([][]refusal, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { refusals[i] = c.refusals(n, gone.Add(away)) })
	}
	time.Sleep(time.Until(gone.Add(2 * time.Second)))
	for i, n := range c.nodes {
		if got := n.readyz(); got != http.StatusServiceUnavailable {
			t.Errorf("node %d: /readyz is %d without the database, want 503", i, got)
		}
	}
	time.Sleep(time.Until(gone.Add(away)))
	c.pg.Restart(t)
	back := time.Now()
	wg.Wait()
	var longest time.Duration
	for i, list := range refusals {
		if len(list) == 0 {
			t.Errorf("node %d refused nothing while the database was away", i)
		}
		for _, r := range list {
			longest = max(longest, r.took)
			switch after := r.asked.Sub(gone); {
			case !client.IsStatus(r.err, http.StatusServiceUnavailable):
				t.Errorf("node %d: publishing %v after the database went ended with %v, want status 503", i,
					after.Round(time.Millisecond), r.err)
			case r.took > 11*time.Second:
				t.Errorf("node %d: 503 came after %v, want within 11 s", i, r.took)
			case after > 4*time.Second && r.took > time.Second:
				t.Errorf("node %d: 503 came after %v although the database had been away for %v; want within 1 s",
					i, r.took, after.Round(time.Millisecond))
			}
		}
	}
	// The lease ends 1.75 s after the last beat that was answered; a request may take 30 ms on its way.
	if late := c.r.between(gone.Add(2500*time.Millisecond), gone.Add(away)); len(late) > 0 {
		t.Errorf("%d attempts were made from 2.5 s after the database went until it came back", len(late))
	}
	for i, n := range c.nodes {
		within(t, 15*time.Second, fmt.Sprintf("node %d publishes again by itself", i), func() bool {
			events := batchOf(1)
			_, err := n.client().PublishBatch(t.Context(), events)
			c.note(events, err)
			return err == nil && n.readyz() == http.StatusOK
		})
		t.Logf("node %d publishes again %v after the restart", i, time.Since(back).Round(time.Millisecond))
	}
	stop()
	t.Logf("the longest wait for a 503 was %v; %d and %d refusals", longest.Round(time.Millisecond), len(refusals[0]),
		len(refusals[1]))
	// Attempts of the first 1.75 s are recorded when the database is back: no node takes another for dead that it could
	// not look for.
	c.check(0, 0)
}

// refusal is how one request ended.
type refusal struct {
	asked time.Time
	took  time.Duration
	err   error
}

// refusals makes a request of the node four times a second until a time, and lists those that failed.
func (c *cluster) refusals(n *node, until time.Time) (list []refusal) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for time.Now().Before(until) {
		wg.Go(func() {
			events, asked := batchOf(1), time.Now()
			_, err := n.client().PublishBatch(c.t.Context(), events)
			took := time.Since(asked)
			c.note(events, err)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				list = append(list, refusal{asked, took, err})
			} else if asked.Add(took).Before(until) {
				c.t.Errorf("an event was answered 202 while the database was away")
			}
		})
		time.Sleep(250 * time.Millisecond)
	}
	wg.Wait()
	return list
}

// TestTenNodesStartTogether starts ten nodes at once on an empty database: the schema is made once, and all get ready.
func TestTenNodesStartTogether(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 10, 0)
	for _, n := range c.nodes {
		n.more = append(n.more, "--database-pool", "3") // the server has 100 connections
		n.launch()
	}
	began := time.Now()
	for i, n := range c.nodes {
		within(t, 30*time.Second, fmt.Sprintf("node %d is ready", i), func() bool {
			select {
			case <-n.done:
				t.Fatalf("node %d ended before it was ready", i)
			default:
			}
			return n.readyz() == http.StatusOK
		})
	}
	t.Logf("ten nodes were ready after %v", time.Since(began).Round(time.Millisecond))
	if n := c.query(`SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version`); n != 0 {
		t.Errorf("%d steps of the schema were made more than once", n)
	}
	for _, want := range []struct {
		sql  string
		want int
	}{
		{`SELECT count(*) FROM tenants`, 1},
		{`SELECT count(*) FROM api_keys WHERE kind = ''`, 1},
		{`SELECT count(*) FROM nodes`, 10},
		{`SELECT count(*) FROM fences`, 10},
	} {
		if got := c.query(want.sql); got != want.want {
			t.Errorf("%s is %d, want %d", want.sql, got, want.want)
		}
	}
	c.register()
	for _, n := range c.nodes {
		events := batchOf(2)
		_, err := n.client().PublishBatch(t.Context(), events)
		if err != nil {
			t.Errorf("publish through one of ten nodes: %v", err)
		}
		c.note(events, err)
	}
	c.check(0, 0)
}

// onDatabase makes the node one of a database of its own.
func (n *node) onDatabase(t *testing.T) *node {
	t.Helper()
	n.more = append(n.more, "--database", pgtest.Start(t, pgtest.WithFsync()).NewDatabase(t),
		"--master-keyset", keyset(t))
	return n
}

// TestKillOnPostgres is TestKill with a node on PostgreSQL.
func TestKillOnPostgres(t *testing.T) {
	t.Parallel()
	killUnderLoad(t, newNode(t, t.TempDir()).onDatabase(t), fromEnv(t, "QHOOK_TEST_KILLS", 5))
}

// TestKillAdvisoryOnPostgres is TestKillAdvisory with a node on PostgreSQL.
func TestKillAdvisoryOnPostgres(t *testing.T) {
	t.Parallel()
	killInStorm(t, newNode(t, t.TempDir()).onDatabase(t), fromEnv(t, "QHOOK_TEST_KILLS", 5))
}
