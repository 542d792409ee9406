package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// A node beats every beat. It may make attempts for lease after the beat that was last answered; others take its work
// over when they have seen no beat for dead. Both are measured on each machine's own monotonic clock, from a moment not
// earlier than the beat, so that a clock that is wrong does no harm.
const (
	beat  = 500 * time.Millisecond
	lease = 1750 * time.Millisecond
	dead  = 2250 * time.Millisecond

	slots       = 1024
	slotBits    = 10 // of a Seq, above its counter
	counterBits = store.SeqShift - slotBits
)

// node is one start of this process as the others see it.
type node struct {
	id     uuid.UUID
	slot   int
	epoch  int64 // of its fence; db.mu
	number int64 // of its mark; db.mu
	unsure bool  // whether the last commit took place; db.mu

	until atomic.Int64 // end of the lease, nanoseconds since began
	began time.Time
	clock clock

	running context.Context // ends with the node
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	renewed chan struct{} // closed by each answered beat and by fence, and made anew
	err     error         // store.ErrFenced, for good
	least   store.Seq     // the next Seq is no smaller: one below the recovery mark would not be recovered
}

// Join gives this process an identity among the nodes, and takes the place of the one it had. Errors: store.ErrAway.
func (db *DB) Join(ctx context.Context) error {
	n := &node{id: uuid.New(), began: time.Now(), renewed: make(chan struct{})}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		asked := time.Now()
		var now time.Time
		for range slots {
			err := tx.QueryRow(ctx, `INSERT INTO nodes (id, slot, name, version, joined)
				VALUES ($1, nextval('node_slots'), $2, $3, now()) ON CONFLICT (slot) DO NOTHING
				RETURNING slot, clock_timestamp()`, n.id, db.cfg.Name, db.cfg.Version).Scan(&n.slot, &now)
			if errors.Is(err, pgx.ErrNoRows) {
				continue // the slot is another's
			}
			if err != nil {
				return err
			}
			n.clock.tell(asked, now)
			n.least = store.SeqAt(now) | store.Seq(n.slot)<<counterBits
			_, err = tx.Exec(ctx, `WITH fence AS (INSERT INTO fences (node) VALUES ($1)), beat AS (INSERT INTO beats (node, beat)
				VALUES ($1, 0))
				INSERT INTO marks (node, number, recover_from) VALUES ($1, 0, $2)`, n.id, int64(store.SeqAt(now)))
			return err
		}
		return fmt.Errorf("all %d slots of nodes are taken", slots)
	})
	if err != nil {
		return wrap(err, "join the nodes")
	}
	n.renew(n.began)
	n.running, n.stop = context.WithCancel(context.Background())
	db.mu.Lock()
	old := db.node.Swap(n)
	db.mu.Unlock()
	if old != nil {
		db.counters.fenced.Add(1)
		old.end()
	}
	n.done.Go(func() { db.beats(n.running, n) })
	db.log.Info("joined the nodes", "node", n.id, "slot", n.slot)
	return nil
}

// leave hands what is unfinished to the other nodes.
func (db *DB) leave() error {
	n := db.node.Swap(nil)
	if n == nil {
		return nil
	}
	n.end()
	db.mu.Lock()
	defer db.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db.w.close()
	if n.failure() != nil {
		return nil
	}
	db.pool.Reset() // its connections may be to a server that is gone
	_, _, err := db.takeOver(ctx, n.id, anyBeat)
	return wrap(err, "leave the nodes")
}

func (n *node) end() {
	n.stop()
	n.done.Wait()
}

// renew extends the lease from a moment on.
func (n *node) renew(from time.Time) {
	n.until.Store(int64(from.Sub(n.began) + lease))
	n.wake(nil)
}

