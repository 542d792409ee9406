package postgres

import (
	"sync/atomic"
	"time"
)

// counters are what a store counts for its operator.
type counters struct {
	takenOver atomic.Int64 // dead nodes' work that this one took over
	fenced    atomic.Int64 // times that another node took over this one's
}

// Stats is what an operator watches of a node's database.
type Stats struct {
	Connections, Idle, Most int           // of the pool
	Lease                   time.Duration // that is left; 0 or less: no attempts are made
	TakenOver, Fenced       int64
}

// Stats says how the node stands with its database.
func (db *DB) Stats() Stats {
	p := db.pool.Stat()
	s := Stats{Connections: int(p.TotalConns()), Idle: int(p.IdleConns()), Most: int(p.MaxConns()),
		TakenOver: db.counters.takenOver.Load(), Fenced: db.counters.fenced.Load()}
	if n := db.node.Load(); n != nil {
		s.Lease = time.Duration(n.until.Load()) - time.Since(n.began)
	}
	return s
}
