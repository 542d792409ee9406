package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// days lists the partitions of days.
func days(t *testing.T, db *DB) []string {
	t.Helper()
	rows, _ := db.pool.Query(patient(t),
		`SELECT relname::text FROM pg_class WHERE relname ~ '^(events|outcomes)_[0-9]+$' AND relkind = 'r' ORDER BY relname`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPartitionsAreMadeOnce(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			db, err := Open(patient(t), Config{URL: url, Keyring: ring, Pool: 2})
			if err != nil {
				t.Errorf("Open = %v, want nil", err)
				return
			}
			if err := db.Close(); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
		})
	}
	group.Wait()
	db := mustOpen(t, url, ring)
	if got, want := len(days(t, db)), 2*(1+1+daysAhead); got != want {
		t.Errorf("%d partitions, want %d", got, want)
	}
}

// TestADayThatHasRowsOutside: a clock that was far ahead put events of a day outside before its partition was made;
// nodes start all the same, and make the other days.
func TestADayThatHasRowsOutside(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	db := mustOpen(t, url, ring)
	tomorrow := time.Now().UTC().Truncate(day).Add(day)
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(store.SeqAt(tomorrow.Add(20*day)), true, 1)}})
	early := tomorrow.Add(20 * day)
	if err := db.makeDay(patient(t), early); code(err) != checkViolation {
		t.Errorf("makeDay = %v, want a violation of the default partition's rule", err)
	}
	// The same, for a day that nodes look at.
	if _, err := db.dropDay(patient(t), tomorrow); err != nil {
		t.Fatal(err)
	}
	run(t, db, `DROP TABLE events`+tomorrow.Format("_20060102")+`, outcomes`+tomorrow.Format("_20060102"))
	after := tomorrow.Add(day).Format("_20060102")
	run(t, db, `DROP TABLE events`+after+`, outcomes`+after)
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(store.SeqAt(tomorrow), true, 1)}})
	mustOpen(t, url, ring)
	names := days(t, db)
	if slices.Contains(names, "events"+tomorrow.Format("_20060102")) || !slices.Contains(names, "events"+after) {
		t.Errorf("partitions are %v, want all but tomorrow's", names)
	}
}

// TestDaysAreDropped: a day of which nothing waits goes with all that belongs to it; its IDs are new again.
func TestDaysAreDropped(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	today := time.Now().UTC().Truncate(day)
	var seqs [3]store.Seq
	var subs [3]*store.Submission
	var b store.Batch
	for i := range seqs {
		from := today.AddDate(0, 0, -10-i)
		if err := db.makeDay(patient(t), from); err != nil {
			t.Fatal(err)
		}
		seqs[i] = store.SeqAt(from.Add(time.Hour))
		subs[i] = sent(seqs[i], i != 1, 1)
		b.Submissions = append(b.Submissions, subs[i])
	}
	key := func(i int) store.DeliveryKey { return store.DeliveryKey{Webhook: 1, Event: seqs[i]} }
	done := func(i int) store.Outcome {
		return store.Outcome{Tenant: "a", DeliveryKey: key(i), Attempt: 1, Kind: store.Delivered, At: seqs[i].Time(),
			Stored: i == 2}
	}
	b.Outcomes = []store.Outcome{done(0), done(1)}
	b.Wait = []store.Waiting{{Tenant: "a", DeliveryKey: key(2), DueAt: seqs[2].Time()}}
	mustCommit(t, db, &b)
	before := store.SeqAt(today.AddDate(0, 0, -5))
	kept := func() (n int) {
		for i := range seqs {
			if slices.Contains(days(t, db), "events"+seqs[i].Time().Format("_20060102")) {
				n |= 1 << i
			}
		}
		return n
	}
	trim := func() { mustCommit(t, db, &store.Batch{Trim: &store.Trim{Before: before, Limit: 100}}) }

	// A node that may have one of them in memory still.
	run(t, db, `INSERT INTO marks VALUES (gen_random_uuid(), 0, $1)`, int64(seqs[1]))
	trim()
	eventually(t, "the oldest and the newest are looked at", func() bool { return !db.retiring.Load() })
	if got := kept(); got != 7 {
		t.Errorf("days kept while a mark is below them = %b, want 111", got)
	}
	run(t, db, `DELETE FROM marks WHERE node <> $1`, db.node.Load().id)
	run(t, db, `UPDATE marks SET recover_from = $1`, int64(before))
	trim()
	eventually(t, "all but the day in which something waits are dropped", func() bool { return kept() == 4 })
	eventually(t, "the round ends", func() bool { return !db.retiring.Load() })
	if got := number(t, db, `SELECT count(*) FROM events`)*100 + number(t, db,
		`SELECT count(*) FROM outcomes`)*10 + number(t, db, `SELECT count(*) FROM event_ids`); got != 101 {
		t.Errorf("events, outcomes, event_ids are %d, want 101", got)
	}
	again, last := sent(db.Next(0), true, 1), sent(db.Next(0)+1, true, 1)
	again.Events[0].Event.ID, last.Events[0].Event.ID = subs[0].Events[0].Event.ID, subs[2].Events[0].Event.ID
	mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{again, last}, Outcomes: []store.Outcome{done(2)}})
	if again.Events[0].Duplicate || again.Err != nil || !last.Events[0].Duplicate {
		t.Errorf("Commit of the dropped and the kept ID: duplicate %t, %t, want false, true", again.Events[0].Duplicate,
			last.Events[0].Duplicate)
	}
	trim()
	eventually(t, "the last day is dropped", func() bool { return kept() == 0 })
}

