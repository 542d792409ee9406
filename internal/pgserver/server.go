package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Time limits; together with initdb's they stay below a minute.
const (
	initTime  = 25 * time.Second
	readyTime = 20 * time.Second
	stopTime  = 10 * time.Second
)

// Mode is how a server is stopped.
type Mode syscall.Signal

// The modes, in PostgreSQL's words.
const (
	Fast      = Mode(syscall.SIGINT)  // sessions are broken off, everything is written
	Immediate = Mode(syscall.SIGQUIT) // like a crash: nothing is written, the next start recovers
)

// Option changes how a server is run.
type Option func(*options)

type options struct {
	fsync    bool
	settings []string
}

// WithFsync flushes to the disk as a server in earnest does. Without it the server is quicker, and still loses nothing
// when it is killed, only when the machine is.
func WithFsync() Option { return func(o *options) { o.fsync = true } }

// WithSetting sets one of the server's settings, as name=value.
func WithSetting(setting string) Option {
	return func(o *options) { o.settings = append(o.settings, setting) }
}

// Server is a PostgreSQL server. Its user is postgres, without a password, on 127.0.0.1 and on a socket in its folder.
// Its methods are for one goroutine at a time.
type Server struct {
	base *url.URL // of any database on it

	// The rest is unset for a server that this package did not start.
	dir, bin string
	as       *syscall.Credential // nil: the user of this process
	options
	port    int
	cmd     *exec.Cmd
	done    chan struct{}  // closed when the process has ended
	watcher *exec.Cmd      // removes the folder
	leash   io.WriteCloser // ends watcher when it is closed, or when this process has ended
}

// ErrNone says that there is no PostgreSQL on this machine.
var ErrNone = errors.New("no PostgreSQL on this machine: install version 15 or newer")

// Start makes a server and waits until it answers.
func Start(opts ...Option) (*Server, error) {
	s := &Server{}
	for _, o := range opts {
		o(&s.options)
	}
	var err error
	if s.bin, err = findBin(); err != nil {
		return nil, err
	}
	if s.as, err = credential(); err != nil {
		return nil, err
	}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	if s.dir, err = makeDir(s.as); err != nil {
		return nil, err
	}
	s.base = &url.URL{Scheme: "postgres", User: url.User("postgres"), Host: "127.0.0.1:" + strconv.Itoa(s.port),
		RawQuery: "sslmode=disable"}
	if err := s.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Run(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// cleanUp waits for its input to end, which it does when this process ends in whatever way, then ends the server if it
// still runs and removes the folder.
const cleanUp = `cat >/dev/null
pid=$(head -n 1 data/postmaster.pid 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
i=0
while [ -e data/postmaster.pid ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
rm -rf "$1"`

func (s *Server) watch() (err error) {
	s.watcher = s.Command(context.Background(), "/bin/sh", "-c", cleanUp, "sh", s.dir)
	if s.leash, err = s.watcher.StdinPipe(); err != nil {
		return err
	}
	if err := s.watcher.Start(); err != nil {
		return fmt.Errorf("start the watcher: %w", err)
	}
	return nil
}

func (s *Server) init() error {
	ctx, cancel := context.WithTimeout(context.Background(), initTime)
	defer cancel()
	cmd := s.Command(ctx, filepath.Join(s.bin, "initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "-N")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// Run starts the process, which runs after Start and until Stop, and waits until it answers.
func (s *Server) Run() error {
	logs, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logs.Close()
	flush := "off"
	if s.fsync {
		flush = "on"
	}
	args := []string{"-D", "data", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "fsync=" + flush,
		"-c", "full_page_writes=" + flush, "-c", "shared_buffers=16MB", "-c", "max_connections=100"}
	for _, x := range s.settings {
		args = append(args, "-c", x)
	}
	s.cmd = s.Command(context.Background(), filepath.Join(s.bin, "postgres"), args...)
	s.cmd.Stdout, s.cmd.Stderr = logs, logs
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() { _ = cmd.Wait(); close(done) }()
	if err := s.ready(); err != nil {
		return fmt.Errorf("%w; its log ends:\n%s", err, s.LogTail())
	}
	return nil
}

func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.done:
			return errors.New("postgres ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("postgres was not ready in %v: %w", readyTime, err)
		case <-again.C:
		}
	}
}

// Stop ends the process if it runs, and waits for it and its children.
func (s *Server) Stop(m Mode) error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.Signal(m)) // it may have ended
	limit := time.NewTimer(stopTime)
	defer limit.Stop()
	select {
	case <-s.done:
		return nil
	case <-limit.C:
		_ = s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("postgres did not stop in %v and was killed", stopTime)
	}
}

// Close ends everything and removes the folder.
func (s *Server) Close() error {
	if s.leash == nil {
		return nil
	}
	err := errors.Join(s.Stop(Immediate), s.leash.Close(), s.watcher.Wait())
	s.leash = nil
	return err
}

// Command is a command in the server's folder, as its user, in a process group of its own, so that Ctrl-C does not
// reach it, and without PostgreSQL's variables.
func (s *Server) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return cmd
}

// LogTail is the end of the server's log.
func (s *Server) LogTail() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// At is a server that this package did not start: it makes databases on it, and nothing else.
func At(base *url.URL) *Server { return &Server{base: base} }

// Dir is the server's folder; empty for one that this package did not start.
func (s *Server) Dir() string { return s.dir }

// URL is how to connect to a database of the server.
func (s *Server) URL(database string) string {
	u := *s.base
	u.Path = "/" + database
	return u.String()
}

// Exec runs sql outside of the databases that were made.
func (s *Server) Exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at := s.base.String()
	if s.dir != "" {
		at = s.URL("postgres")
	}
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}
