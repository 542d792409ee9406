package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/quantfolio/qhook/internal/bench"
	"github.com/quantfolio/qhook/internal/event"
)

// Exit codes of Run.
const (
	exitOK    = 0
	exitError = 1 // the command ran and failed
	exitUsage = 2 // the command line or a setting is wrong
)

const envPrefix = "QHOOK_"

const description = `Quantfolio Webhooks: an event in, signed webhooks out.

Settings can also come from the environment, under the QHOOK_ names that each command's help shows.

Try it:

    qhook demo                                  the whole way, in one command
    qhook serve --allow-network 127.0.0.0/8     a server that may send to this machine
    qhook listen --signing-key KEY              a receiver that prints and verifies
    qhook trigger qap.investor.created          publish an example event`

// commands is the whole command line; kong reads its tags.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Show the whole way of all nine event types, on a temporary server."`
	Listen  listenCmd  `cmd:"" help:"Receive webhooks on this machine: print, verify, and fail on demand."`
	Trigger triggerCmd `cmd:"" help:"Publish an example event of a type."`
	Relay   relayCmd   `cmd:"" help:"Move events from the outbox in a platform's PostgreSQL to the server."`
	Verify  verifyCmd  `cmd:"" help:"Check a signature by hand."`
	Keys    keysCmd    `cmd:"" help:"List, create and delete API keys."`
	Migrate migrateCmd `cmd:"" help:"Bring a PostgreSQL database's schema up to date."`
	Doctor  doctorCmd  `cmd:"" help:"Look at a PostgreSQL database and say what to do."`
	Copy    copyCmd    `cmd:"" help:"Copy everything from one store to another: data folder or PostgreSQL."`
	Backup  backupCmd  `cmd:"" help:"Copy a data folder's database to a file, while the server runs."`
	Restore restoreCmd `cmd:"" help:"Put a backup into a data folder."`
	Bench   benchCmd   `cmd:"" help:"Measure speed and size on this machine."`
	Version versionCmd `cmd:"" help:"Print the version."`

	BenchReceiver benchReceiverCmd `cmd:"" hidden:"" help:"The receiver of bench, in a process of its own."`
}

// run is what a command gets: where it reads and writes, and when to stop.
type run struct {
	ctx    context.Context
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	knobs  []string // the environment names that some flag has
}

func (r *run) printf(format string, a ...any) { fmt.Fprintf(r.stdout, format, a...) }

// errFailed ends a command with exitError when it has said everything already.
var errFailed = errors.New("failed")

// Run is the command line: args without the program's name, env the process's environment (kong fills flags from it;
// here it tells unknown settings). It returns the exit code: 0, 1 when the command failed, 2 when the command line or a
// setting is wrong. Cancelling ctx stops the command gracefully.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	type exit int // kong calls this for --help
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(exit)
			if !ok {
				panic(v)
			}
			code = int(e)
		}
	}()
	r := &run{ctx: ctx, env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	var c commands
	k, err := kong.New(&c,
		kong.Name("qhook"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.PostBuild(nameSettings), kong.Bind(r), kong.Resolvers(secretFiles{env}),
		kong.Vars{"bench_names": strings.Join(bench.Names(), ", ")},
	)
	if err != nil {
		fmt.Fprintln(stderr, "qhook:", err)
		return exitUsage
	}
	r.knobs = envNames(k.Model.Node)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := k.Parse(asked(args))
	if err != nil {
		fmt.Fprintf(stderr, "qhook: %v\nSee: %s --help\n", err, commandOf(err))
		return exitUsage
	}
	switch err := kctx.Run(); {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitError
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "qhook: %v\nSee: %s --help\n", err, kctx.Selected().FullPath())
		return exitUsage
	default:
		fmt.Fprintln(stderr, "qhook:", err)
		return exitError
	}
}

// asked has the ways in which people ask for help and the version be what kong knows.
func asked(args []string) []string {
	switch args[0] {
	case "help":
		return append(slices.Clone(args[1:]), "--help")
	case "--version", "-v", "-version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// commandOf is the command that an error of the command line is about, as far as it was understood.
func commandOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) {
		for _, at := range slices.Backward(p.Context.Path) {
			if at.Command != nil {
				return at.Command.FullPath()
			}
		}
	}
	return "qhook"
}

// usageError is a wrong command line or setting that kong cannot see.
type usageError string

func (e usageError) Error() string { return string(e) }

// nameSettings gives every flag of serve its name in the environment: QHOOK_ and the flag's name in capitals.
func nameSettings(k *kong.Kong) error {
	for _, c := range k.Model.Children {
		if c.Name != "serve" {
			continue
		}
		for _, f := range c.Flags {
			if f.Name != "help" && len(f.Envs) == 0 {
				name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
				f.Envs, f.Tag.Envs = []string{name}, []string{name}
			}
		}
	}
	return nil
}

// envNames lists the environment names of every flag below n.
func envNames(n *kong.Node) []string {
	var names []string
	for _, f := range n.Flags {
		names = append(names, f.Tag.Envs...)
		if f.Tag.Has("secret") {
			for _, name := range f.Tag.Envs {
				names = append(names, name+fileSuffix)
			}
		}
	}
	for _, c := range n.Children {
		names = append(names, envNames(c)...)
	}
	return names
}

// injected are the names that Kubernetes and Docker give to variables about a service that is called qhook, or qhook
// and more (Kubernetes: Service, "Environment variables").
var injected = regexp.MustCompile(`^QHOOK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$`)

// otherSettings lists what env sets with our prefix and no flag takes: unknown, which is a mistake, and foreign, which
// an orchestrator set. QHOOK_TEST_* is left to the tests.
func (r *run) otherSettings() (unknown, foreign []string) {
	for _, kv := range r.env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix), strings.HasPrefix(name,
			envPrefix+"TEST_"), slices.Contains(r.knobs, name):
		case injected.MatchString(name):
			foreign = append(foreign, name)
		default:
			if meant := event.Closest(name, r.knobs); meant != "" {
				name += " (did you mean " + meant + "?)"
			}
			unknown = append(unknown, name)
		}
	}
	return unknown, foreign
}
