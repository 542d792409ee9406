package bench

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// benchLongTransaction publishes for a while beside a transaction that does nothing, and compares how fast it is then
// with before. A node on another database, which has no such transaction, is measured in turn with it both times, so
// that the machine's own changes do not count.
func (g *rig) benchLongTransaction(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "/n", func(other *node) error {
		return g.withNode(ctx, "/n", func(n *node) error {
			rate := func(n *node) func() (float64, error) {
				return func() (float64, error) {
					t, err := g.measure(ctx, n, g.singles(), g.Round)
					return t.Published, err
				}
			}
			before, atFirst, _, err := paired(3, rate(n), rate(other))
			if err != nil {
				return err
			}
			end, err := n.database.longTransaction(ctx)
			if err != nil {
				return err
			}
			_, err = g.measure(ctx, n, g.singles(), g.Idle)
			if err != nil {
				return errors.Join(err, end())
			}
			after, then, _, err := paired(3, rate(n), rate(other))
			b.add("published, one event a request, before", atFirst, "events/s")
			b.add("  after "+g.Idle.String()+" beside an idle transaction", then, "events/s")
			b.target("  after over before, each over a node without one", after/before, "×", 0.95, 1, false)
			return errors.Join(err, end())
		})
	})
}

// longTransaction opens a transaction that keeps every row version which can be seen now, until end.
func (d *database) longTransaction(ctx context.Context) (end func() error, err error) {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return nil, err
	}
	end = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT txid_current()"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, errors.Join(err, end())
		}
	}
	return end, nil
}
