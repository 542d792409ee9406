//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// action is what happens at the nth time that a point is reached, and for delays at every later one too.
type action struct {
	nth   int64
	kill  bool
	delay time.Duration
	hits  atomic.Int64

	after Point // counting begins when this one was reached so many times; empty: at once
	times int64
}

var (
	actions = sync.OnceValue(func() map[Point]*action { return parse(os.Getenv(Setting)) })
	mu      sync.Mutex
	reached = map[Point]int64{}
)

func parse(setting string) map[Point]*action {
	all := map[Point]*action{}
	for s := range strings.SplitSeq(setting, ",") {
		if s == "" {
			continue
		}
		point, what, _ := strings.Cut(s, "=")
		a, err := parseOne(strings.Split(what, ":"))
		if err != nil {
			panic(fmt.Sprintf("%s: %q: %v", Setting, s, err))
		}
		all[Point(point)] = a
	}
	return all
}

func parseOne(f []string) (a *action, err error) {
	a = &action{kill: f[0] == "kill"}
	if a.nth, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return nil, err
	}
	switch {
	case !a.kill:
		a.delay, err = time.ParseDuration(f[2])
	case len(f) > 2:
		a.after = Point(f[2])
		a.times, err = strconv.ParseInt(f[3], 10, 64)
	}
	return a, err
}

// Hit does what the environment asks for at the point, and says on the standard error when it is the first time.
func Hit(p Point) {
	all := actions()
	if len(all) == 0 {
		return
	}
	mu.Lock()
	reached[p]++
	a := all[p]
	counts := a != nil && (a.after == "" || reached[a.after] >= a.times)
	mu.Unlock()
	if !counts {
		return
	}
	n := a.hits.Add(1)
	if n == a.nth {
		fmt.Fprintln(os.Stderr, "failpoint reached:", p)
	}
	switch {
	case a.kill && n == a.nth:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case !a.kill && n >= a.nth:
		time.Sleep(a.delay)
	}
}
