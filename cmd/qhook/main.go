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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
