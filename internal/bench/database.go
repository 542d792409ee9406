package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// database is a database that bench made.
type database struct{ server, name, url string }

func (g *rig) newDatabase(ctx context.Context) (*database, error) {
	u, err := url.Parse(g.server)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("--database: give a URL like postgres://user@host/database")
	}
	id := uuid.New()
	d := &database{server: g.server, name: fmt.Sprintf("qhook_bench_%x", id[:6])}
	u.Path = "/" + d.name
	d.url = u.String()
	return d, d.exec(ctx, "CREATE DATABASE "+d.name)
}

func (d *database) exec(ctx context.Context, query string) error {
	conn, err := pgx.Connect(ctx, d.server)
	if err != nil {
		return fmt.Errorf("connect to the database server: %w", err)
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// drop removes the database, whoever uses it.
func (d *database) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = d.exec(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)")
}

// analyze does what autovacuum does within a minute: without statistics, objects are looked up by whichever index comes
// first, and the measurement would be of that minute.
func (d *database) analyze(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ANALYZE")
	return errors.Join(err, conn.Close(ctx))
}

// deadRows counts the rows of the hot tables that were updated or deleted, which is what leaves dead ones behind.
func (d *database) deadRows(ctx context.Context, b *Report) error {
	if err := sleep(ctx, 2*time.Second); err != nil { // sessions report what they did with some delay
		return err
	}
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var dead, delivered int64
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(n_tup_upd + n_tup_del + n_dead_tup), 0) FROM pg_stat_user_tables
		WHERE relname ~ '^(events|outcomes|waiting)(_|$)'`).Scan(&dead)
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT count(*) FROM outcomes`).Scan(&delivered)
	}
	if err == nil {
		b.target("dead rows per 1,000 first-try deliveries", float64(dead)*1000/float64(max(delivered, 1)), "rows",
			0, 0,
			true)
	}
	return err
}
