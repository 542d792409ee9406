package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgsession"
)

// Finding is one thing that Doctor looked at.
type Finding struct {
	OK   bool
	What string // what was found
	Do   string // what to do about it; empty when OK
}

// checkup collects findings.
type checkup struct {
	conn *pgx.Conn
	list []Finding
}

func (c *checkup) add(ok bool, do, what string, args ...any) {
	f := Finding{OK: ok, What: fmt.Sprintf(what, args...)}
	if !ok {
		f.Do = do
	}
	c.list = append(c.list, f)
}

// Doctor looks at a database and says what is wrong with it and what to do. It changes nothing. pool is the number of
// connections that each node uses besides three: of its commits, its beats and its watch over the webhooks.
func Doctor(ctx context.Context, url string, pool int) ([]Finding, error) {
	c := &checkup{}
	asked := time.Now()
	if err := c.connect(ctx, url); err != nil {
		return c.list, err
	}
	defer func() { _ = c.conn.Close(context.WithoutCancel(ctx)) }()
	c.add(time.Since(asked) < 100*time.Millisecond, "Put the nodes nearer to the database: every commit waits for it.",
		"a connection took %v", time.Since(asked).Round(time.Millisecond))
	for _, look := range []func(context.Context) error{c.server, c.settings, c.session,
		func(ctx context.Context) error { return c.connections(ctx, pool) },
		c.clock, c.oldest, c.slots, func(ctx context.Context) error { return c.schema(ctx, url) }} {
		if err := look(ctx); err != nil {
			return c.list, wrap(err, "look at the database")
		}
	}
	if last := c.list[len(c.list)-1]; !last.OK {
		return c.list, nil // no tables to look at
	}
	for _, look := range []func(context.Context) error{c.permissions, c.partitions, c.nodes, c.backlog} {
		if err := look(ctx); err != nil {
			return c.list, wrap(err, "look at the database")
		}
	}
	return c.list, nil
}

// connect begins a session as a node does, or else finds why a node could not.
func (c *checkup) connect(ctx context.Context, url string) error {
	cfg, err := pgsession.Config(url, pgsession.Options{Name: name})
	if err != nil {
		return err
	}
	const do = "Nodes refuse to start until it is mended."
	c.conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig)
	switch r := pgsession.Refused(err); {
	case r != nil:
		c.add(false, do, "%s", r.Sentence)
		return r
	case errors.Is(err, pgsession.ErrReadOnly):
		c.add(false, "Name the primary, or all hosts; see why the server is read-only.", "%v", err)
	}
	return wrap(err, "connect to the database")
}

func (c *checkup) server(ctx context.Context) error {
	var number int
	err := c.conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&number)
	c.add(true, "", "PostgreSQL %d.%d, which can be written", number/10000, number%100)
	return err
}

// session looks whether this is a session of its own.
func (c *checkup) session(ctx context.Context) error {
	err := pgsession.Alone(ctx, c.conn)
	if r := pgsession.Refused(err); r != nil {
		c.add(false, "Nodes refuse to start through it.", "%s", r.Sentence)
		return nil
	}
	c.add(err == nil, "Name the PostgreSQL server itself.", "a session is its own, and has the settings that it needs")
	return err
}

func (c *checkup) settings(ctx context.Context) error {
	for _, s := range []struct{ name, want, do string }{
		{"fsync", "on", "Switch it on: without it a crash of the machine loses what was accepted."},
		{"full_page_writes", "on", "Switch it on: without it a crash of the machine can break the database."},
		{"autovacuum", "on", "Switch it on: retries leave dead rows in the table waiting."},
	} {
		var got string
		if err := c.conn.QueryRow(ctx, `SELECT current_setting($1)`, s.name).Scan(&got); err != nil {
			return err
		}
		c.add(got == s.want, s.do, "%s is %s", s.name, got)
	}
	return nil
}

