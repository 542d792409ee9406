package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type benchCmd struct {
	JSON      bool          `name:"json" help:"Print one JSON object in place of the table."`
	Only      []string      `help:"Measure only these: ceiling, one, updates, batch, flood, latency, stored, hang, memory, rollups, pages; with --database also nodes, takeover. Ratios bring the ceiling with them." placeholder:"NAME"`
	Duration  time.Duration `default:"6s" help:"Length of one measurement of throughput."`
	Latency   time.Duration `default:"20s" help:"Length of the measurement of latency."`
	Events    int           `default:"1000000" help:"Events stored, and deliveries waiting, in the measurements of history and memory." placeholder:"N"`
	Window    int64         `default:"4000" help:"Most events published and not yet arrived, where the load is steady." placeholder:"N"`
	Fill      string        `help:"Measure nothing, but fill a new data folder or an empty database (with QHOOK_MASTER_KEYSET) with --events events and their deliveries." placeholder:"PLACE"`
	Filled    string        `help:"Measure the pages on this store, which --fill made, in place of one of --events events." placeholder:"PLACE"`
	Database  string        `help:"Measure on PostgreSQL: URL of a server, as a user who may make databases. Each measurement makes one and drops it." placeholder:"URL"`
	Dir       string        `help:"Folder for the data; by default the system's temporary one. It should be on a real disk." placeholder:"DIR"`
	ServeFlag []string      `help:"A further flag for the server under test, such as --serve-flag=--concurrency=64." placeholder:"FLAG" sep:"none"`
	Binary    string        `help:"Measure this qhook in place of the one that runs." placeholder:"FILE"`
}

// Help is the long help of bench.
func (benchCmd) Help() string {
	return `Starts real server processes and a receiver process on this machine, loads them over 127.0.0.1 only, and compares
with the ceiling: a bare net/http client loop against the same receiver, before and after the rest. Webhooks are signed;
the publisher is a plain net/http client in this process. All share the machine's processors. It takes about five minutes;
the exit code is 1 when something that must be reached is not.

Examples:

    qhook bench
    qhook bench --only one,batch --duration 10s
    qhook bench --json > bench.json
    qhook bench --database postgres://postgres@127.0.0.1/postgres
    qhook bench --fill ./full --events 10000000 && qhook bench --only pages --filled ./full`
}

var benchNames = []string{"ceiling", "one", "updates", "batch", "flood", "latency", "stored", "hang", "memory", "rollups", "pages", "nodes", "takeover"}

// benchRow is one line of the table.
type benchRow struct {
	What     string   `json:"what"`
	Measured float64  `json:"measured"`
	Unit     string   `json:"unit"`
	Must     *float64 `json:"must_reach,omitempty"`
	Reach    *float64 `json:"reach_for,omitempty"`
	Less     bool     `json:"less_is_better,omitempty"`
	Met      *bool    `json:"met,omitempty"`
}

// benchReport is everything that was measured.
type benchReport struct {
	Machine struct {
		CPUs int    `json:"cpus"`
		OS   string `json:"os"`
		Arch string `json:"arch"`
		Go   string `json:"go"`
		Disk string `json:"disk"`
	} `json:"machine"`
	Seconds float64               `json:"seconds"`
	Rows    []benchRow            `json:"rows"`
	Runs    map[string]throughput `json:"runs,omitempty"`
	Missed  []string              `json:"missed"`
}

// add appends a row without a target.
func (b *benchReport) add(what string, measured float64, unit string) {
	b.Rows = append(b.Rows, benchRow{What: what, Measured: measured, Unit: unit})
}

// target appends a row with what it must reach and what is reached for; less says that less is better.
func (b *benchReport) target(what string, measured float64, unit string, must, reach float64, less bool) {
	met := measured >= must
	if less {
		met = measured <= must
	}
	b.Rows = append(b.Rows, benchRow{What: what, Measured: measured, Unit: unit, Must: &must, Reach: &reach, Less: less, Met: &met})
	if !met {
		b.Missed = append(b.Missed, what)
	}
}

// Run measures and prints.
func (c *benchCmd) Run(r *run) error {
	for _, name := range c.Only {
		if !slices.Contains(benchNames, name) {
			return usageError("--only: there is no " + name + "; there are " + strings.Join(benchNames, ", "))
		}
	}
	if c.Duration < 100*time.Millisecond || c.Latency < 100*time.Millisecond || c.Events < 1000 || c.Window < 1000 {
		return usageError("--duration and --latency: at least 100ms; --events and --window: at least 1000")
	}
	if c.Fill != "" {
		return c.fillStore(r)
	}
	binary := c.Binary
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "qhook-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	g, err := startRig(ctx, c, binary, dir)
	if err != nil {
		return err
	}
	defer g.receiver.stop()

	report := benchReport{Runs: map[string]throughput{}, Missed: []string{}}
	m := &report.Machine
	m.CPUs, m.OS, m.Arch, m.Go, m.Disk = runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), diskKind(dir)
	began := time.Now()
	say := func(what string) {
		if !c.JSON {
			fmt.Fprintf(r.stderr, "%4.0fs  %s\n", time.Since(began).Seconds(), what)
		}
	}
	if err := g.all(ctx, &report, say); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	report.Seconds = time.Since(began).Seconds()
	if c.JSON {
		e := json.NewEncoder(r.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.print(r)
	}
	if err == nil && len(report.Missed) > 0 {
		err = errFailed
	}
	return err
}

