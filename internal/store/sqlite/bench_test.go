package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const benchRows = 1000

func openBench(b *testing.B) *DB {
	b.Helper()
	ring, err := webhook.NewKeyring()
	if err != nil {
		b.Fatal(err)
	}
	db, err := Open(context.Background(), Config{Path: filepath.Join(b.TempDir(), "q.db"), Keyring: ring})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

var benchData = []byte(`{"advice":{"status":"completed","amount":12500.00,"currency":"EUR","risk_profile":"balanced","notes":"` +
	`annual review of the portfolio with the client"},"links":{"self":"https://api.quantfolio.example/v1/advice/1234567890"}}`)

// benchEvents are submissions of one event each, with the mix of IDs that a platform has: many objects, few owners.
func benchEvents(seq *store.Seq, given bool) []*store.Submission {
	list := make([]*store.Submission, benchRows)
	for i := range list {
		*seq++
		id := uuid.Must(uuid.NewV7())
		if given {
			id = uuid.New()
		}
		list[i] = &store.Submission{Tenant: "quantfolio", Events: []store.Submitted{{
			Seq: *seq, IDGiven: given, Webhooks: []int64{1, 2, 3},
			Event: event.Event{
				ID: id, Type: "qap.investor.advice.created", ObjectID: uuid.NewString(),
				ObjectOwnerID: fmt.Sprintf("investor-%08d", rand.IntN(200_000)), OwnerID: fmt.Sprintf("advisor-%06d",
					rand.IntN(500)),
				Time: time.UnixMilli(1_700_000_000_000), Data: benchData,
			},
		}}}
	}
	return list
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchRows, "µs/row")
}

func BenchmarkCommitEvents(b *testing.B) {
	for name, given := range map[string]bool{"id_made": false, "id_given": true} {
		b.Run(name, func(b *testing.B) {
			db := openBench(b)
			seq := store.SeqAt(time.Now())
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := &store.Batch{Submissions: benchEvents(&seq, given)}
				b.StartTimer()
				if err := db.Commit(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
	}
}

func BenchmarkCommitOutcomes(b *testing.B) {
	for _, name := range []string{"delivered", "retry", "settle"} {
		b.Run(name, func(b *testing.B) {
			db := openBench(b)
			seq := store.SeqAt(time.Now())
			now := time.Now()
			batch := &store.Batch{Outcomes: make([]store.Outcome, benchRows)}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range batch.Outcomes {
					if i%4 == 0 {
						seq++
					}
					o := store.Outcome{DeliveryKey: store.DeliveryKey{Webhook: int64(i%4 + 1), Event: seq}, Attempt: 1,
						Kind: store.Delivered, At: now, Duration: 1234567, Sent: true, Status: 200, Response: []byte(`{"ok":true}`), KeyID: "key_12345678"}
					switch name {
					case "retry":
						o.Kind, o.NextAt, o.Status, o.Class = store.Retry, now.Add(time.Minute), 500, "status"
					case "settle":
						o.Stored = true
						batch.Wait = append(batch.Wait, store.Waiting{DeliveryKey: o.DeliveryKey, DueAt: now})
					}
					batch.Outcomes[i] = o
				}
				if name == "settle" {
					if err := db.Commit(context.Background(), &store.Batch{Wait: batch.Wait}); err != nil {
						b.Fatal(err)
					}
					batch.Wait = batch.Wait[:0]
				}
				b.StartTimer()
				if err := db.Commit(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
	}
}
