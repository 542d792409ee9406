// Package bench measures the product on this machine: real server processes and a receiver process, loaded over
// 127.0.0.1 only, on SQLite and on PostgreSQL. What depends on the machine is a ratio to a yardstick of the same run,
// measured in turn with it, so that a machine that slows down favours neither.
//
// Start at Run.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgserver"
)

// Config says what is measured, and how. All but Database, Dir, Filled, FilledKeyset, Only and ServeFlags is required.
type Config struct {
	Binary       string        // the qhook that is measured
	Listening    string        // what it prints before its URL
	EnvPrefix    string        // of its settings in the environment, which are not inherited
	Only         []string      // names of rows; empty: all
	Stores       []string      // SQLite and Postgres, or one of them
	Round        time.Duration // of one measurement of throughput; the median of several counts
	Latency      time.Duration // of a measurement of latency
	Idle         time.Duration // how long publishing goes on beside an idle transaction
	Events       int           // stored, and deliveries waiting, in the measurements of history and memory
	Window       int64         // most events published and not yet arrived, where the load is steady
	Database     string        // URL of a PostgreSQL to make databases on; empty: one is started
	Dir          string        // for the data; empty: the system's temporary folder
	Filled       string        // store for the measurement of pages, which Fill made; empty: one is made
	FilledKeyset string        // master keyset of a database in Filled
	ServeFlags   []string      // further flags of the servers
	Say          func(what string, after time.Duration)
}

// The stores.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// row is a measurement, which adds one or more lines to the report.
type row struct {
	name, says string
	on         string // its one store; empty: both
	brief      bool   // on SQLite only, unless it is asked for by name: it shows nothing of the store
	run        func(*rig, context.Context, *Report) error
}

// rows are in the order in which they are measured. Rates has names of its own.
var rows = []row{
	{name: "rates", says: "the ceiling (a bare net/http client loop), one event a request, 100, and nothing held back, in turn",
		run: (*rig).benchRates},
	{name: "updates", says: "investor updates, and plain publishing in turn", run: (*rig).benchUpdates},
	{name: "latency", says: "publish to arrival at 50 events/s", run: (*rig).benchLatency},
	{name: "rollups", says: "with the dashboard's numbers and without, in turn", run: (*rig).benchRollups},
	{name: "match", says: "one event that 5,000 webhooks match", run: (*rig).benchMatch},
	{name: "start", says: "start with 100,000 webhooks of 10,000 tenants, and publishing to them",
		run: (*rig).benchStart},
	{name: "hang", says: "20 webhooks, every fifth hanging, against none", brief: true, run: (*rig).benchHang},
	{name: "fail", says: "20 webhooks at half load, every fifth failing at once, against none", run: (*rig).benchFail},
	{name: "flooded", says: "others while a tenant floods a hanging webhook", run: (*rig).benchFlooded},
	{name: "refused", says: "others while a tenant floods 2,000 webhooks that refuse", run: (*rig).benchRefused},
	{name: "descriptors", says: "5,000 webhooks and 1,024 descriptors", run: (*rig).benchDescriptors},
	{name: "memory", says: "memory, idle and with many deliveries waiting", brief: true, run: (*rig).benchMemory},
	{name: "stored", says: "with many stored events against an empty store", brief: true, run: (*rig).benchStored},
	{name: "pages", says: "the dashboard's pages on a filled store", brief: true, run: (*rig).benchPages},
	{name: "nodes", says: "1, 2 and 4 nodes, receivers that take 50 ms", on: Postgres, run: (*rig).benchNodes},
	{name: "takeover", says: "a node killed with accepted work", on: Postgres, run: (*rig).benchTakeover},
	{name: "longtx", says: "publishing beside an idle long transaction", on: Postgres,
		run: (*rig).benchLongTransaction},
}

// rates are the names of what benchRates measures.
var rates = []string{"ceiling", "one", "batch", "flood"}

// Names are those of the rows.
func Names() []string {
	list := slices.Clone(rates)
	for _, r := range rows[1:] {
		list = append(list, r.name)
	}
	return list
}

// Check tells, in a sentence, what cannot be measured.
func (c *Config) Check() error {
	for _, name := range c.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("--only: there is no %s; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if c.Round < 100*time.Millisecond || c.Latency < 100*time.Millisecond || c.Events < 1000 || c.Window < 1000 {
		return errors.New("--duration and --latency: at least 100ms; --events and --window: at least 1000")
	}
	return nil
}

// wants tells whether something is measured by its name.
func (c *Config) wants(name string) bool { return len(c.Only) == 0 || slices.Contains(c.Only, name) }

func (c *Config) wantsRow(r row, store string) bool {
	switch {
	case r.on != "" && r.on != store, r.brief && store != SQLite && len(c.Only) == 0:
		return false
	case r.name == "rates":
		return slices.ContainsFunc(rates, c.wants)
	}
	return c.wants(r.name)
}

// Run measures. What it started it ends, also when ctx ends.
func Run(ctx context.Context, c Config) (*Report, error) {
	dir, err := os.MkdirTemp(c.Dir, "qhook-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, err := startRig(ctx, c, dir)
	if err != nil {
		return nil, err
	}
	defer g.receiver.stop()
	b := &Report{Runs: map[string]throughput{}, Missed: []string{}}
	m := &b.Machine
	m.CPUs, m.OS, m.Arch, m.Go, m.Disk = runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), diskKind(dir)
	began := time.Now()
	for _, store := range c.Stores {
		if err := g.onStore(ctx, b, store, began); err != nil {
			return b, err
		}
	}
	b.Seconds = time.Since(began).Seconds()
	return b, ctx.Err()
}

// onStore measures the rows that are wanted on one store.
func (g *rig) onStore(ctx context.Context, b *Report, store string, began time.Time) error {
	wanted := func(r row) bool { return g.wantsRow(r, store) }
	if !slices.ContainsFunc(rows, wanted) {
		return nil
	}
	g.server = ""
	if store == Postgres {
		end, err := g.startPostgres()
		if errors.Is(err, pgserver.ErrNone) {
			b.NotMeasured = "the rows on PostgreSQL were not measured: " + err.Error() +
				", or name a server with --database"
			return nil
		}
		if err != nil {
			return err
		}
		defer end()
	}
	b.store = store
	for _, r := range rows {
		if !wanted(r) {
			continue
		}
		g.Say(store+": "+r.says, time.Since(began))
		b.name = r.name
		if err := r.run(g, ctx, b); err != nil {
			return fmt.Errorf("%s on %s: %w", r.name, store, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// startPostgres makes g measure on PostgreSQL: the one that was named, or a new one until end. Errors:
// pgserver.ErrNone.
func (g *rig) startPostgres() (end func(), err error) {
	if g.keyset, err = app.NewMasterKeyset(g.dir); err != nil {
		return nil, err
	}
	g.server = g.Database
	if g.server != "" {
		return func() {}, nil
	}
	s, err := pgserver.Start(pgserver.WithFsync(), pgserver.WithSetting("shared_buffers=128MB"))
	if err != nil {
		return nil, err
	}
	g.server = s.URL("postgres")
	return func() { _ = s.Close() }, nil
}

// diskKind names the file system, since one in memory flatters a database.
func diskKind(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "an unknown file system"
	}
	switch s.Type {
	case 0x01021994:
		return "tmpfs (MEMORY: choose a real disk with --dir)"
	case 0xEF53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	case 0x794C7630:
		return "overlayfs"
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