// wake lets those who wait for the lease look again.
func (n *node) wake(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
	close(n.renewed)
	n.renewed = make(chan struct{})
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// holds tells whether the lease runs.
func (n *node) holds() bool { return int64(time.Since(n.began)) < n.until.Load() }

// Lease waits until this node's work is safely its own; see store.Journal.
func (db *DB) Lease(ctx context.Context) error {
	n := db.node.Load()
	if n == nil {
		return errNotJoined
	}
	for !n.holds() {
		n.mu.Lock()
		err, renewed := n.err, n.renewed
		n.mu.Unlock()
		if err != nil {
			return err
		}
		if n.holds() {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-renewed:
		}
	}
	return nil
}

var errNotJoined = errors.New("the store has not joined the nodes")

// Now is the database's time; see clock. Before Join it is this machine's.
func (db *DB) Now() time.Time {
	if n := db.node.Load(); n != nil {
		return n.clock.Now()
	}
	return time.Now()
}

// Next is the next Seq of this node; see store.Journal. It never goes back, even when a clock does.
func (db *DB) Next(last store.Seq) store.Seq {
	n := db.node.Load()
	if n == nil {
		return nextSeq(last, 0, db.Now())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.least = max(n.least, nextSeq(last, store.Seq(n.slot), db.Now()))
	return n.least
}

// nextSeq keeps the slot in the upper half of the counter, so that no two nodes make the same Seq.
func nextSeq(last, slot store.Seq, now time.Time) store.Seq {
	if s := store.SeqAt(now) | slot<<counterBits; s > last {
		return s
	}
	if s := last + 1; s>>counterBits == last>>counterBits && last>>counterBits&(slots-1) == slot {
		return s
	}
	return (last>>store.SeqShift+1)<<store.SeqShift | slot<<counterBits
}

// beats says that the node lives and sees to the others, until ctx ends or the node is fenced. It has a connection of
// its own, and what may have to wait for a lock is done beside it, so that nothing else holds up the beats.
func (db *DB) beats(ctx context.Context, n *node) {
	h := heart{link: link{turned: db.turned}, watch: watch{}}
	defer h.close()
	dead := make(chan watch)
	defer close(dead)
	n.done.Go(func() { db.care(ctx, dead) })
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		gone, err := db.beat(ctx, n, &h)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrFenced):
			db.log.Error("another node has taken this one's work over", "node", n.id)
			n.wake(store.ErrFenced)
			return
		case err != nil:
			db.log.Warn("no beat reached the database", "error", err)
			clear(h.watch) // what was not looked at may have lived
		default:
			select {
			case dead <- gone:
			default: // busy; it is told again
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// care takes the work of dead nodes over, and keeps partitions ready.
func (db *DB) care(ctx context.Context, dead <-chan watch) {
	next := time.Now().Add(time.Hour) // when partitions are looked at; Open has just done it
	for gone := range dead {
		for id, last := range gone {
			rows, took, err := db.takeOver(ctx, id, last.beat)
			if err != nil {
				db.log.Warn("a dead node's work could not be taken over; it is tried again", "node", id, "error", err)
			} else if took {
				db.counters.takenOver.Add(1)
				db.log.Warn("a dead node's work was taken over", "node", id, "deliveries", rows)
			}
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(time.Hour)
		if err := db.makePartitions(ctx); err != nil && ctx.Err() == nil {
			db.log.Error("partitions could not be made", "error", err)
			next = time.Now().Add(time.Minute)
		}
	}
}

const (
	// moveBeat replaces the row of the beat: the key is new, so that dead versions are not on the way to it.
	moveBeat = `UPDATE beats SET beat = beat + 1
		WHERE node = $1 AND beat = (SELECT b.beat FROM beats AS b WHERE b.node = $1 ORDER BY b.beat DESC LIMIT 1)
		RETURNING clock_timestamp()`

	selectBeats = `SELECT n.id, coalesce((SELECT b.beat FROM beats AS b WHERE b.node = n.id ORDER BY b.beat DESC
		LIMIT 1), 0)
		FROM nodes AS n`
)

// errLateBeat says that one on a lost connection got in between.
var errLateBeat = errors.New("an earlier beat came late")

// seen is the last new beat of another node.
type seen struct {
	beat int64
	at   time.Time
}

// watch has the other nodes.
type watch map[uuid.UUID]seen

// heart is what the beats need.
type heart struct {
	link
	watch watch
}

// beat says that the node lives, and returns those that have not for long.
func (db *DB) beat(ctx context.Context, n *node, h *heart) (gone watch, err error) {
	if err := h.open(ctx, db.cfg.URL); err != nil { // which may take longer than a beat: a host that hangs is passed over
		return nil, wrap(err, "connect to beat")
	}
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	w := h.watch
	if !n.holds() {
		clear(w) // this node was late itself, and so may the others have been
	}
	asked := time.Now()
	var b pgx.Batch
	var now time.Time
	b.Queue(moveBeat, n.id).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&now}, func() error { return nil })
		return err
	})
	others := watch{}
	b.Queue(selectBeats).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var s seen
		_, err := pgx.ForEachRow(rows, []any{&id, &s.beat}, func() error {
			s.at = time.Now()
			if old, ok := w[id]; ok && old.beat == s.beat {
				s.at = old.at
			}
			others[id] = s
			return nil
		})
		return err
	})
	if err := h.conn.SendBatch(ctx, &b).Close(); err != nil {
		return nil, wrap(err, "beat")
	}
	if _, here := others[n.id]; !here {
		return nil, store.ErrFenced
	}
	if now.IsZero() {
		return nil, errLateBeat
	}
	delete(others, n.id)
	n.clock.tell(asked, now)
	n.renew(asked)
	clear(w)
	gone = watch{}
	for id, s := range others {
		w[id] = s
		if time.Since(s.at) > dead {
			gone[id] = s
		}
	}
	return gone, nil
}

