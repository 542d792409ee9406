package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/webhook"
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

// NewMasterKeyset makes a master keyset that nodes share, in a file of the folder too.
func NewMasterKeyset(dir string) (string, error) {
	path := filepath.Join(dir, keyFile)
	if _, err := webhook.LoadOrCreateKeyring(path); err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	return string(b), err
}