func (c *checkup) connections(ctx context.Context, pool int) error {
	var most, used int
	err := c.conn.QueryRow(ctx, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`).Scan(&most, &used)
	c.add(most-used >= pool+3, "Raise max_connections, or lower database-pool.",
		"%d of %d connections are used; a node uses up to %d", used, most, pool+3)
	return err
}

func (c *checkup) clock(ctx context.Context) error {
	asked := time.Now()
	var now time.Time
	err := c.conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	off := now.Sub(asked.Add(time.Since(asked) / 2))
	c.add(off.Abs() < time.Second, "Set this machine's clock by NTP. Nodes go by the database's clock, but signatures carry this one's time, and receivers refuse what is minutes off.",
		"this machine's clock is %v off the database's", off.Round(time.Millisecond))
	return err
}

func (c *checkup) schema(ctx context.Context, url string) error {
	p, db, err := provider(url)
	if err != nil {
		return err
	}
	defer db.Close()
	var there bool
	if err := c.conn.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&there); err != nil ||
		!there {
		c.add(false, "Run qhook migrate, or start a node.", "the database has no schema yet")
		return err
	}
	current, target, err := p.GetVersions(ctx)
	switch {
	case current < target:
		c.add(false, "Run qhook migrate, or start a node of this version.", "the schema is %d, this program's is %d",
			current, target)
	case current > target:
		c.add(false, "Use the newer version of qhook that made it.", "the schema is %d, this program knows up to %d",
			current, target)
	default:
		c.add(true, "", "the schema is %d, as it should be", current)
	}
	return err
}

func (c *checkup) permissions(ctx context.Context) error {
	var create, write bool
	err := c.conn.QueryRow(ctx, `SELECT has_schema_privilege(current_schema(), 'CREATE'),
		has_table_privilege('events', 'INSERT') AND has_table_privilege('waiting', 'DELETE') AND has_table_privilege('webhooks', 'UPDATE')`).Scan(&create, &write)
	c.add(create && write, "Give the role CREATE on the schema, and make it the owner of the tables: nodes make the partitions of days to come.", "may make tables: %t, may write: %t", create, write)
	return err
}

func (c *checkup) partitions(ctx context.Context) error {
	var ahead int
	var other, old int64
	err := c.conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE relname > 'events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')), count(*)
		FROM pg_class WHERE relname ~ '^events_[0-9]{8}$' AND pg_table_is_visible(oid)`).Scan(&ahead, &old)
	if err != nil {
		return err
	}
	c.add(ahead >= 2, "Look for \"partitions could not be made\" in the nodes' logs; a running node makes them every hour.", "%d partitions of days to come, %d in all", ahead, old)
	err = c.conn.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM events_other LIMIT 1000) AS x`).Scan(&other)
	c.add(other == 0, "A clock was far off when they were accepted. They are delivered all the same, and removed row by row when they are old.", "%d events outside the partitions of days", other)
	return err
}

func (c *checkup) nodes(ctx context.Context) error {
	var nodes, versions int
	err := c.conn.QueryRow(ctx, `SELECT count(*), count(DISTINCT version) FROM nodes`).Scan(&nodes, &versions)
	c.add(versions <= 1, "Finish the rolling upgrade.", "%d nodes, of %d versions", nodes, versions)
	return err
}

func (c *checkup) backlog(ctx context.Context) error {
	var waiting int64
	var oldest *time.Time
	err := c.conn.QueryRow(ctx, `SELECT count(*), min(x.due_at) FROM waiting AS x JOIN webhooks AS w ON w.tenant = x.tenant AND w.num = x.webhook
		WHERE w.enabled AND w.deleted_at IS NULL AND x.due_at <= now()`).Scan(&waiting, &oldest)
	late := time.Duration(0)
	if oldest != nil {
		late = time.Since(*oldest).Round(time.Second)
	}
	c.add(late < 5*time.Minute, "See which webhooks' receivers are slow or down; if none is, add nodes or raise concurrency.", "%d deliveries are due, the oldest for %v", waiting, late)
	return err
}
