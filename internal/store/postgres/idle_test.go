package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// pages is how many pages a statement touches at the least, without its effect: at the first time, and whenever
// autovacuum has been at a table, it reads the catalogue, too.
func pages(t *testing.T, db *DB, query string, args ...any) (least int) {
	t.Helper()
	var plan []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	undo := errors.New("undo")
	err := pgx.BeginFunc(patient(t), db.pool, func(tx pgx.Tx) error {
		for name, value := range journalPlans {
			if _, err := tx.Exec(patient(t), `SET LOCAL `+name+` = `+value); err != nil {
				return err
			}
		}
		var text []byte
		for i := range 5 {
			if err := tx.QueryRow(patient(t), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+query,
				args...).Scan(&text); err != nil {
				return err
			}
			if err := json.Unmarshal(text, &plan); err != nil {
				return err
			}
			if n := plan[0].Plan.Hit + plan[0].Plan.Read; i == 0 || n < least {
				least = n
			}
		}
		return undo
	})
	if !errors.Is(err, undo) {
		t.Fatalf("%s: %v", query, err)
	}
	return least
}

// idle opens a transaction that keeps all dead rows until the test ends.
func idle(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(patient(t), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(patient(t), `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
}

// TestIdleTransaction: an idle transaction of somebody else's, which keeps every dead row, makes neither commits nor
// beats dearer, however long it stays.
func TestIdleTransaction(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	db := mustOpen(t, url, mustRing(t))
	idle(t, url)
	n := db.node.Load()
	const row = `SELECT (xmin::text || '.' || ctid)::text FROM fences`
	first := mustAsk(t, url, row)
	var last store.Seq
	for range 300 {
		last = db.Next(last)
		mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(last, false, 1)}, RecoverFrom: last})
	}
	if got := mustAsk(t, url, row); got != first {
		t.Errorf("the fence's row is %s after commits, want %s as before: they update it", got, first)
	}
	die(db) // its beats would get between
	var b pgx.Batch
	queueRollups(n, []store.Rollup{{Tenant: "a", Webhook: 1, At: time.Now()}}, &b)
	numbers := b.QueuedQueries[store.PerHour]
	run(t, db, numbers.SQL, numbers.Arguments...)
	tell := func() map[string]int {
		mark := number(t, db, `SELECT max(number) FROM marks`)
		return map[string]int{
			"fence":      pages(t, db, fence, n.id, n.epoch),
			"mark":       pages(t, db, moveMark, n.id, mark+1, 0),
			"read mark":  pages(t, db, selectMark, n.id),
			"least mark": pages(t, db, selectLeastMark),
			"beat":       pages(t, db, moveBeat, n.id),
			"read beats": pages(t, db, selectBeats),
			"numbers":    pages(t, db, numbers.SQL, numbers.Arguments...),
		}
	}
	before := tell()
	run(t, db, `DO $$ BEGIN FOR i IN 1..5000 LOOP
			UPDATE marks SET number = number + 1 WHERE number = (SELECT number FROM marks ORDER BY node DESC, number DESC LIMIT 1);
			UPDATE beats SET beat = beat + 1 WHERE beat = (SELECT beat FROM beats ORDER BY node DESC, beat DESC LIMIT 1);
		END LOOP; END $$`) // an hour or so
	for range 2000 {
		b.Queue(numbers.SQL, numbers.Arguments...)
	}
	if err := db.pool.SendBatch(patient(t), &b).Close(); err != nil {
		t.Fatal(err)
	}
	run(t, db, `ANALYZE`) // as autovacuum does it, at any moment
	for name, after := range tell() {
		t.Logf("%s: %d pages, %d later", name, before[name], after)
		if after > before[name]+20 {
			t.Errorf("%s touches %d pages after an hour, %d before; want no more than a few above", name, after,
				before[name])
		}
	}
}
