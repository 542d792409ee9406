package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const logPage = 4096 + 24 // of the log's file

// overlap keeps n reads going at any time until stop, each begun before the one before it has ended.
func overlap(ctx context.Context, n int, read func(context.Context) error) (reads, broken *atomic.Int64, stop func()) {
	reads, broken = new(atomic.Int64), new(atomic.Int64)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				switch err := read(ctx); {
				case err == nil:
					reads.Add(1)
				case errors.Is(err, store.ErrAway):
					broken.Add(1)
				}
			}
		})
	}
	return reads, broken, func() { cancel(); wg.Wait() }
}

// TestLogBound: whatever reads, the log stays below its bound, commits do not stand still, and reads get through.
func TestLogBound(t *testing.T) {
	t.Parallel()
	// A read that goes on until it is broken off, whatever it does at that moment.
	asleep := func(ctx context.Context, db *DB) error {
		return db.snapshot(ctx, "sleep", func(ctx context.Context, tx *sql.Tx) error {
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM meta`).Scan(&n); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}
	busy := func(ctx context.Context, db *DB) error {
		rows, err := db.rdb.QueryContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
			SELECT count(*) FROM n, meta WHERE one = 1`)
		return wrap(each(rows, err, func() error { return nil }), "busy")
	}
	rows := func(ctx context.Context, db *DB) error { // the caller is slow, not the query
		rows, err := db.rdb.QueryContext(ctx, `WITH RECURSIVE n (i) AS (SELECT recover_from FROM meta UNION ALL SELECT i + 1 FROM n)
			SELECT i FROM n`)
		return wrap(each(rows, err, func() error {
			<-rows.under.ctx.Done()
			return nil
		}), "rows")
	}
	list := func(ctx context.Context, db *DB) error {
		_, _, err := db.ListDeliveries(ctx, "a", store.DeliveryFilter{}, store.DeliveryKey{}, 200)
		return err
	}
	for name, c := range map[string]struct {
		read   func(context.Context, *DB) error
		breaks bool
	}{"lists": {list, false}, "asleep": {asleep, true}, "busy": {busy, true}, "slow caller": {rows, true}} {
		t.Run(name, func(t *testing.T) {
			ctx, path := t.Context(), filepath.Join(t.TempDir(), "q.db")
			db := mustOpen(t, path, mustRing(t))
			if err := db.CreateTenant(ctx, store.Tenant{ID: "a"}); err != nil {
				t.Fatal(err)
			}
			if err := db.CreateWebhook(ctx, newWebhook("a")); err != nil {
				t.Fatal(err)
			}
			reads, broken, stop := overlap(ctx, 2, func(ctx context.Context) error { return c.read(ctx, db) })
			defer stop()
			var largest, written int64
			var slowest time.Duration
			seq := store.SeqAt(time.Now())
			for written < 110<<20 || !c.breaks && reads.Load() < 10 {
				if written > 1<<30 {
					t.Fatalf("beside %d MiB of commits only %d reads got through", written>>20, reads.Load())
				}
				began := time.Now()
				if err := db.Commit(ctx, bulk(&seq)); err != nil {
					t.Fatal(err)
				}
				slowest = max(slowest, time.Since(began))
				written += bulkSize
				info, err := os.Stat(path + "-wal")
				if err != nil {
					t.Fatal(err)
				}
				largest = max(largest, info.Size())
			}
			t.Logf("log at most %d MiB, slowest commit %v, %d reads, %d broken off", largest>>20, slowest, reads.Load(),
				broken.Load())
			if most := int64(100 << 20); largest > most { // what is promised; how far below depends on the machine
				t.Errorf("log = %d bytes, want at most %d", largest, most)
			}
			stop()
			if list, err := db.ListEvents(ctx, "a", store.EventFilter{}, 0, 1); err != nil || len(list) != 1 {
				t.Errorf("ListEvents after it = %d events, %v, want 1, nil", len(list), err)
			}
			if c.breaks != (broken.Load() > 0) {
				t.Errorf("%d reads were broken off, want some: %t", broken.Load(), c.breaks)
			}
		})
	}
}

const bulkSize = 20 * 100_000

// bulk is a batch of about bulkSize bytes.
func bulk(seq *store.Seq) *store.Batch {
	b := &store.Batch{}
	for range 20 {
		*seq++
		s := newSubmission(0, `{"x":"`+noise(100_000)+`"}`)
		s.Events[0].Seq, s.Events[0].Event.ID, s.Events[0].IDGiven = *seq, uuid.Must(uuid.NewV7()), false
		b.Submissions = append(b.Submissions, s)
	}
	return b
}

func newWebhook(tenant string) *webhook.Webhook {
	return &webhook.Webhook{ID: uuid.NewString(), Tenant: tenant, URL: "https://example.com/", Method: webhook.POST,
		EventTypes: []string{"**"}, Timeout: time.Second}
}

// BenchmarkCommitBesideReaders measures what reads that overlap without end cost commits, and how long the log gets.
func BenchmarkCommitBesideReaders(b *testing.B) {
	for _, n := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db := openBench(b)
			ctx, seq := b.Context(), store.SeqAt(time.Now())
			if err := db.CreateTenant(ctx, store.Tenant{ID: "quantfolio"}); err != nil {
				b.Fatal(err)
			}
			for range 3 {
				if err := db.CreateWebhook(ctx, newWebhook("quantfolio")); err != nil {
					b.Fatal(err)
				}
			}
			reads, broken, stop := overlap(ctx, n, func(ctx context.Context) error {
				_, _, err := db.ListDeliveries(ctx, "quantfolio", store.DeliveryFilter{}, store.DeliveryKey{}, 50)
				return err
			})
			defer stop()
			var largest int64
			for b.Loop() {
				b.StopTimer()
				batch := &store.Batch{Submissions: benchEvents(&seq, false)}
				b.StartTimer()
				if err := db.Commit(ctx, batch); err != nil {
					b.Fatal(err)
				}
				if info, err := os.Stat(db.path + "-wal"); err == nil {
					largest = max(largest, info.Size())
				}
			}
			perRow(b)
			b.ReportMetric(float64(largest>>20), "MiB")
			b.ReportMetric(float64(reads.Load())/b.Elapsed().Seconds(), "reads/s")
			b.ReportMetric(float64(broken.Load()), "broken")
		})
	}
}

