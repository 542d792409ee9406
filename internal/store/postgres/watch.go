package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	channel   = "qhook_webhooks"
	pollAfter = time.Second // without a word on the channel; it may have been lost
)

// Watch calls changed with every webhook as it is, and again whenever it changes, until ctx ends. Its errors are logged.
func (db *DB) Watch(ctx context.Context, changed func(*webhook.Webhook) error) {
	known := map[int64]int64{} // version by num
	for ctx.Err() == nil {
		err := db.listen(ctx, known, changed)
		if ctx.Err() != nil {
			return
		}
		db.log.Warn("changes of webhooks could not be followed; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(beat):
		}
	}
}

// listen follows the channel on a connection of its own until that fails.
func (db *DB) listen(ctx context.Context, known map[int64]int64, changed func(*webhook.Webhook) error) error {
	c, err := poolConfig(db.cfg.URL)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		if err := db.follow(ctx, conn, known, changed); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, pollAfter)
		_, err := conn.WaitForNotification(wait)
		cancel()
		if err != nil && (ctx.Err() != nil || wait.Err() == nil || conn.IsClosed()) {
			return err
		}
	}
}

// follow looks which webhooks have another version than the known one.
func (db *DB) follow(ctx context.Context, conn *pgx.Conn, known map[int64]int64, changed func(*webhook.Webhook) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var num, version int64
	news := false
	rows, _ := conn.Query(ctx, `SELECT num, version FROM webhooks`) // ForEachRow says what is wrong
	_, err := pgx.ForEachRow(rows, []any{&num, &version}, func() error {
		news = news || known[num] != version
		return nil
	})
	if err != nil || !news {
		return err
	}
	list, err := db.AllWebhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range list {
		if known[w.Num] == w.Version {
			continue
		}
		if err := changed(w); err != nil {
			db.log.Error("a changed webhook could not be put to work", "webhook", w.ID, "error", err)
		}
		known[w.Num] = w.Version
	}
	return nil
}
