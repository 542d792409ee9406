package app

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// NoDump keeps what the process has in memory, secrets among it, off the disk: it leaves no core dump (core(5)), and no
// other process of the same user reads its memory (PR_SET_DUMPABLE(2const)). The limit alone would not do: a program
// that core dumps are piped to gets them whatever it is. It is for the whole process, so it is no part of New.
func NoDump() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
