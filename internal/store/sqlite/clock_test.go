package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

// A machine's clock that is set moves neither the journal's time nor the numbers of events, and lists show what was
// accepted whatever it says; after a restart with the right clock, too.
func TestClockThatIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, time.Hour, -time.Hour, 40 * 24 * time.Hour,
		-40 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			ring, err := webhook.LoadOrCreateKeyring(filepath.Join(t.TempDir(), "k"))
			if err != nil {
				t.Fatal(err)
			}
			var set time.Duration
			path := filepath.Join(t.TempDir(), "q.db")
			open := func(step func() time.Duration) *sqlite.DB {
				db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Keyring: ring, Step: step})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				return db
			}
			var last store.Seq
			accept := func(db *sqlite.DB) {
				t.Helper()
				id, _ := uuid.NewV7()
				last = db.Next(last)
				e := store.Submitted{Seq: last, Event: event.Event{ID: id, Type: "qap.investor.created", ObjectID: "o",
					ObjectOwnerID: "p", OwnerID: "q", Time: time.Now().UTC(), Data: []byte(`{}`)}}
				if err := db.Commit(context.Background(), &store.Batch{Now: db.Now(),
					Submissions: []*store.Submission{{Tenant: "a", Events: []store.Submitted{e}}}}); err != nil {
					t.Fatal(err)
				}
			}
			listed := func(db *sqlite.DB, want int) {
				t.Helper()
				list, err := db.ListEvents(t.Context(), "a", store.EventFilter{Until: time.Now().Add(time.Minute)},
					0, 10)
				if err != nil || len(list) != want {
					t.Errorf("%d events until what is not past, %v, want %d", len(list), err, want)
				}
			}
			db := open(func() time.Duration { return set })
			if err := db.CreateTenant(t.Context(),
				store.Tenant{ID: "a", Name: "a", CreatedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
			accept(db)
			before := db.Now()
			set = step
			accept(db)
			if d := db.Now().Sub(before); d < 0 || d > 10*time.Second {
				t.Errorf("the journal's time moved by %v", d)
			}
			if d := time.Since(last.Time()).Abs(); d > 10*time.Second {
				t.Errorf("an event is numbered %v off", d)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(func() time.Duration { return step }) // it was wrong at a start, too
			accept(db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(nil)
			if last, err = db.LastSeq(t.Context()); err != nil {
				t.Fatal(err)
			}
			accept(db)
			listed(db, 4)
		})
	}
}
