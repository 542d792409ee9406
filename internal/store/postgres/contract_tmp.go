package postgres

import (
	"context"
	"time"
)

// Recall brings back.
func (db *DB) Recall(ctx context.Context, now time.Time) (n int, ahead time.Duration, err error) {
	return 0, 0, nil
}
