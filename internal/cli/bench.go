package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/bench"
)

type benchCmd struct {
	JSON      bool          `name:"json" help:"Print one JSON object in place of the table."`
	Only      []string      `help:"Measure only these rows: ${bench_names}." placeholder:"NAME"`
	Store     []string      `help:"Measure on these stores." enum:"sqlite,postgres" default:"sqlite,postgres" placeholder:"STORE"`
	Duration  time.Duration `default:"1s" help:"Length of one round of throughput; five count."`
	Latency   time.Duration `default:"8s" help:"Length of the measurement of latency."`
	Idle      time.Duration `default:"60s" help:"How long publishing goes on beside an idle transaction."`
	Events    int           `default:"500000" help:"Events stored, and deliveries waiting, in the measurements of history and memory." placeholder:"N"`
	Window    int64         `default:"4000" help:"Most events published and not yet arrived, where the load is steady." placeholder:"N"`
	Fill      string        `help:"Measure nothing, but fill a new data folder or an empty database (with QHOOK_MASTER_KEYSET) with --events events and their deliveries." placeholder:"PLACE"`
	Filled    string        `help:"Measure the pages on this store, which --fill made, in place of one of --events events." placeholder:"PLACE"`
	Database  string        `help:"PostgreSQL server to measure on, as a user who may make databases: each measurement makes one and drops it. By default a temporary one is started." placeholder:"URL"`
	Dir       string        `help:"Folder for the data; by default the system's temporary one. It should be on a real disk." placeholder:"DIR"`
	ServeFlag []string      `help:"A further flag for the server under test, such as --serve-flag=--concurrency=64." placeholder:"FLAG" sep:"none"`
	Binary    string        `help:"Measure this qhook in place of the one that runs." placeholder:"FILE"`
}

// Help is the long help of bench.
func (benchCmd) Help() string {
	return `Starts real server processes and a receiver process on this machine, loads them over 127.0.0.1 only, and compares
with a yardstick measured in turn: the ceiling (a bare net/http client loop against the same receiver), or the same
without what is looked at. The median of the rounds counts. Webhooks are signed; the publisher is a plain net/http client
in this process. All share the machine's processors. It takes about ten minutes; the exit code is 1 when something that
must be reached is not. Without --only, rows that show nothing of the store (hang, memory, stored, pages) are measured on
SQLite only. Without PostgreSQL's programs and --database, the output says that its rows were not measured.

Examples:

    qhook bench
    qhook bench --only one,batch --duration 5s --store sqlite
    qhook bench --json > bench.json
    qhook bench --database postgres://postgres@127.0.0.1/postgres
    qhook bench --fill ./full --events 10000000 && qhook bench --only pages --store sqlite --filled ./full`
}

// Run measures and prints.
func (c *benchCmd) Run(r *run) error {
	cfg := bench.Config{Binary: c.Binary, Listening: listeningLine, EnvPrefix: envPrefix, Only: c.Only, Stores: c.Store,
		Round: c.Duration, Latency: c.Latency, Idle: c.Idle, Events: c.Events, Window: c.Window, Database: c.Database,
		Dir: c.Dir, Filled: c.Filled, FilledKeyset: os.Getenv("QHOOK_MASTER_KEYSET"), ServeFlags: c.ServeFlag,
		Say: func(what string, after time.Duration) {
			if !c.JSON {
				fmt.Fprintf(r.stderr, "%4.0fs  %s\n", after.Seconds(), what)
			}
		}}
	if err := cfg.Check(); err != nil {
		return usageError(err.Error())
	}
	if c.Fill != "" {
		return c.fillStore(r)
	}
	if cfg.Binary == "" {
		var err error
		if cfg.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	report, err := bench.Run(r.ctx, cfg)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.JSON {
		e := json.NewEncoder(r.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.Print(r.stdout)
	}
	if err == nil && len(report.Missed) > 0 {
		err = errFailed
	}
	return err
}

// fillStore fills a store as --fill says.
func (c *benchCmd) fillStore(r *run) error {
	cfg := app.FillConfig{To: c.Fill, Events: c.Events, Progress: progress(r.stderr, 5*time.Second),
		MasterKeyset: os.Getenv("QHOOK_MASTER_KEYSET")}
	began := time.Now()
	if err := app.Fill(r.ctx, cfg, newLogger(r.stderr, app.Config{LogFormat: "text", LogLevel: "warn"})); err != nil {
		return fmt.Errorf("fill %s: %w", c.Fill, err)
	}
	r.printf("%d events with %d deliveries in %.0f s.\n", c.Events, 2*c.Events, time.Since(began).Seconds())
	return nil
}

// benchReceiverCmd is bench's receiver, in a process of its own.
type benchReceiverCmd struct{}

// Run receives until told to stop.
func (benchReceiverCmd) Run(r *run) error { return bench.Receive(r.ctx, r.stdin, r.stdout) }
