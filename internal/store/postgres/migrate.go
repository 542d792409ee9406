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
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return refused(err, "read the schema's version")
	}
	if current > target {
		return fmt.Errorf("the database has schema %d, this program knows up to %d: it was used by a newer version", current, target)
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
