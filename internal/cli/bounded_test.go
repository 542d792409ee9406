package cli

import (
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/inbox"
)

// What verify reads is tried at its limit, one below and one above.
func TestReadBounded(t *testing.T) {
	t.Parallel()
	for n := inbox.MaxBody - 1; n <= inbox.MaxBody+1; n++ {
		b, err := readBounded(strings.NewReader(strings.Repeat(" ", n)), "it")
		if good := n <= inbox.MaxBody; good != (err == nil) || good && len(b) != n {
			t.Errorf("readBounded of %d bytes = %d, %v, want it taken: %v", n, len(b), err, good)
		}
	}
}
