package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/quantfolio/qhook/internal/app"
)

type copyCmd struct {
	From         string `required:"" help:"What is copied: a data folder, or a PostgreSQL database, postgres://…" placeholder:"PLACE"`
	To           string `required:"" help:"Where to: an empty one of the same." placeholder:"PLACE"`
	MasterKeyset string `secret:"" env:"QHOOK_MASTER_KEYSET" help:"The master keyset of both sides, as given to serve; without it, the key file in the data folder." placeholder:"JSON"`
}

// Help is the long help of copy.
func (copyCmd) Help() string {
	return `Moves everything from one store to another: tenants, API keys, webhooks, events, attempts, what waits, and the advisory
platform's objects. Stop the servers of both sides before; copy holds both so that none starts meanwhile. Killed and run
again, it goes on where it ended. At the end both sides are read back and compared; the exit code is 1 when they differ.

Secrets stay sealed, so the servers of both sides need the same master keyset.

Examples:

    qhook copy --from ./qhook-data --to postgres://qhook@db.example.com/qhook
    qhook copy --from postgres://qhook@db.example.com/qhook --to ./qhook-data`
}

// Run copies and prints what both sides have.
func (c *copyCmd) Run(r *run) error {
	done, err := app.Copy(r.ctx, app.CopyConfig{
		From: c.From, To: c.To, MasterKeyset: c.MasterKeyset, Progress: progress(r.stderr, time.Second),
	}, newLogger(r.stderr, app.Config{LogFormat: "text", LogLevel: "info"}))
	if len(done.Tables) > 0 {
		w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TABLE\tROWS\tSHA-256\t")
		for _, t := range done.Tables {
			fmt.Fprintf(w, "%s\t%d\t%x\tsource\n", t.Name, t.From, t.Sum)
			if !t.Same() {
				fmt.Fprintf(w, "%s\t%d\t%x\ttarget, DIFFERENT\n", t.Name, t.To, t.SumAtTo)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	r.printf("\nBoth sides have the same. Start the servers on the target, and never again on the source.\n")
	if done.KeyFile != "" {
		r.printf("They need the same master keyset: set QHOOK_MASTER_KEYSET to the content of %s.\n", done.KeyFile)
	}
	return nil
}

// progress prints how far a copy is, at most once in the time.
func progress(w io.Writer, every time.Duration) func(app.CopyProgress) {
	last := time.Now()
	return func(p app.CopyProgress) {
		if time.Since(last) < every {
			return
		}
		last = time.Now()
		fmt.Fprintf(w, "%s %s: %d of %d rows\n", p.Step, p.Table, p.Done, p.Total)
	}
}
