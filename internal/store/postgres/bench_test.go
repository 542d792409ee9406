package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// BenchmarkOutcomes compares the two ways to write outcomes, each in a transaction with the node's fence: as the
// journal does it, in one round trip, and by COPY, which needs four. Docs/decisions/0007 has the figures.
func BenchmarkOutcomes(b *testing.B) {
	ctx := context.Background()
	for _, size := range []int{1, 10, 100, 1000} {
		for _, way := range []string{"unnest", "copy"} {
			b.Run(fmt.Sprintf("%s/%d", way, size), func(b *testing.B) {
				conn, err := pgx.Connect(ctx, pgtest.Shared(b).NewDatabase(b))
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close(ctx)
				for _, query := range []string{
					`CREATE TABLE fences (node int PRIMARY KEY)`, `INSERT INTO fences VALUES (1)`,
					`CREATE TABLE outcomes (tenant text, webhook bigint, event bigint, attempt int, kind text, at timestamptz, duration bigint, sent boolean,
						status int, next_at timestamptz, class text, key_id text, response bytea, timings bytea, PRIMARY KEY (tenant, webhook, event, attempt))`,
				} {
					if _, err := conn.Exec(ctx, query); err != nil {
						b.Fatal(err)
					}
				}
				seq := int64(1)
				for b.Loop() {
					list := make([]store.Outcome, size)
					for i := range list {
						list[i] = store.Outcome{Tenant: "a",
							DeliveryKey: store.DeliveryKey{Webhook: 1,
								Event: store.Seq(seq)}, Attempt: 1, Kind: store.Delivered,
							At: time.Now(), Duration: time.Millisecond, Sent: true, Status: 200, Response: []byte("ok")}
						seq++
					}
					if err := writeOutcomes(ctx, conn, way, list); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/row")
			})
		}
	}
}

const benchFence = `SELECT FROM fences WHERE node = 1 FOR SHARE`

func writeOutcomes(ctx context.Context, conn *pgx.Conn, way string, list []store.Outcome) error {
	if way == "unnest" {
		var batch pgx.Batch
		batch.Queue(benchFence)
		queueOutcomes(list, &batch)
		return conn.SendBatch(ctx, &batch).Close()
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, benchFence); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"outcomes"},
			[]string{"tenant", "webhook", "event", "attempt", "kind", "at", "duration", "sent", "status",
				"next_at", "class", "key_id", "response", "timings"}, pgx.CopyFromSlice(len(list), func(i int) ([]any,
				error) {
				o := &list[i]
				return []any{o.Tenant, o.Webhook, int64(o.Event), int32(o.Attempt), string(o.Kind), o.At, int64(o.Duration),
					o.Sent, int32(o.Status), nil, nil, nil, o.Response, nil}, nil
			}))
		return err
	})
}
