package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Freeze stops every process of the server where it is, as a host or a disk that hangs does: connections stay, new ones
// are taken by the kernel, and nothing answers. It goes on when thaw is called, or with the end of the test.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	var frozen []int
	thaw = func() {
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended
		}
		frozen = nil
	}
	t.Cleanup(thaw)
	stop := func(pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatalf("freeze process %d: %v", pid, err)
		}
		frozen = append(frozen, pid)
	}
	file := filepath.Join(s.Command(context.Background(), "").Dir, "data", "postmaster.pid")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	server, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	stop(server) // first, so that it starts no others
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && parent(pid) == server {
			stop(pid)
		}
	}
	return thaw
}

// parent is the parent of a process; 0: it has ended.
func parent(pid int) int {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ") // the name of the program, in brackets, may have anything
	if f := strings.Fields(rest); len(f) > 1 {
		ppid, _ := strconv.Atoi(f[1])
		return ppid
	}
	return 0
}
