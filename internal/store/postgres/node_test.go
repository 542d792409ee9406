package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// patience bounds every wait.
const patience = 30 * time.Second

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually looks again and again until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); !so(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %v", what, patience)
		}
	}
}

// sent is one event for the webhooks, with an ID that was given or made here.
func sent(seq store.Seq, given bool, webhooks ...int64) *store.Submission {
	e := store.Submitted{Seq: seq, IDGiven: given, Webhooks: webhooks}
	e.Event.ID, e.Event.Time, e.Event.Data = uuid.Must(uuid.NewV7()), seq.Time(), []byte("{}")
	if given {
		e.Event.ID = uuid.New()
	}
	return &store.Submission{Tenant: "a", Events: []store.Submitted{e}}
}

func mustCommit(t *testing.T, db *DB, b *store.Batch) {
	t.Helper()
	if err := db.Commit(patient(t), b); err != nil {
		t.Fatalf("Commit = %v, want nil", err)
	}
}

func run(t *testing.T, db *DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.pool.Exec(patient(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func number(t *testing.T, db *DB, sql string, args ...any) (n int64) {
	t.Helper()
	if err := db.pool.QueryRow(patient(t), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// wait writes so many events with waiting rows of webhook 1 that are due.
func wait(t *testing.T, db *DB, n int) {
	t.Helper()
	var b store.Batch
	var last store.Seq
	for range n {
		last = db.Next(last)
		b.Submissions = append(b.Submissions, sent(last, false, 1))
		b.Wait = append(b.Wait, store.Waiting{Tenant: "a", DeliveryKey: store.DeliveryKey{Webhook: 1, Event: last}, DueAt: last.Time()})
	}
	mustCommit(t, db, &b)
}

func mustDue(t *testing.T, db *DB, limit int, skip map[store.Seq]struct{}) []store.Due {
	t.Helper()
	list, err := db.Due(patient(t), "a", 1, time.Time{}, time.Now().Add(time.Hour), limit, skip)
	if err != nil {
		t.Errorf("Due = %v, want nil", err)
	}
	return list
}

// die ends the node's beats as a crash would: nothing is handed over.
func die(db *DB) *node {
	n := db.node.Load()
	n.end()
	return n
}

func mustTakeOver(t *testing.T, db *DB, n *node) {
	t.Helper()
	if _, took, err := db.takeOver(patient(t), n.id, anyBeat); err != nil || !took {
		t.Fatalf("takeOver = %t, %v, want true, nil", took, err)
	}
}

func TestDueIsShared(t *testing.T) {
	t.Parallel()
	const rows = 400
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	dbs := []*DB{mustOpen(t, url, ring), mustOpen(t, url, ring), mustOpen(t, url, ring)}
	wait(t, dbs[0], rows)
	var mu sync.Mutex
	taken := map[store.Seq]int{}
	var total atomic.Int64
	ctx := patient(t)
	var group sync.WaitGroup
	for i, db := range dbs {
		group.Go(func() {
			mine := map[store.Seq]struct{}{}
			for total.Load() < rows && ctx.Err() == nil {
				for _, d := range mustDue(t, db, 1+rand.IntN(20), mine) {
					mine[d.DeliveryKey.Event] = struct{}{}
					mu.Lock()
					if by, twice := taken[d.DeliveryKey.Event]; twice {
						t.Errorf("Due gave event %d to nodes %d and %d", d.DeliveryKey.Event, by, i)
					}
					taken[d.DeliveryKey.Event] = i
					mu.Unlock()
					total.Add(1)
				}
			}
		})
	}
	group.Wait()
	if len(taken) != rows {
		t.Errorf("Due gave %d rows, want %d", len(taken), rows)
	}
	n := die(dbs[0]) // what it took comes back
	mustTakeOver(t, dbs[1], n)
	for seq, by := range taken {
		if by != 1 {
			delete(taken, seq)
		}
	}
	skip := map[store.Seq]struct{}{}
	for seq := range taken {
		skip[seq] = struct{}{}
	}
	back := mustDue(t, dbs[1], rows, skip)
	if got, want := int64(len(back)), rows-number(t, dbs[1], `SELECT count(*) FROM waiting WHERE node = $1`,
		dbs[2].node.Load().id)-int64(len(skip)); got != want {
		t.Errorf("Due after takeOver gave %d rows, want %d", got, want)
	}
}

func TestTheDeadAreTakenOver(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	wait(t, a, 3)
	if got := len(mustDue(t, a, 2, nil)); got != 2 {
		t.Fatalf("Due gave %d, want 2", got)
	}
	mustCommit(t, a, &store.Batch{Submissions: []*store.Submission{sent(a.Next(0), false, 1)}}) // known to its memory only
	died := time.Now()
	die(a)
	eventually(t, "the other node has everything", func() bool { return len(mustDue(t, b, 10, nil)) == 4 })
	if took := time.Since(died); took < dead-beat {
		t.Errorf("it was taken over after %v, want no earlier than %v", took, dead-beat)
	}
}

func TestFenced(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	wait(t, a, 5)
	former := a.node.Load()
	mustTakeOver(t, b, former)
	for _, given := range []bool{false, true} {
		if err := a.Commit(patient(t), &store.Batch{Submissions: []*store.Submission{sent(a.Next(0), given, 1)}}); !errors.Is(err, store.ErrFenced) {
			t.Errorf("Commit(IDGiven: %t) = %v, want ErrFenced", given, err)
		}
	}
	if got := len(mustDue(t, a, 10, nil)); got != 0 {
		t.Errorf("Due of a fenced node gave %d, want 0", got)
	}
	if got := number(t, b, `SELECT count(*) FROM events`)*10 + number(t, b,
		`SELECT count(*) FROM waiting WHERE node IS NULL`); got != 55 {
		t.Errorf("events and free rows are %d, want 55", got)
	}
	eventually(t, "Lease is ErrFenced", func() bool { return errors.Is(a.Lease(patient(t)), store.ErrFenced) })
	if err := a.Ping(patient(t)); !errors.Is(err, store.ErrFenced) {
		t.Errorf("Ping = %v, want ErrFenced", err)
	}
	if err := a.Join(patient(t)); err != nil {
		t.Fatalf("Join = %v, want nil", err)
	}
	if err := a.Lease(patient(t)); err != nil {
		t.Errorf("Lease after Join = %v, want nil", err)
	}
	mustCommit(t, a, &store.Batch{Submissions: []*store.Submission{sent(a.Next(0), true, 1)}})
}

// TestTakeOverLooksAgain: a node that beat after it was last seen is left alone.
func TestTakeOverLooksAgain(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	eventually(t, "a node beats", func() bool {
		return number(t, b, `SELECT count(*) FROM beats WHERE node = $1 AND beat > 0`, a.node.Load().id) > 0
	})
	n := die(a)
	last := number(t, b, `SELECT beat FROM beats WHERE node = $1 ORDER BY beat DESC LIMIT 1`, n.id)
	for _, c := range []struct {
		beat int64
		want bool
	}{{last - 1, false}, {last + 1, false}, {last, true}, {last, false}} {
		if _, took, err := b.takeOver(patient(t), n.id, c.beat); err != nil || took != c.want {
			t.Errorf("takeOver(beat %d, the last is %d) = %t, %v, want %t, nil", c.beat, last, took, err, c.want)
		}
	}
}

func TestLeaveHandsOver(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	wait(t, a, 3)
	mustDue(t, a, 2, nil)
	mustCommit(t, a, &store.Batch{Submissions: []*store.Submission{sent(a.Next(0), true, 1)}})
	if err := a.Close(); err != nil {
		t.Fatalf("Close = %v, want nil", err)
	}
	if got := len(mustDue(t, b, 10, nil)); got != 4 {
		t.Errorf("Due gave %d, want 4", got)
	}
	if got := number(t, b, `SELECT count(*) FROM nodes`) + number(t, b, `SELECT count(*) FROM fences`); got != 2 {
		t.Errorf("nodes and fences are %d, want 2", got)
	}
}

// blocks tells whether Lease waits.
func blocks(t *testing.T, db *DB) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := db.Lease(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lease = %v, want nil or to wait", err)
	}
	return err != nil
}

func TestLeaseNeedsBeats(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	err := pgx.BeginFunc(patient(t), db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(patient(t), `SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
			return err
		}
		_, err := tx.Exec(patient(t), `LOCK TABLE nodes`)
		eventually(t, "Lease waits", func() bool { return blocks(t, db) })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Lease(patient(t)); err != nil {
		t.Errorf("Lease = %v, want nil", err)
	}
	run(t, db, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	n := db.node.Load()
	before := n.until.Load()
	eventually(t, "a beat is answered again", func() bool { return n.until.Load() > before })
}

// TestBeatsGoOn: neither a pool that is all used, nor a dead node whose row is locked, stops the beats; and nodes that
// were held up together do not take each other's work over.
func TestBeatsGoOn(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b, c := mustOpen(t, url, ring), mustOpen(t, url, ring), mustOpen(t, url, ring)
	n := die(c)
	ctx := patient(t)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `BEGIN; SELECT FROM fences WHERE node = '`+n.id.String()+`' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	used, err := a.pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Release()
	for end := time.Now().Add(dead + lease + 4*beat); time.Now().Before(end); {
		for name, db := range map[string]*DB{"a": a, "b": b} {
			if blocks(t, db) {
				t.Fatalf("Lease of %s waits, want it to hold", name)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(beat / 5):
		}
	}
	if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead one is gone", func() bool { return number(t, b, `SELECT count(*) FROM nodes`) == 2 })
	// Both lose the database for long, and come back at once.
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE nodes`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both wait", func() bool { return blocks(t, a) && blocks(t, b) })
	if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*DB{a, b} {
		if err := db.Lease(ctx); err != nil {
			t.Errorf("Lease = %v, want nil", err)
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	first := mustOpen(t, url, ring)
	run(t, first, `SELECT setval('node_slots', 1018)`)
	slot := map[int]bool{first.node.Load().slot: true}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 8 { // around the end, where the first one sits
		group.Go(func() {
			db := mustOpen(t, url, ring)
			mu.Lock()
			defer mu.Unlock()
			if s := db.node.Load().slot; slot[s] || s < 0 || s >= slots {
				t.Errorf("Join gave slot %d, want a new one", s)
			}
			slot[db.node.Load().slot] = true
		})
	}
	group.Wait()
	if len(slot) != 9 {
		t.Errorf("9 nodes have %d slots", len(slot))
	}
}

func TestNextSeq(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "now"))
		const nodes = 3
		var node, last [nodes]store.Seq
		node[0] = store.Seq(rapid.IntRange(0, slots-nodes).Draw(t, "slot"))
		node[1], node[2] = node[0]+1, slots-1
		given := map[store.Seq]bool{}
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			i := rapid.IntRange(0, nodes-1).Draw(t, "node")
			now = now.Add(time.Duration(rapid.Int64Range(-2, 2).Draw(t, "ms")) * time.Millisecond)
			if now.UnixMilli() < 1 {
				now = time.UnixMilli(1)
			}
			if rapid.IntRange(0, 20).Draw(t, "full") == 0 {
				last[i] = max(last[i], last[i]>>counterBits<<counterBits+1<<counterBits-1)
			}
			s := nextSeq(last[i], node[i], now)
			if s <= last[i] || s < store.SeqAt(now) || given[s] || s>>counterBits&(slots-1) != node[i] {
				t.Fatalf("nextSeq(%d, %d, %v) = %d, want a new one of the slot, after both", last[i], node[i], now, s)
			}
			given[s], last[i] = true, s
		}
	})
}

// TestClocks: nodes go by the database's clock, which no step moves at once, and Next does not go back below what a
// recovery mark may say.
func TestClocks(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	n := die(db) // no beat tells the time any more
	from, err := db.RecoverFrom(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	n.clock = clock{}
	n.clock.tell(time.Now(), time.Now().Add(-time.Hour)) // as if the database's clock had been set back since Join
	if got := time.Until(db.Now()); (got + time.Hour).Abs() > 5*time.Millisecond {
		t.Errorf("Now is %v off after tell(-1h), want an hour back", got)
	}
	first := db.Next(0)
	if first < from {
		t.Errorf("Next(0) = %d with a clock that went back, want no less than the mark %d", first, from)
	}
	n.clock = clock{}
	n.clock.tell(time.Now(), time.Now().Add(time.Hour))
	ahead := db.Next(first)
	n.clock = clock{}
	n.clock.tell(time.Now(), time.Now())
	if got := db.Next(first); got < ahead {
		t.Errorf("Next(%d) = %d after %d, want no less", first, got, ahead)
	}
	if got := db.Next(ahead); got <= ahead {
		t.Errorf("Next(%d) = %d, want more", ahead, got)
	}
}
