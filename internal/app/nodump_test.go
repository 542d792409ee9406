package app

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoDump: what the process has in memory comes to no disk when it ends badly.
func TestNoDump(t *testing.T) {
	if os.Getenv("QHOOK_TEST_NO_DUMP") != "" {
		var l unix.Rlimit
		err := NoDump()
		dumpable, err2 := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		err3 := unix.Getrlimit(unix.RLIMIT_CORE, &l)
		fmt.Println("left:", l.Cur, l.Max, dumpable, err, err2, err3)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoDump$")
	cmd.Env = append(os.Environ(), "QHOOK_TEST_NO_DUMP=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "left: 0 0 0 <nil> <nil> <nil>") {
		t.Errorf("after NoDump: %v, %s; want no limit and nothing dumpable left", err, out)
	}
}
