package cli

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"
)

// TestLibrariesAreQuiet: what a receiver can bring a library to say is no line of the log but at debug.
func TestLibrariesAreQuiet(t *testing.T) {
	for level, want := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		var b bytes.Buffer
		l := stdlog.New(debugLines{slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level}))}, "", 0)
		l.Print("protocol error: received DATA before a HEADERS frame")
		if said := strings.Contains(b.String(), "protocol error"); said != want {
			t.Errorf("at %v the log has %q, want the line: %v", level, &b, want)
		}
	}
}