// TestTrimOutside: what is outside the partitions of days is removed row by row, but for what waits.
func TestTrimOutside(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	old := store.SeqAt(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
	var b store.Batch
	for i := range store.Seq(9) {
		b.Submissions = append(b.Submissions, sent(old+i, true, 1))
		o := store.Outcome{Tenant: "a", DeliveryKey: store.DeliveryKey{Webhook: 1, Event: old + i}, Attempt: 1,
			Kind: store.Delivered, At: old.Time()}
		switch i % 3 {
		case 0:
			b.Outcomes = append(b.Outcomes, o)
		case 1:
			o.Kind, o.NextAt = store.Retry, time.Now()
			b.Outcomes = append(b.Outcomes, o)
		}
	}
	mustCommit(t, db, &b)
	trim := &store.Trim{Before: store.SeqAt(time.Now()), Limit: 4}
	removed := 0
	for range 10 {
		mustCommit(t, db, &store.Batch{Trim: trim})
		removed += trim.Removed
		if trim.Done {
			break
		}
		trim.After = trim.Next
	}
	if got := number(t, db, `SELECT count(*) FROM events`)*100 + number(t, db, `SELECT count(*) FROM outcomes`)*10 + number(t, db, `SELECT count(*) FROM event_ids`); got != 636 || removed != 3 || !trim.Done {
		t.Errorf("events, outcomes, event_ids are %d, removed %d, done %t, want 636, 3, true", got, removed, trim.Done)
	}
}

// TestWatch: a change that one node makes reaches the others within a second, also when their connection is cut and
// when the word of it is lost.
func TestWatch(t *testing.T) {
	t.Parallel()
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	if err := a.CreateTenant(patient(t), store.Tenant{ID: "a", Name: "A", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w := &webhook.Webhook{Tenant: "a", ID: "w", URL: "https://example.com", Method: "POST", EventTypes: []string{"*"},
		Enabled: true,
		Timeout: time.Second, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	if err := a.CreateWebhook(patient(t), w); err != nil {
		t.Fatal(err)
	}
	seen := make(chan int64, 100)
	ctx, cancel := context.WithCancel(patient(t))
	var group sync.WaitGroup
	group.Go(func() {
		b.Watch(ctx, func(w *webhook.Webhook) error {
			seen <- w.Version
			return errors.New("of no use") // it goes on all the same
		})
	})
	defer group.Wait()
	defer cancel()
	reaches := func(how string, limit time.Duration) {
		t.Helper()
		select {
		case v := <-seen:
			if v != w.Version {
				t.Errorf("%s: Watch calls with version %d, want %d", how, v, w.Version)
			}
		case <-time.After(limit):
			t.Fatalf("%s: Watch did not call within %v", how, limit)
		}
	}
	reaches("at first", 5*time.Second)
	change := func() {
		t.Helper()
		if err := a.UpdateWebhook(patient(t), w); err != nil {
			t.Fatal(err)
		}
	}
	change()
	reaches("by the channel", pollAfter+beat)
	if err := a.HoldWebhook(patient(t), w.Num, w.URL, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	reaches("held", pollAfter+beat)
	// The change alone, without a word.
	silent := func() {
		run(t, a, `UPDATE webhooks SET version = version + 1, changed = pg_current_xact_id()`)
		w.Version++
	}
	silent()
	reaches("by looking", pollAfter+beat)
	for range 3 {
		if got := number(t, a, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()
			AND pid <> pg_backend_pid() AND query ~ 'FROM webhooks WHERE changed|LISTEN'`); got == 0 {
			t.Error("found no listening connection to cut")
		}
		change()
		reaches("after a cut", pollAfter+beat)
	}
}
