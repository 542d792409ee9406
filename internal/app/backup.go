package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Backed is what a backup has.
type Backed = sqlite.Backed

// Backup copies the database in a data folder to the new file at to, also while a server runs on it, and checks the
// copy. progress is told how many pages of how many are copied.
func Backup(ctx context.Context, data, to string, progress func(done, total int)) (Backed, error) {
	return sqlite.Backup(ctx, filepath.Join(data, databaseFile), to, progress)
}

// Restore puts a backup into a data folder that has no database. The master key is keyset or, when that is empty, the
// folder's master.key; it must open the backup's secrets.
func Restore(ctx context.Context, from, data, keyset string, log *slog.Logger) (b Backed, err error) {
	var ring *webhook.Keyring
	if keyset != "" {
		ring, err = webhook.ParseKeyring([]byte(keyset))
	} else {
		file := filepath.Join(data, keyFile)
		if _, err := os.Stat(file); err != nil {
			return b, fmt.Errorf("the data folder %s has no %s, without which nothing opens the secrets: make the folder and "+
				"copy the server's there, mode 0600", data, keyFile)
		}
		ring, err = webhook.LoadOrCreateKeyring(file)
	}
	if err != nil {
		return b, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return b, fmt.Errorf("make the data folder: %w", err)
	}
	return sqlite.Restore(ctx, from, sqlite.Config{Path: filepath.Join(data, databaseFile), Keyring: ring, Logger: log})
}
