package cli

import (
	"slices"
	"strings"
	"testing"
)

// TestOtherSettings: what an orchestrator sets for a service of our name is told from a mistake.
func TestOtherSettings(t *testing.T) {
	t.Parallel()
	foreign := []string{"QHOOK_PORT=tcp://10.0.0.1:80", "QHOOK_SERVICE_HOST=10.0.0.1", "QHOOK_SERVICE_PORT=80",
		"QHOOK_SERVICE_PORT_HTTP=80",
		"QHOOK_PORT_80_TCP=tcp://10.0.0.1:80", "QHOOK_PORT_80_TCP_ADDR=10.0.0.1", "QHOOK_PORT_80_TCP_PORT=80", "QHOOK_PORT_80_TCP_PROTO=tcp",
		"QHOOK_API_SERVICE_HOST=10.0.0.2", "QHOOK_API_PORT_443_TCP=tcp://10.0.0.2:443"}
	mistakes := []string{"QHOOK_PORTS=1", "QHOOK_SERVICE=1", "QHOOK_LISTN=:1", "QHOOK_PORT_TCP=1"}
	fine := []string{"QHOOK_LISTEN=:1", "QHOOK_TEST_X=1", "PORT=1"}
	r := &run{env: slices.Concat(foreign, mistakes, fine), knobs: []string{"QHOOK_LISTEN", "QHOOK_DATA"}}
	unknown, ignored := r.otherSettings()
	if len(ignored) != len(foreign) || len(unknown) != len(mistakes) ||
		!strings.Contains(strings.Join(unknown, " "), "did you mean QHOOK_LISTEN?") {
		t.Errorf("otherSettings() = %q, %q, want %q and %q", unknown, ignored, mistakes, foreign)
	}
}