// anyBeat has takeOver not look at the beat.
const anyBeat = -1

// takeOver makes everything that the node has not finished free for all: what only its memory knew gets a waiting row,
// due now. It waits for the node's commit under way, and lets none follow. False: the node has beaten since the beat
// that was seen last, or somebody else did it already.
func (db *DB) takeOver(ctx context.Context, id uuid.UUID, beat int64) (rows int64, took bool, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		still, err := tx.Exec(ctx, `DELETE FROM beats WHERE node = $1 AND (beat = $2 OR $2 < 0)`, id, beat)
		if err != nil || still.RowsAffected() == 0 {
			return err
		}
		failpoint.Hit(failpoint.Takeover)
		var from int64
		var slot int
		err = tx.QueryRow(ctx, `DELETE FROM fences WHERE node = $1 RETURNING (SELECT slot FROM nodes WHERE id = $1)`,
			id).Scan(&slot)
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `DELETE FROM marks WHERE node = $1 RETURNING recover_from`,
			id).Scan(&from); err != nil {
			return err
		}
		var freed, written pgconn.CommandTag
		if written, err = tx.Exec(ctx, insertUnsettled, from, slot); err != nil {
			return err
		}
		if freed, err = tx.Exec(ctx, `UPDATE waiting SET node = NULL WHERE node = $1`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM nodes WHERE id = $1`, id); err != nil {
			return err
		}
		rows, took = written.RowsAffected()+freed.RowsAffected(), true
		failpoint.Hit(failpoint.TakenOver)
		return nil
	})
	if took && err == nil {
		failpoint.Hit(failpoint.TakeoverDone)
	}
	return rows, took && err == nil, err
}

// See selectUnsettled.
const insertUnsettled = `INSERT INTO waiting (tenant, webhook, event, attempts, due_at)
	SELECT e.tenant, w.num, e.seq, 0, clock_timestamp() FROM events AS e CROSS JOIN LATERAL unnest(e.webhooks) AS w(num)
	WHERE e.seq >= $1 AND e.slot = $2
		AND (SELECT 1 FROM outcomes AS o WHERE o.tenant = e.tenant AND o.webhook = w.num AND o.event = e.seq LIMIT 1) IS NULL
	ON CONFLICT (tenant, webhook, event) DO NOTHING`
