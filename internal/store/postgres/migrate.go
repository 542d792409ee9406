package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/quantfolio/qhook/internal/pgsession"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date, or refuses one that is newer than the program. Nodes that do it at once wait
// for each other. Errors: as Open's.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	return patiently(ctx, log, func() error { return migrate(ctx, url, log) })
}

func migrate(ctx context.Context, url string, log *slog.Logger) error {
	p, db, err := provider(url)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := elsewhere(ctx, db); err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return refused(err, "read the schema's version")
	}
	if current > target {
		return fmt.Errorf("the database has schema %d, this program knows up to %d: it was used by a newer version",
			current,
			target)
	}
	if current == target {
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return wrap(err, "migrate the schema")
	}
	for _, m := range done {
		log.Info("schema migrated", "version", m.Source.Version)
	}
	return nil
}

// elsewhere refuses to begin anew where the tables are in a schema that the session's search path does not have, as a
// role's or a database's would.
func elsewhere(ctx context.Context, db *sql.DB) error {
	var schema *string
	err := db.QueryRowContext(ctx, `SELECT min(n.nspname) FROM pg_class AS c JOIN pg_namespace AS n
		ON n.oid = c.relnamespace
		WHERE c.relname = 'event_ids' AND c.relkind IN ('r', 'p') AND to_regclass('event_ids') IS NULL
			AND EXISTS (SELECT 1 FROM pg_class AS g WHERE g.relname = 'goose_db_version' AND g.relnamespace = n.oid)
			AND current_setting('search_path') = $1`, pgsession.SearchPath).Scan(&schema)
	if err != nil {
		return refused(err, "look for the tables")
	}
	if schema != nil {
		return &pgsession.Refusal{Sentence: fmt.Sprintf("the database's tables are in the schema %[1]q, and a role's search_path"+
			" is not looked at: name it in the URL, search_path=%[1]s (or search_path=public, to begin anew there)", *schema)}
	}
	return nil
}

func provider(url string) (*goose.Provider, *sql.DB, error) {
	// A migration takes as long as it takes.
	c, err := pgsession.Config(url, pgsession.Options{Name: name, Settings: map[string]string{
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}})
	if err != nil {
		return nil, nil, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, nil, err
	}
	one, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // looks every second, for 5 minutes
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDB(*c.ConnConfig)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()), goose.WithSessionLocker(one))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the migrations: %w", err), db.Close())
	}
	return p, db, nil
}
