package pgserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Installed tells whether there is a PostgreSQL to start. Errors: ErrNone.
func Installed() error {
	_, err := findBin()
	return err
}

// findBin finds the folder of PostgreSQL's programs: that of the path, else the newest of Debian's. Errors: ErrNone.
func findBin() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil && runs(filepath.Dir(p)) {
			return filepath.Dir(p), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	newest, dir := 0, ""
	for _, d := range found {
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(d))); err == nil && v > newest && runs(d) {
			newest, dir = v, d
		}
	}
	if dir == "" {
		return "", ErrNone
	}
	return dir, nil
}

// runs tells whether dir has the programs that are used.
func runs(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// credential is whom the server runs as: postgres refuses to run as root. Nil is the user of this process.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user postgres nor a user nobody")
}

// maxDir is the most bytes of the folder's name: the name of a Unix socket has at most 107, ".s.PGSQL.65535" included.
const maxDir = 90

// makeDir makes the server's folder where its user can get to it.
func makeDir(as *syscall.Credential) (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if as != nil && !openToAll(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "qhook-pg")
		if err != nil {
			continue
		}
		if len(dir) <= maxDir && (as == nil || os.Chown(dir, int(as.Uid), int(as.Gid)) == nil) {
			return dir, nil
		}
		_ = os.Remove(dir)
	}
	return "", errors.New("found no temporary folder that PostgreSQL can use; set TMPDIR to one with a short name that every user can enter")
}

// openToAll tells whether every user may pass through dir and all folders above it.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// nextPort is where FreePort looks next: it gives none twice, so that many servers that start at once do not meet.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(17000)) }

// FreePort finds a free port below those that systems take for outgoing connections: no connection can take it while
// its server is stopped, not even one that tries to reach that server.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 15000 + int(nextPort.Add(1)%17000)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
