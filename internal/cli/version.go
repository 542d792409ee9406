package cli

import (
	"runtime/debug"

	"github.com/quantfolio/qhook/internal/app"
)

type versionCmd struct{}

// Run prints the version, the commit and the Go version.
func (versionCmd) Run(r *run) error {
	commit, goVersion := "", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		goVersion = b.GoVersion
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				commit = s.Value[:12]
			}
		}
	}
	r.printf("qhook %s", app.Version)
	if commit != "" {
		r.printf(" commit %s", commit)
	}
	r.printf(" %s\n", goVersion)
	return nil
}
