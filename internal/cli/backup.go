package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/quantfolio/qhook/internal/app"
)

type backupCmd struct {
	To   string `required:"" type:"path" help:"File that the backup is written to; it must not exist." placeholder:"FILE"`
	Data string `env:"QHOOK_DATA" default:"./qhook-data" type:"path" help:"The server's data folder."`
}

// Help is the long help of backup.
func (backupCmd) Help() string {
	return `Copies the database in a data folder to one file, as it is at one moment, while the server runs or not, and checks the
copy. It takes as long as the file is large; meanwhile the server's log (qhook.db-wal) grows with what is committed.

The master key is not in it: keep the data folder's master.key, or QHOOK_MASTER_KEYSET, apart from it and safe. Without it
the webhooks' secrets in the backup cannot be read. For a PostgreSQL database use its own tools.

Example:

    qhook backup --data /var/lib/qhook --to /backup/qhook-$(date +%F).db`
}

// Run makes a backup and says what it has.
func (c *backupCmd) Run(r *run) error {
	began := time.Now()
	b, err := app.Backup(r.ctx, c.Data, c.To, pages(r.stderr))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	r.printf("%s: %d bytes, checked: %d webhooks, %d events, %d deliveries not settled; in %v.\n",
		c.To, b.Size, b.Webhooks, b.Events, b.Waiting, time.Since(began).Round(time.Millisecond))
	r.printf("The master key is not in it: keep master.key (or QHOOK_MASTER_KEYSET) safe, apart from it.\n")
	return nil
}

// pages prints how far a backup is, once a second.
func pages(w io.Writer) func(done, total int) {
	last := time.Now()
	return func(done, total int) {
		if time.Since(last) >= time.Second {
			last = time.Now()
			fmt.Fprintf(w, "%d of %d pages\n", done, total)
		}
	}
}

type restoreCmd struct {
	From         string `required:"" type:"path" help:"The backup." placeholder:"FILE"`
	Data         string `env:"QHOOK_DATA" default:"./qhook-data" type:"path" help:"Data folder that it is put into; it must have no database."`
	MasterKeyset string `secret:"" env:"QHOOK_MASTER_KEYSET" help:"The master keyset, as given to the server; without it, the data folder's master.key." placeholder:"JSON"`
}

// Help is the long help of restore.
func (restoreCmd) Help() string {
	return `Puts a backup into a data folder. It refuses a folder that a server uses, that has a database, its log or its journal, and
a master key that does not open the backup's secrets; nothing is changed then.

A backup is a moment of the past. What was accepted since is not in it. What was not settled then is sent after the start,
once more if it was delivered since: receivers know it by its id.

Example:

    mkdir -m 700 /var/lib/qhook && install -m 600 master.key /var/lib/qhook/
    qhook restore --from /backup/qhook-2030-01-31.db --data /var/lib/qhook`
}

// Run restores a backup and says what it has.
func (c *restoreCmd) Run(r *run) error {
	log := newLogger(r.stderr, app.Config{LogFormat: "text", LogLevel: "info"})
	b, err := app.Restore(r.ctx, c.From, c.Data, c.MasterKeyset, log)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	r.printf("%s has the backup, checked: %d webhooks, %d events. The master key opens its secrets.\n",
		c.Data, b.Webhooks,
		b.Events)
	r.printf("%d deliveries were not settled then. They are sent after the start, once more where they were delivered since.\n", b.Waiting)
	return nil
}