// all makes every measurement that was asked for, in order.
func (g *rig) all(ctx context.Context, b *benchReport, say func(string)) error {
	want := func(names ...string) bool {
		return len(g.cmd.Only) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(g.cmd.Only, n) })
	}
	var before float64
	var err error
	rates := want("ceiling", "one", "batch", "flood")
	if rates {
		say("the ceiling: a bare net/http client loop, 300-byte POSTs, 64 connections")
		if before, err = g.ceiling(ctx); err != nil {
			return err
		}
	}
	type step struct {
		name, says string
		run        func(context.Context, *benchReport) error
	}
	for _, s := range []step{
		{"one", "one event a request", g.benchOne},
		{"batch", "100 events a request", g.benchBatch},
		{"flood", "100 events a request, nothing held back", g.benchFlood},
	} {
		if want(s.name) {
			say(s.says)
			if err := s.run(ctx, b); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if rates {
		say("the ceiling again")
		after, err := g.ceiling(ctx)
		if err != nil {
			return err
		}
		b.addRates(before, after, g.targets())
	}
	for _, s := range []step{
		{"updates", "investor updates, and plain publishing in turn", g.benchUpdates},
		{"latency", "publish to arrival at 50 events/s", g.benchLatency},
		{"stored", "with many stored events against an empty store", g.benchStored},
		{"hang", "20 webhooks, every fifth hanging, against none", g.benchHang},
		{"memory", "memory, idle and with many deliveries waiting", g.benchMemory},
		{"rollups", "with the dashboard's numbers and without, in turn", g.benchRollups},
		{"pages", "the dashboard's pages on a filled store", g.benchPages},
	} {
		if want(s.name) {
			say(s.says)
			if err := s.run(ctx, b); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return errors.Join(ctx.Err(), g.shared(ctx, b, want, say))
}

// shared makes the measurements of nodes that share a database.
func (g *rig) shared(ctx context.Context, b *benchReport, want func(...string) bool, say func(string)) error {
	if g.cmd.Database == "" {
		return nil
	}
	if want("nodes") {
		say("1, 2 and 4 nodes, receivers that take 50 ms")
		if err := g.benchNodes(ctx, b); err != nil {
			return fmt.Errorf("nodes: %w", err)
		}
	}
	if want("takeover") {
		say("a node killed with accepted work")
		if err := g.benchTakeover(ctx, b); err != nil {
			return fmt.Errorf("takeover: %w", err)
		}
	}
	return nil
}

// targets are what delivered over the ceiling must reach, and what is reached for.
func (g *rig) targets() map[string][2]float64 {
	if g.cmd.Database != "" {
		return map[string][2]float64{"batch": {0.3, 0.45}, "one": {0.15, 0.25}}
	}
	return map[string][2]float64{"batch": {0.6, 0.9}, "one": {0.25, 0.35}}
}

// addRates turns the runs into rows, as ratios to the mean of both ceilings.
func (b *benchReport) addRates(before, after float64, targets map[string][2]float64) {
	mean := (before + after) / 2
	var rows benchReport
	rows.add("ceiling, before and after: "+fmt.Sprintf("%.0f and %.0f", before, after), mean, "requests/s")
	for _, x := range []struct {
		name, what string
	}{
		{"batch", "delivered, 100 events a request"},
		{"one", "delivered, one event a request"},
		{"flood", "delivered, 100 a request, nothing held back"},
	} {
		t, ok := b.Runs[x.name]
		if !ok {
			continue
		}
		rows.add(x.what, t.PerSecond, "deliveries/s")
		target, targeted := targets[x.name]
		switch {
		case targeted:
			rows.target("  over the ceiling", t.PerSecond/mean, "×", target[0], target[1], false)
		default:
			rows.add("  over the ceiling", t.PerSecond/mean, "×")
			rows.add("  accepted meanwhile", t.Published, "events/s")
		}
		rows.add("  CPU of serve, per 1,000", t.ServeCPU, "s")
		rows.add("  CPU of the receiver, per 1,000", t.ReceiverCPU, "s")
		rows.add("  CPU of the publisher, per 1,000", t.BenchCPU, "s")
		for i := range rows.Missed {
			rows.Missed[i] = strings.Replace(rows.Missed[i], "  over", x.what+" over", 1)
		}
	}
	b.Rows = append(rows.Rows, b.Rows...)
	b.Missed = append(b.Missed, rows.Missed...)
}

// print writes the table.
func (b *benchReport) print(r *run) error {
	m := b.Machine
	r.printf("\nqhook bench on this machine: %d CPUs, %s/%s, %s, data on %s; %.0f s.\n\n", m.CPUs, m.OS, m.Arch, m.Go, m.Disk, b.Seconds)
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tMUST REACH\tREACH FOR\tMET?")
	for _, x := range b.Rows {
		must, reach, met := "", "", ""
		if x.Must != nil && x.Reach != nil && x.Met != nil {
			must, reach, met = figure(*x.Must, x.Unit), figure(*x.Reach, x.Unit), "NO"
			if *x.Met {
				met = "yes"
				if (x.Less && x.Measured <= *x.Reach) || (!x.Less && x.Measured >= *x.Reach) {
					met = "yes, both"
				}
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.What, figure(x.Measured, x.Unit), must, reach, met)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(b.Missed) > 0 {
		r.printf("\nNot reached: %s.\n", strings.Join(b.Missed, "; "))
	}
	return nil
}

func figure(v float64, unit string) string {
	prec := 2
	switch {
	case unit == "s":
		prec = 3
	case v >= 1000:
		prec = 0
	case v >= 100 || unit == "MB":
		prec = 1
	}
	return fmt.Sprintf("%.*f %s", prec, v, unit)
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

var errNoLatencies = errors.New("the receiver recorded no arrivals")
