package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child that runs another command of this binary.
type process struct {
	name   string // of the command
	cmd    *exec.Cmd
	stdin  io.Closer
	tail   *tail
	exited chan struct{} // closed once the child was waited for
	lines  chan string   // sent and closed by the reader of its standard output; what nobody takes is dropped
}

// limited runs the program $0 with $1 descriptors; its arguments follow.
const limited = `ulimit -n "$1"; shift; exec "$0" "$@"`

// startProcess starts the binary with args, only our settings in its environment, and (unless 0) so many descriptors.
func (g *rig) startProcess(args, env []string, files int) (*process, error) {
	name, all := g.Binary, args
	if files > 0 {
		name, all = "/bin/sh", append([]string{"-c", limited, g.Binary, strconv.Itoa(files)}, args...)
	}
	p := &process{name: args[0], cmd: exec.Command(name, all...), tail: &tail{}, exited: make(chan struct{}),
		lines: make(chan string, 64)}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, g.EnvPrefix) {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.tail
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the parent, which stops its children
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default:
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	go func() {
		defer close(p.exited)
		_, _ = p.cmd.Process.Wait()
	}()
	return p, nil
}

// startTime bounds a start: one with very many webhooks takes its time.
const startTime = time.Minute

var errNotStarted = fmt.Errorf("said nothing for %v", startTime)

// awaitLine returns what follows prefix on the first line that has it.
func (p *process) awaitLine(ctx context.Context, prefix string) (string, error) {
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-limit.C:
			return "", fmt.Errorf("%s %w: %s", p.name, errNotStarted, p.tail)
		case line, ok := <-p.lines:
			if !ok {
				return "", fmt.Errorf("%s ended: %s", p.name, p.tail)
			}
			if rest, found := strings.CutPrefix(line, prefix); found {
				return strings.TrimSpace(rest), nil
			}
		}
	}
}

// stop asks the process to end, and kills it after ten seconds.
func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// tail keeps the last 2 KiB written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write keeps the end of p.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - 2048; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// clockTicks is the kernel's USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

// cpuTime is the processor time that a process has used, user and system.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; the fields after it are numbers, utime and stime the 12th and 13th.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("unreadable /proc stat")
	}
	u, err1 := strconv.ParseInt(f[11], 10, 64)
	y, err2 := strconv.ParseInt(f[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	return time.Duration(u+y) * time.Second / clockTicks, nil
}

// memory is a process's resident size and the largest it has been, bytes.
func memory(pid int) (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "VmRSS:":
			now, err = strconv.ParseInt(f[1], 10, 64)
		case "VmHWM:":
			peak, err = strconv.ParseInt(f[1], 10, 64)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return now << 10, peak << 10, nil
}
