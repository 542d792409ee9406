package cli

import (
	"fmt"

	"github.com/quantfolio/qhook/internal/app"
)

// sharedDatabase is the flag of the commands on a database that nodes share.
type sharedDatabase struct {
	Database string `secret:"" required:"" env:"QHOOK_DATABASE" help:"The PostgreSQL database: postgres://…" placeholder:"URL"`
}

type migrateCmd struct {
	sharedDatabase `embed:""`
}

// Help is the long help of migrate.
func (migrateCmd) Help() string {
	return `Nodes do this by themselves when they start, one at a time. Run it beforehand when the nodes' role may not change the
schema. Nodes of the version before keep working meanwhile.`
}

// Run migrates.
func (m *migrateCmd) Run(r *run) error {
	log := newLogger(r.stderr, app.Config{LogFormat: "text", LogLevel: "info"})
	if err := app.Migrate(r.ctx, m.Database, log); err != nil {
		return err
	}
	r.printf("The schema is up to date.\n")
	return nil
}

type doctorCmd struct {
	sharedDatabase `embed:""`
	Pool           int `name:"database-pool" default:"8" help:"As given to serve."`
}

// Help is the long help of doctor.
func (doctorCmd) Help() string {
	return `Looks at the database's version, settings, permissions, connections and clock, at old transactions and replication slots,
the partitions, the nodes and the backlog, and says what to do. It changes nothing. The exit code is 1 when there is something to do.`
}

// Run looks and prints.
func (d *doctorCmd) Run(r *run) error {
	list, err := app.Doctor(r.ctx, d.Database, d.Pool)
	bad := 0
	for _, f := range list {
		if f.OK {
			r.printf("ok    %s\n", f.What)
			continue
		}
		bad++
		r.printf("LOOK  %s\n      %s\n", f.What, f.Do)
	}
	if err != nil {
		return err
	}
	if bad > 0 {
		fmt.Fprintf(r.stderr, "%d of %d things need a look.\n", bad, len(list))
		return errFailed
	}
	return nil
}
