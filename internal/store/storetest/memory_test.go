package storetest

import (
	"testing"

	"github.com/quantfolio/qhook/internal/store"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	RunJournal(t, func(*testing.T) store.Journal { return NewMemory() })
}
