package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// mustStored fails unless exactly the confirmed events are stored, each once.
func mustStored(t *testing.T, db *DB, confirmed []int64) {
	t.Helper()
	if stored := column(t, db, `SELECT seq FROM events ORDER BY seq`); !slices.Equal(stored, confirmed) {
		t.Errorf("%d events are stored, %d were confirmed; want the same", len(stored), len(confirmed))
	}
}

func column(t *testing.T, db *DB, query string) []int64 {
	t.Helper()
	list, err := collect(patient(t), db.pool, query, pgx.RowTo[int64], query)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestCommitOrTakeOver: a commit that races with the end of its node either took place and is known to the others, or
// did not take place.
func TestCommitOrTakeOver(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	ctx := patient(t)
	var last store.Seq
	var confirmed []int64
	for round := range 60 {
		if round > 0 {
			if err := a.Join(ctx); err != nil {
				t.Fatalf("Join = %v, want nil", err)
			}
		}
		n := a.node.Load()
		ended := make(chan error, 1)
		go func() {
			for {
				last = a.Next(last)
				err := a.Commit(ctx, &store.Batch{Submissions: []*store.Submission{sent(last, round%2 == 0, 1, 2)}})
				if err != nil {
					ended <- err
					return
				}
				confirmed = append(confirmed, int64(last))
			}
		}()
		time.Sleep(time.Duration(rand.Int64N(int64(15 * time.Millisecond)))) // any moment will do
		mustTakeOver(t, b, n)
		if err := <-ended; !errors.Is(err, store.ErrFenced) {
			t.Fatalf("Commit = %v, want ErrFenced", err)
		}
	}
	mustStored(t, b, confirmed)
	if got, want := number(t, b, `SELECT count(*) FROM waiting WHERE node IS NULL`), int64(2*len(confirmed)); got != want {
		t.Errorf("%d deliveries wait for the others, want %d", got, want)
	}
}

// TestCut: the connection is cut at any moment of a commit, a hundred times, and what is stored is what Commit
// confirmed, whatever a batch has to be known by: an event, an outcome, or only numbers to be added.
func TestCut(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	db := mustOpen(t, url, mustRing(t))
	ctx := patient(t)
	knife, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer knife.Close(ctx)
	const cuts = 100
	cut, stop := 0, make(chan struct{})
	var tried atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		defer close(stop)
		for cut < cuts && ctx.Err() == nil {
			// The writer is the one whose last word was about a fence.
			tag, err := knife.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'fence|marks|INSERT INTO|EXISTS|^(begin|commit)'`)
			if err != nil {
				t.Errorf("cut: %v", err)
				return
			}
			cut += int(tag.RowsAffected())
			// Two of three times it lets a commit through first; else it may cut while the last cut is looked into.
			through := tag.RowsAffected() > 0 && rand.IntN(3) > 0
			for from := tried.Load(); through && tried.Load() == from && ctx.Err() == nil; {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(rand.Int64N(int64(8 * time.Millisecond)))) // any moment will do
		}
	})
	var last store.Seq
	var confirmed, outcomes []int64
	var added int64
	failed := 0
	for round := 0; ; round++ {
		select {
		case <-stop:
			group.Wait()
			mustStored(t, db, confirmed)
			if got := column(t, db, `SELECT event FROM outcomes ORDER BY event`); !slices.Equal(got, outcomes) {
				t.Errorf("%d outcomes are stored, %d were confirmed; want the same", len(got), len(outcomes))
			}
			if got := number(t, db, `SELECT coalesce(sum(delivered), 0)::bigint FROM rollups WHERE span = 0`); got != added {
				t.Errorf("the numbers add up to %d, %d were confirmed; want the same", got, added)
			}
			t.Logf("%d cuts, %d commits, %d failed", cut, len(confirmed)+len(outcomes)+int(added), failed)
			return
		default:
		}
		last = db.Next(last)
		var b store.Batch
		switch round % 4 {
		case 0, 1:
			b.Submissions = []*store.Submission{sent(last, round%4 == 0, 1)}
		case 2:
			b.Outcomes = []store.Outcome{{Tenant: "a",
				DeliveryKey: store.DeliveryKey{Webhook: 1, Event: last}, Attempt: 1,
				Kind: store.Delivered, At: last.Time()}}
		case 3:
			b.Rollups = []store.Rollup{{Tenant: "a", Webhook: 1, At: last.Time(), Counts: store.Counts{Delivered: 1}}}
		}
		err := db.Commit(ctx, &b)
		tried.Add(1)
		switch {
		case err == nil && round%4 < 2:
			confirmed = append(confirmed, int64(last))
		case err == nil && round%4 == 2:
			outcomes = append(outcomes, int64(last))
		case err == nil:
			added++
		case errors.Is(err, store.ErrAway):
			failed++
		default:
			t.Fatalf("Commit = %v, want nil or ErrAway", err)
		}
	}
}

// TestGivenUpInTheMiddle: a commit that its caller breaks off leaves no open transaction to the next.
func TestGivenUpInTheMiddle(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	var last store.Seq
	for round := range 100 {
		ctx, cancel := context.WithTimeout(patient(t), time.Duration(rand.Int64N(int64(3*time.Millisecond))))
		last = db.Next(last)
		_ = db.Commit(ctx, &store.Batch{Submissions: []*store.Submission{sent(last, round%2 == 0, 1)}})
		cancel()
		last = db.Next(last)
		mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(last, round%3 == 0, 1)}})
		if got := number(t, db, `SELECT count(*) FROM events WHERE seq = $1`, int64(last)); got != 1 {
			t.Fatalf("round %d: %d events are stored after Commit, want 1", round, got)
		}
	}
}

// TestSameIDsAtOnce: two nodes are given the same IDs at the same moment, on both sides of midnight, and agree on whose
// event it is.
func TestSameIDsAtOnce(t *testing.T) {
	t.Parallel()
	const rounds, size = 40, 30
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	dbs := []*DB{mustOpen(t, url, ring), mustOpen(t, url, ring)}
	midnight := time.Now().UTC().Truncate(day)
	next := []store.Seq{store.SeqAt(midnight.Add(-time.Minute)), store.SeqAt(midnight.Add(time.Minute))}
	for round := range rounds {
		var batches [2]store.Batch
		ids := make([]uuid.UUID, size)
		for i := range ids {
			ids[i] = uuid.New()
		}
		for side := range batches {
			for _, i := range rand.Perm(size) {
				next[side]++
				s := sent(next[side], true, int64(1+side))
				s.Events[0].Event.ID = ids[i]
				if i%3 == 0 { // their contents differ
					s.Events[0].Event.Data = fmt.Appendf(nil, `{"side":%d}`, side)
				}
				batches[side].Submissions = append(batches[side].Submissions, s)
			}
		}
		var group sync.WaitGroup
		for side, db := range dbs {
			group.Go(func() {
				if err := db.Commit(patient(t), &batches[side]); err != nil {
					t.Errorf("Commit = %v, want nil", err)
				}
			})
		}
		group.Wait()
		agree(t, round, batches[:], ids)
	}
	if got := number(t, dbs[0], `SELECT count(*) FROM events`)*10000 + number(t, dbs[0],
		`SELECT count(*) FROM event_ids`); got != rounds*size*10001 {
		t.Errorf("events and event_ids are %d, want %d", got, rounds*size*10001)
	}
}

// agree fails unless one batch wrote each ID and the other found it.
func agree(t *testing.T, round int, batches []store.Batch, ids []uuid.UUID) {
	t.Helper()
	by := map[uuid.UUID][]*store.Submission{}
	for _, b := range batches {
		for _, s := range b.Submissions {
			by[s.Events[0].Event.ID] = append(by[s.Events[0].Event.ID], s)
		}
	}
	for _, id := range ids {
		wrote, found := by[id][0], by[id][1]
		if wrote.Err != nil || wrote.Events[0].Duplicate {
			wrote, found = found, wrote
		}
		var conflict *store.ConflictError
		same := bytes.Equal(wrote.Events[0].Event.Data, found.Events[0].Event.Data)
		f := &found.Events[0]
		if wrote.Err != nil || wrote.Events[0].Duplicate || same &&
			(!f.Duplicate || !f.StoredTime.Equal(wrote.Events[0].Event.Time)) ||
			same == errors.As(found.Err, &conflict) {
			t.Fatalf("round %d: Commit of %s by two = %v, %v, duplicate %t, %t; want one of them a repetition (same content: %t)",
				round, id, wrote.Err, found.Err, wrote.Events[0].Duplicate, f.Duplicate, same)
		}
	}
}

// TestMadeIDsRepeat: a publisher may repeat an event by the ID that was made here, on any node.
func TestMadeIDsRepeat(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	first := sent(a.Next(0), false, 1, 2)
	mustCommit(t, a, &store.Batch{Submissions: []*store.Submission{first}})
	for _, db := range []*DB{a, b} {
		again, other := sent(db.Next(first.Events[0].Seq), true, 1), sent(db.Next(first.Events[0].Seq)+1, true, 1)
		again.Events[0].Event.ID, other.Events[0].Event.ID = first.Events[0].Event.ID, first.Events[0].Event.ID
		other.Events[0].Event.Type = "other"
		mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{again, other}})
		if e := again.Events[0]; again.Err != nil || !e.Duplicate || e.StoredWebhooks != 2 {
			t.Errorf("Commit of the same = %v, %+v, want a duplicate of 2 webhooks", again.Err, e)
		}
		var conflict *store.ConflictError
		if !errors.As(other.Err, &conflict) {
			t.Errorf("Commit of other content = %v, want a conflict", other.Err)
		}
	}
}
