package app

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// LimitMemory tells the garbage collector of the process to stay below three quarters of what the process may have, by
// its control group (v2) or one above it; the rest is for the stacks and files that it does not count. It does nothing
// where GOMEMLIMIT is set or no group has a limit. It is for the whole process, so it is no part of New.
func LimitMemory(log *slog.Logger) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	of, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return
	}
	if limit := groupLimit("/sys/fs/cgroup", string(of)); limit > 0 {
		debug.SetMemoryLimit(limit / 4 * 3)
		log.Info("memory is limited", "group", limit, "limit", limit/4*3)
	}
}

// FreeMemory gives back what only the start needed: the migrations' buffers, the certificates' text, the garbage. The
// collector would keep it for minutes on a node that has little to do. It is for the whole process, so it is no part of
// Start.
func FreeMemory() {
	runtime.GC() // what is pooled goes with the second collection
	debug.FreeOSMemory()
}

// groupLimit is the least memory.max from a process's group up to the root, bytes; 0: there is none. of is the
// process's /proc/self/cgroup. In a container the root is the container's own group.
func groupLimit(root, of string) (least int64) {
	var path string
	for line := range strings.Lines(of) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			path = filepath.Clean("/" + strings.TrimSpace(p))
		}
	}
	for ; path != ""; path = filepath.Dir(path) {
		b, err := os.ReadFile(filepath.Join(root, path, "memory.max"))
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil && n > 0 &&
			(least == 0 || n < least) {
			least = n
		}
		if path == "/" {
			break
		}
	}
	return least
}
