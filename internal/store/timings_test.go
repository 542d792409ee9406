package store_test

import (
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

func TestTimings(t *testing.T) {
	ms := time.Millisecond
	for _, want := range []store.Timings{
		{}, {FirstByte: 3 * ms}, {DNS: ms}, {DNS: 5 * time.Microsecond, Connect: 2 * ms, TLS: 300 * ms,
			FirstByte: 12 * time.Second},
	} {
		b := want.Append(nil)
		if got := store.ParseTimings(b); got != want {
			t.Errorf("ParseTimings(%x) = %v, want %v", b, got, want)
		}
		if len(b) > 12 {
			t.Errorf("%v takes %d bytes, want at most 12", want, len(b))
		}
	}
	if b := (store.Timings{DNS: ms}).Append(nil); len(b) != 2 {
		t.Errorf("one phase takes %d bytes, want 2", len(b))
	}
	for _, b := range []string{"\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\xff"} {
		if got := store.ParseTimings([]byte(b)); got.TLS != 0 || got.FirstByte != 0 {
			t.Errorf("ParseTimings(%x) = %v, want nothing of it", b, got)
		}
	}
}
