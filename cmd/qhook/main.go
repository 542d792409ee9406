// Command qhook sends signed webhooks. See internal/cli for its commands, or run qhook --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/quantfolio/qhook/internal/cli"
)

func main() {
	// Whoever reads what is printed may go: writing fails then, and nothing else. Nobody needs to receive the signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup asks for
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
