package app

import (
	"strings"
	"testing"
)

func TestDivide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, database int
		want            shares
	}{
		{256, 0, shares{256, 64, 48, 48, 48}},
		{1024, 0, shares{1024, 64, 240, 240, 240}},
		{1024, 10, shares{1024, 74, 237, 237, 238}},
		{1 << 20, 10, shares{1 << 20, 74, mostIncoming, mostKept, mostAttempts}},
	} {
		if got, err := divide(c.limit, c.database); err != nil || got != c.want {
			t.Errorf("divide(%d, %d) = %+v, %v, want %+v", c.limit, c.database, got, err, c.want)
		}
	}
	for _, c := range []struct {
		limit, database int
		want            string
	}{{255, 0, "at least 256"}, {1024, 1002, "at least 1258"}, {0, 0, "ulimit -n"}} {
		if _, err := divide(c.limit, c.database); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("divide(%d, %d) = %v, want an error with %q", c.limit, c.database, err, c.want)
		}
	}
}

// The parts never take more than there is.
func TestDivideStaysBelow(t *testing.T) {
	t.Parallel()
	for limit := range 20_000 {
		s, err := divide(limit, 10)
		if err != nil {
			continue
		}
		if sum := s.own + s.incoming + s.kept + 2*s.attempts; sum > limit {
			t.Fatalf("divide(%d) = %+v, which takes %d", limit, s, sum)
		}
		if min(s.incoming, s.kept, s.attempts) < 40 {
			t.Fatalf("divide(%d) = %+v: a part has next to nothing", limit, s)
		}
	}
}
