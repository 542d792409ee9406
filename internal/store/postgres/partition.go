package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	daysAhead     = 7
	day           = 24 * time.Hour
	partitionLock = 0x716875 // advisory; one node at a time makes or drops partitions
)

// partitioned are the tables of a day, with the column that their range is of.
var partitioned = []string{"events", "outcomes"}

// makePartitions makes those of yesterday to a week from now that are missing. A day of which there are rows outside of
// the partitions already, since a clock was far off, goes without: its rows stay together there.
func (db *DB) makePartitions(ctx context.Context) error {
	var today time.Time
	err := db.pool.QueryRow(ctx, `SELECT date_trunc('day', now())`).Scan(&today)
	for d := -1; d <= daysAhead && err == nil; d++ {
		if err = db.makeDay(ctx, today.UTC().AddDate(0, 0, d)); code(err) == checkViolation {
			err = nil
		}
	}
	return wrap(err, "make partitions")
}

// makeDay makes the partitions of a day that are missing. Looking first takes no lock. Like dropDay it gives up after a
// moment when a table is in use: what comes after it would wait too.
func (db *DB) makeDay(ctx context.Context, from time.Time) error {
	suffix := from.Format("_20060102")
	var there int
	const look = `SELECT count(*) FROM pg_class WHERE relname = ANY ($1) AND pg_table_is_visible(oid)`
	names := []string{partitioned[0] + suffix, partitioned[1] + suffix}
	if err := db.pool.QueryRow(ctx, look, names).Scan(&there); err != nil || there == len(names) {
		return err
	}
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1), set_config('lock_timeout', '2s', true)`,
			partitionLock); err != nil {
			return err
		}
		for i, name := range names {
			low, high := int64(store.SeqAt(from)), int64(store.SeqAt(from.Add(day)))
			_, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%d) TO (%d)`,
				name, partitioned[i], low, high))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// dropPartitions drops the partitions of days that ended before the time and in which nothing waits, and returns how
// many events were in them.
func (db *DB) dropPartitions(ctx context.Context, before store.Seq) (events int, err error) {
	rows, _ := db.pool.Query(ctx, `SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'events'::regclass AND c.relname <> 'events_other' ORDER BY c.relname`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, wrap(err, "list partitions")
	}
	for _, name := range names {
		from, err := time.Parse("events_20060102", name)
		if err != nil || store.SeqAt(from.Add(day)) > before {
			continue
		}
		n, err := db.dropDay(ctx, from)
		if err != nil {
			return events, wrap(err, "drop the partitions of "+from.Format(time.DateOnly))
		}
		events += n
	}
	return events, nil
}

// Something waits in a row, or in the memory of a node whose recovery mark has not passed the day.
const waitsIn = `SELECT EXISTS (SELECT 1 FROM marks WHERE recover_from < $2)
	OR EXISTS (SELECT 1 FROM waiting WHERE event >= $1 AND event < $2)`

// dropDay gives up after a moment when the table is in use: the next try will do.
func (db *DB) dropDay(ctx context.Context, from time.Time) (events int, err error) {
	suffix := from.Format("_20060102")
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1), set_config('lock_timeout', '2s', true)`,
			partitionLock); err != nil {
			return err
		}
		var waits bool
		low, high := int64(store.SeqAt(from)), int64(store.SeqAt(from.Add(day)))
		if err := tx.QueryRow(ctx, waitsIn, low, high).Scan(&waits); err != nil || waits {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM events`+suffix).Scan(&events); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM event_ids AS i USING events`+suffix+` AS e WHERE e.id_given AND i.tenant = e.tenant AND i.id = e.id`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DROP TABLE events`+suffix+`, outcomes`+suffix)
		return err
	})
	return events, err
}

// queueTrim appends the removal of old events outside the partitions of days. Days are dropped as a whole; see
// dropPartitions.
func queueTrim(t *store.Trim, batch *pgx.Batch) {
	t.Next, t.Done, t.Removed = t.After, false, 0
	batch.Queue(trim, int64(t.After), int64(t.Before), t.Limit).QueryRow(func(row pgx.Row) error {
		var looked int
		var last store.Seq
		if err := row.Scan(&looked, &last, &t.Removed); err != nil {
			return err
		}
		t.Next, t.Done = max(t.Next, last), looked < t.Limit
		return nil
	})
}

// An event is kept while one of its deliveries waits: in a row, or (no row and no outcome) in memory.
const trim = `WITH old AS (
		SELECT tenant, seq, id, id_given, webhooks FROM events_other WHERE seq > $1 AND seq < $2 ORDER BY seq LIMIT $3),
	gone AS (
		SELECT * FROM old WHERE NOT EXISTS (SELECT 1 FROM unnest(old.webhooks) AS w (num)
			WHERE (SELECT 1 FROM waiting AS x WHERE x.tenant = old.tenant AND x.webhook = w.num AND x.event = old.seq) IS NOT NULL
				OR (SELECT 1 FROM outcomes AS o WHERE o.tenant = old.tenant AND o.webhook = w.num AND o.event = old.seq LIMIT 1) IS NULL)),
	outcome AS (
		DELETE FROM outcomes_other AS o USING gone AS g WHERE o.tenant = g.tenant AND o.webhook = ANY (g.webhooks) AND o.event = g.seq),
	given AS (
		DELETE FROM event_ids AS i USING gone AS g WHERE g.id_given AND i.tenant = g.tenant AND i.id = g.id),
	event AS (
		DELETE FROM events_other AS e USING gone AS g WHERE e.tenant = g.tenant AND e.seq = g.seq)
	SELECT (SELECT count(*) FROM old), (SELECT coalesce(max(seq), 0) FROM old), (SELECT count(*) FROM gone)`
