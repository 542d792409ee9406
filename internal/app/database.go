package app

import (
	"context"
	"log/slog"

	"github.com/quantfolio/qhook/internal/store/postgres"
)

// Finding is one thing that Doctor looked at.
type Finding = postgres.Finding

// Doctor looks at a shared database and says what is wrong with it and what to do. It changes nothing.
func Doctor(ctx context.Context, url string, pool int) ([]Finding, error) {
	return postgres.Doctor(ctx, url, pool)
}

// Migrate brings a shared database's schema up to date.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	return postgres.Migrate(ctx, url, log)
}
