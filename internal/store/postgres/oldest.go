package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Oldest is what keeps the database from removing dead rows: tables that are written often grow while it stands.
type Oldest struct {
	Transaction time.Duration // how long the oldest open transaction has been; 0: there is none
	Holder      string        // who has it, for people
	Snapshot    int64         // transactions since the oldest snapshot that somebody holds; 0: nobody does
	Keeper      string        // who holds it
	All         bool          // other roles' sessions are seen; else those of this one's, prepared ones and slots
}

const (
	// Whoever asks is left out.
	selectTransaction = `SELECT extract(epoch FROM clock_timestamp() - since)::float8, who FROM (
			SELECT xact_start AS since, format('process %s of %s (%s), %s', pid, usename, application_name, state) AS who
				FROM pg_stat_activity
				WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
			UNION ALL SELECT prepared, format('the prepared transaction %L', gid) FROM pg_prepared_xacts
				WHERE database = current_database()) AS t
		WHERE since IS NOT NULL ORDER BY since LIMIT 1`

	// A snapshot of another database holds nothing here, but for a standby's; autovacuum holds nothing.
	selectSnapshot = `SELECT age(xmin)::bigint, who FROM (
			SELECT backend_xmin AS xmin, CASE backend_type
					WHEN 'walsender' THEN format('the standby %s (hot_standby_feedback)', application_name)
					ELSE format('process %s of %s (%s), %s', pid, usename, application_name, state) END AS who
				FROM pg_stat_activity WHERE backend_type = 'walsender'
					OR backend_type <> 'autovacuum worker' AND datname = current_database() AND pid <> pg_backend_pid()
			UNION ALL SELECT xmin, format('the replication slot %s', slot_name) FROM pg_replication_slots
			UNION ALL SELECT catalog_xmin, format('the replication slot %s (of the catalogue)', slot_name)
				FROM pg_replication_slots
			UNION ALL SELECT transaction, format('the prepared transaction %L', gid) FROM pg_prepared_xacts
				WHERE database = current_database()) AS t
		WHERE xmin IS NOT NULL ORDER BY age(xmin) DESC LIMIT 1`

	selectSeesAll = `SELECT pg_has_role('pg_read_all_stats', 'USAGE')`
)

// Oldest looks for what keeps dead rows. Errors: store.ErrAway.
func (db *DB) Oldest(ctx context.Context) (Oldest, error) {
	o, err := oldest(ctx, db.pool)
	return o, wrap(err, "look for the oldest transaction")
}

// rower is a pool or a connection.
type rower interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

func oldest(ctx context.Context, q rower) (o Oldest, err error) {
	var seconds float64
	if err := q.QueryRow(ctx, selectTransaction).Scan(&seconds, &o.Holder); err != nil &&
		!errors.Is(err, pgx.ErrNoRows) {
		return o, err
	}
	o.Transaction = time.Duration(seconds * float64(time.Second))
	if err := q.QueryRow(ctx, selectSnapshot).Scan(&o.Snapshot, &o.Keeper); err != nil &&
		!errors.Is(err, pgx.ErrNoRows) {
		return o, err
	}
	return o, q.QueryRow(ctx, selectSeesAll).Scan(&o.All)
}

// What a database in good health does not have.
const (
	longTransaction = time.Minute // the nodes' own end after half of it
	farSnapshot     = 100_000     // transactions: minutes of a busy node
)

// oldest says who keeps dead rows from being removed, and what to do about it.
func (c *checkup) oldest(ctx context.Context) error {
	o, err := oldest(ctx, c.conn)
	if err == nil {
		c.judge(o)
	}
	return err
}

func (c *checkup) judge(o Oldest) {
	holder, keeper := "nobody", "nobody"
	if o.Holder != "" {
		holder = o.Holder
	}
	if o.Keeper != "" {
		keeper = o.Keeper
	}
	c.add(o.Transaction < longTransaction,
		"While it is open no dead row is removed, and everything gets slower: end it (pg_terminate_backend, ROLLBACK "+
			"PREPARED), and set idle_in_transaction_session_timeout for whoever leaves it open.",
		"the oldest transaction is open for %v: %s", o.Transaction.Round(time.Second), holder)
	c.add(o.Snapshot < farSnapshot, "No row that died since is removed: end the process; drop a slot that nobody reads (pg_drop_replication_slot); end "+
		"the long queries of a standby, or switch its hot_standby_feedback off.",
		"the oldest snapshot is %d transactions old: %s", o.Snapshot, keeper)
	if !o.All {
		c.add(true, "", "other roles' transactions are not seen: GRANT pg_read_all_stats lets this role see them")
	}
}

// slots looks for replication slots that keep the log for nobody.
func (c *checkup) slots(ctx context.Context) error {
	var idle int64
	var name *string
	err := c.conn.QueryRow(ctx, `SELECT count(*), min(slot_name) FROM pg_replication_slots WHERE NOT active`).
		Scan(&idle, &name)
	what := ""
	if name != nil {
		what = ": " + *name
	}
	c.add(idle == 0, "The log is kept for it until the disk is full: start what reads it, or drop it (pg_drop_replication_slot).",
		"%d replication slots that nobody reads%s", idle, what)
	return err
}