// TestCloseTakesInTheMove: Close waits for the move ahead that is under way and says what was wrong with it: it must
// not give the file back while something still writes to it.
func TestCloseTakesInTheMove(t *testing.T) {
	t.Parallel()
	db := mustOpenLeft(t)
	mustAccept(t, db, 1, `{}`)
	failed := errors.New("the disk lies")
	db.wal.ahead = make(chan error, 1)
	go func() { db.wal.ahead <- failed }()
	if err := db.Close(); !errors.Is(err, failed) {
		t.Errorf("Close = %v, want what the move under way ended with", err)
	}
}

// TestMoveBesideAnother: who finds another move under way learns nothing of the log, least of all that it was written
// anew.
func TestMoveBesideAnother(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	mustAccept(t, db, 1, `{}`)
	under, err := db.rdb.gate.enter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.rdb.db.QueryContext(under.ctx, "SELECT seq FROM events UNION ALL SELECT 2 UNION ALL SELECT 3")
	if err != nil || !rows.Next() {
		t.Fatalf("a read = %v", err)
	}
	for i := range 5 {
		mustAccept(t, db, 2+i, `{}`)
	}
	moved := make(chan error, 1)
	go func() { // waits for the read, with the right to move; without it, since the loop below had it, it gives up
		var err error
		for busy, log, done := 1, -1, 0; (log < 0 || busy != 0) && err == nil; { // again, too, where it waited in vain
			err = db.cdb.QueryRow("PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &log, &done)
		}
		moved <- err
	}()
	for busy, log, done := 0, 0, 0; log >= 0; {
		err := db.rdb.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &done)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-moved:
			t.Fatalf("the other move ended before anybody saw it: %v", err)
		default:
		}
	}
	db.mu.Lock()
	db.wal.pages, db.wal.shutFrom = shutAt-1, 2*shutAt
	if err := db.w.conn.Raw(db.move); err != nil {
		t.Errorf("move = %v, want nil", err)
	}
	if l := db.wal; l.pages != shutAt-1 || l.shutFrom != 2*shutAt {
		t.Errorf("beside another move the log has %d pages, new reads wait from %d on, want %d and %d",
			l.pages, l.shutFrom,
			shutAt-1, 2*shutAt)
	}
	db.mu.Unlock()
	_ = rows.Close()
	_ = under.end(nil)
	if err := <-moved; err != nil {
		t.Errorf("the other move = %v, want nil", err)
	}
}
