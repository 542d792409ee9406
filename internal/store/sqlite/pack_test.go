package sqlite

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// noise is so many characters that cannot be packed.
func noise(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return hex.EncodeToString(b)[:n]
}

// TestPacked: data comes back byte for byte, whether it is worth packing or not, on every way that it is read.
func TestPacked(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "q.db")
	db := mustOpen(t, path, mustRing(t))
	if err := db.CreateTenant(ctx, store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateWebhook(ctx, newWebhook("a")); err != nil {
		t.Fatal(err)
	}
	fill := func(n int, of func(int) string) string { return `{"x":"` + of(n-len(`{"x":""}`)) + `"}` }
	same := func(n int) string { return strings.Repeat("ä", n/2) + strings.Repeat("x", n%2) }
	var want []string
	for _, n := range []int{8, packFrom - 1, packFrom, packFrom + 1, 8 << 10, event.MaxSize - 200} {
		want = append(want, fill(n, same), fill(n, noise))
	}
	for i, data := range want {
		mustAccept(t, db, i+1, data)
	}
	var packed int
	if err := db.rdb.QueryRowContext(ctx,
		`SELECT count(packed) FROM events WHERE data = ''`).Scan(&packed); err != nil {
		t.Fatal(err)
	}
	if packed != 4 {
		t.Errorf("%d events are packed, want 4", packed)
	}
	list, err := db.ListEvents(ctx, "a", store.EventFilter{}, 0, 100)
	if err != nil || len(list) != len(want) {
		t.Fatalf("ListEvents = %d events, %v, want %d", len(list), err, len(want))
	}
	for i := range list {
		if got := string(list[len(want)-1-i].Event.Data); got != want[i] {
			t.Errorf("the data of event %d has %d bytes, want the %d that were stored", i+1, len(got), len(want[i]))
		}
		if again := mustAccept(t, db, i+1, want[i]); !again.Events[0].Duplicate {
			t.Errorf("event %d again is a new one, want a duplicate", i+1)
		}
	}
}

// TestPackedBroken: what was changed on the disk is an error, and no memory is taken for what it claims.
func TestPackedBroken(t *testing.T) {
	t.Parallel()
	var p packer
	whole := p.pack([]byte(`{"x":"` + strings.Repeat("x", 4000) + `"}`))
	for name, b := range map[string][]byte{
		"cut": whole[:len(whole)-1], "length only": whole[:2], "huge": {0xff, 0xff, 0xff, 0xff, 0x0f,
			0}, "no length": {0xff},
	} {
		if data, err := unpack(b); err == nil {
			t.Errorf("unpack(%s) = %d bytes, want an error", name, len(data))
		} else if s := fmt.Sprint(err); strings.Contains(s, "%!") {
			t.Errorf("unpack(%s) = %s", name, s)
		}
	}
}
