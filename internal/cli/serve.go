package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quantfolio/qhook/internal/app"
)

type serveCmd struct {
	app.Config `embed:""`
}

// Help is the long help of serve.
func (serveCmd) Help() string {
	return `The first start makes the data folder, the default tenant and an admin key, which the terminal shows; later starts find
what is there. SIGTERM, SIGINT and SIGHUP stop it: /readyz says no at once, after --drain no new requests are taken, what is in
flight finishes within --stop-timeout, and nothing accepted is lost either way. A second signal ends it at once. Logs go
to standard error.

Examples:

    qhook serve
    qhook serve --listen 0.0.0.0:8080 --data /var/lib/qhook --log-format json
    qhook serve --allow-network 127.0.0.0/8 --allow-http     to try it out on this machine`
}

// Lines that bench and tests read; see startProcess.
const (
	listeningLine = "qhook is listening on "
	keyLine       = "    Admin key: "
)

// Run serves until a signal or a fatal error.
func (s *serveCmd) Run(r *run) error {
	unknown, foreign := r.otherSettings()
	if len(unknown) > 0 {
		return usageError("unknown settings in the environment: " + strings.Join(unknown, ", ") +
			" (qhook serve --help lists them)")
	}
	log := newLogger(r.stderr, s.Config)
	stdlog.SetFlags(0)
	stdlog.SetOutput(debugLines{log})
	if len(foreign) > 0 {
		log.Info("variables that an orchestrator sets for a service are ignored", "names", strings.Join(foreign, ", "))
	}
	if err := app.NoDump(); err != nil {
		log.Warn("a core dump would have secrets", "error", err)
	}
	app.LimitMemory(log)
	a, err := app.New(r.ctx, s.Config, log)
	if err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	// The app ends by Stop, not by the context: a signal must not cut off what is in flight.
	if err := a.Start(context.WithoutCancel(r.ctx)); err != nil {
		return errors.Join(fmt.Errorf("cannot start: %w", err), stopApp(r.ctx, a))
	}
	if err := s.showFirst(r, log, a); err != nil {
		return errors.Join(err, stopApp(r.ctx, a))
	}
	r.printf("%s%s\n", listeningLine, a.URL())
	app.FreeMemory()

	if err := waitApp(r.ctx, a); err != nil {
		return errors.Join(fmt.Errorf("stopped by a fatal error: %w", err), stopApp(r.ctx, a))
	}
	log.Info("stopping; a second signal ends the process at once", "cause", context.Cause(r.ctx))
	err = stopApp(r.ctx, a)
	log.Info("stopped", "left", err)
	return err
}

// showFirst tells the operator the credentials that this start made: on the terminal, or in a file that only its owner
// reads, so that they are in no log. Until they are used, each start makes and shows new ones.
func (s *serveCmd) showFirst(r *run, log *slog.Logger, a *app.App) error {
	var b strings.Builder
	if key := a.FirstAdminKey(); key != "" {
		fmt.Fprintf(&b, "\n%s%s\n    It is kept nowhere; keep it safe. Use it as: Authorization: Bearer <key>\n\n",
			keyLine, key)
	}
	if link := a.FirstLink(); link != "" {
		fmt.Fprintf(&b, "    Dashboard: %s%s\n    This link signs you in once, within 24 hours. Later, sign in with an API key.\n\n",
			a.PublicURL(), link)
	}
	path := filepath.Join(s.Data, firstFile)
	if b.Len() == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // what was in it is used by now
			log.Warn("the file with the first credentials could not be removed", "error", err)
		}
		return nil
	}
	if isTerminal(r.stdout) {
		r.printf("%s", b.String())
		return nil
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	_ = os.Remove(path) // whatever its mode was
	if err := os.WriteFile(path, []byte(strings.TrimLeft(b.String(), "\n")), 0o600); err != nil {
		return fmt.Errorf("write the first credentials: %w", err)
	}
	r.printf("\n    How to sign in is in %s, which only its owner can read.\n\n", path)
	return nil
}

// firstFile is the file in the data folder that has the first credentials, where no terminal shows them.
const firstFile = "first-sign-in.txt"

// isTerminal tells whether what is written is seen by a person, and kept nowhere.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// waitApp waits for a fatal error of the app, or for ctx to end.
func waitApp(ctx context.Context, a *app.App) error {
	ended := make(chan error, 1) // sent once by the goroutine below, which Stop ends; never closed
	go func() { ended <- a.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

func stopApp(ctx context.Context, a *app.App) error {
	if err := a.Stop(context.WithoutCancel(ctx)); err != nil { // it bounds itself
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// debugLines has what libraries write to the standard log be debug lines of the server's: net/http writes one about
// some answers, so that a receiver could fill the log.
type debugLines struct{ log *slog.Logger }

// Write takes a line.
func (d debugLines) Write(line []byte) (int, error) {
	d.log.Debug("a library says", "line", strings.TrimSpace(string(line)))
	return len(line), nil
}

// newLogger makes the log of a server as configured; kong has checked both settings.
func newLogger(w io.Writer, cfg app.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
