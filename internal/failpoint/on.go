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

// On tells whether the program was built with failpoints.
const On = true

// action is what happens at the nth time that a point is reached, and for delays at every later one too.
type action struct {
	nth   int64
	kill  bool
	delay time.Duration
	hits  atomic.Int64
}

// actions come from QHOOK_FAILPOINTS: point=kill:N or point=delay:N:DURATION, separated by commas.
var actions = sync.OnceValue(func() map[Point]*action {
	all := map[Point]*action{}
	for _, s := range strings.Split(os.Getenv("QHOOK_FAILPOINTS"), ",") {
		if s == "" {
			continue
		}
		point, what, _ := strings.Cut(s, "=")
		f := strings.Split(what, ":")
		a := &action{kill: f[0] == "kill"}
		var err error
		if a.nth, err = strconv.ParseInt(f[1], 10, 64); err == nil && !a.kill {
			a.delay, err = time.ParseDuration(f[2])
		}
		if err != nil {
			panic(fmt.Sprintf("QHOOK_FAILPOINTS: %q: %v", s, err))
		}
		all[Point(point)] = a
	}
	return all
})

// Hit does what the environment asks for at the point.
func Hit(p Point) {
	a := actions()[p]
	if a == nil {
		return
	}
	n := a.hits.Add(1)
	switch {
	case a.kill && n == a.nth:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case !a.kill && n >= a.nth:
		time.Sleep(a.delay)
	}
}
