package app

import (
	"fmt"
	"syscall"
)

// shares is how the descriptors that this process may open are divided, so that no part takes another's: publishers who
// connect cannot keep attempts from being made, nor the other way round.
type shares struct {
	limit    int // all; Go has raised the soft limit to the hard one
	own      int // files, the database, listeners, what the runtime takes
	incoming int // connections of publishers, people and balancers
	kept     int // connections to receivers that are not in use
	attempts int // attempts under way; each has at most two: while a name is resolved
}

// What is worth having at most; more is memory.
const (
	mostIncoming = 4096
	mostKept     = 2048
	mostAttempts = 1024

	ownFiles   = 64  // standard streams, the data folder's files and their readers, listeners, a backup, a profile
	leastOther = 192 // of the other three together
)

// divide gives each part its share of limit descriptors, of which the database takes some for its connections.
func divide(limit, database int) (shares, error) {
	s := shares{limit: limit, own: ownFiles + database}
	rest := limit - s.own
	if rest < leastOther {
		return s, fmt.Errorf("this process may open %d files and connections; with these settings it needs at least %d: "+
			"raise the limit, for example with `ulimit -n 4096` or LimitNOFILE= in the unit", limit, s.own+leastOther)
	}
	s.incoming, s.kept = min(rest/4, mostIncoming), min(rest/4, mostKept)
	s.attempts = min((rest-s.incoming-s.kept)/2, mostAttempts)
	return s, nil
}

// share divides the descriptors of this process.
func (a *App) share() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of descriptors: %w", err)
	}
	database := 0
	if a.cfg.Database != "" {
		database = a.cfg.DatabasePool + 2
		if a.cfg.DatabaseRead != "" {
			database += a.cfg.DatabasePool
		}
	}
	var err error
	if a.shares, err = divide(int(min(l.Cur, 1<<20)), database); err != nil {
		return err
	}
	a.log.Info("descriptors are shared", "limit", a.shares.limit, "own", a.shares.own, "incoming", a.shares.incoming,
		"kept_to_receivers", a.shares.kept, "attempts_at_once", a.shares.attempts)
	return nil
}
