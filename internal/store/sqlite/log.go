package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"syscall"
	"time"

	"modernc.org/sqlite"

	"github.com/quantfolio/qhook/internal/store"
)

// The log's bounds, in pages of 4 KiB. SQLite writes the log anew from its beginning when all of it has been moved to
// the database file and no read needs it; where reads overlap without end, that moment never comes by itself.
const (
	checkpointAt = 2_000  // written since the last time: what can be moved is moved
	shutAt       = 8_000  // in the log: new reads wait until those under way have ended and all is moved
	breakAt      = 16_000 // in the log all the same: the reads under way are broken off, and commits wait for it

	aheadRounds = 4   // of a move ahead, at most
	aheadLittle = 256 // pages that are moved by a commit

	drainTime = time.Second            // that a read under way has to end once the gate is shut
	stallTime = 250 * time.Millisecond // that a commit waits at most
)

// wal is what is known of the log. DB.mu guards it.
type wal struct {
	pages    int           // in it when it was last looked at
	shutFrom int           // pages
	emptying chan struct{} // nil, or closed when empty has ended

	ahead chan error // capacity 1: sent to once by the move ahead that is under way; nil: none is
	rest  bool       // a move ahead has ended: what came meanwhile is little
}

// tidy moves the log's content to the database file when there is enough of it: first on a connection of its own, while
// commits go on, and then here the little that came meanwhile, so that the log can be written anew. Moving all of it
// here had every commit wait for 16 MB. db.mu is held. An fsync that fails is an error like any other: the pages that
// it lost would be missing once the log is overwritten.
func (db *DB) tidy(dc any) error {
	pages, _, err := dc.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, false)
	if err != nil {
		return err
	}
	switch l := &db.wal; {
	case l.ahead != nil && pages < shutAt, !l.rest && pages < checkpointAt:
		return nil
	case l.ahead == nil && !l.rest && db.cdb != nil:
		_, _, err = dc.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
		ahead := make(chan error, 1)
		l.ahead = ahead
		go func() { ahead <- db.moveAhead() }()
		return err
	}
	db.wal.rest = false
	if err := db.move(dc); err != nil {
		return err
	}
	l := &db.wal
	if l.pages < l.shutFrom || db.rdb == nil {
		return nil
	}
	if l.emptying == nil {
		done := make(chan struct{})
		l.emptying = done
		go db.empty(db.rdb.gate, done)
	}
	if l.pages >= l.shutFrom+breakAt-shutAt {
		db.rdb.gate.breakOff()
		done := l.emptying
		db.overfull.Store(&done)
	}
	return nil
}

// moveAhead moves what reads allow, and what came meanwhile, until that is little. It flushes the database file itself:
// SQLite leaves that to the move that finds nothing new behind it, and so to a commit's.
func (db *DB) moveAhead() error {
	ctx := context.Background()
	conn, err := db.cdb.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for before, round := 0, 0; round < aheadRounds; round++ {
		var busy, pages, moved int
		err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &moved)
		if err != nil {
			_ = conn.Raw(func(dc any) error { err = told(dc, err); return nil })
			return err
		}
		if err := syscall.Fdatasync(int(db.file.Fd())); err != nil {
			return fmt.Errorf("flush the database file: %w: %w", store.ErrBroken, err)
		}
		if pages-before < aheadLittle {
			return nil
		}
		before = moved
	}
	return nil
}

// movedAhead takes in how a move ahead has ended, if one has. db.mu is held.
func (db *DB) movedAhead() {
	select {
	case err := <-db.wal.ahead:
		db.wal.ahead, db.wal.rest = nil, true
		_ = db.moved(err) // it is in db.bad if nothing may be written any more
	default:
	}
}

// move moves as much of the log as reads allow. db.mu is held.
func (db *DB) move(dc any) error {
	if _, _, err := dc.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true); err != nil {
		return err
	}
	return told(dc, db.w.checkpoint.query(func(v []driver.Value) error {
		l := &db.wal
		switch pages := int(v[1].(int64)); {
		case pages < 0: // another move is under way
		case pages < l.pages || l.shutFrom == 0:
			l.pages, l.shutFrom = pages, shutAt // it was written anew
		default:
			l.pages = pages
		}
		return nil
	}))
}

// empty lets the reads under way end, or ends them, and moves all of the log, so that the next commit writes it anew.
// Commits go on meanwhile.
func (db *DB) empty(g *gate, done chan struct{}) {
	idle := g.shut()
	if !within(idle, drainTime) {
		g.breakOff()
		within(idle, drainTime)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if ahead := db.wal.ahead; ahead != nil { // beside it nothing could be moved here; without reads it ends soon
		ahead <- <-ahead
		db.movedAhead()
	}
	if db.w != nil && db.bad == nil {
		if err := db.moved(db.w.conn.Raw(db.move)); err != nil {
			db.log.Error("moving the log to the database file failed", "error", err)
		}
	}
	// Where another process reads, the log goes on growing; so many pages later is the next try.
	db.wal.shutFrom = db.wal.pages + shutAt
	db.wal.emptying = nil
	db.overfull.Store(nil)
	g.open()
	close(done)
}

// moved says what an error of tidy or move means. What was committed is safe in the log, and moving it is tried again
// after the next commit; but not when the disk may have lied. db.mu is held.
func (db *DB) moved(err error) error {
	if err = db.explain(err, "move the log to the database file"); errors.Is(err, store.ErrBroken) {
		db.bad = err
		return err
	}
	if err != nil {
		db.log.Warn("the log stays as long as it is", "error", err)
	}
	return nil
}

// yield lets a log that has grown too long be emptied before more is written.
func (db *DB) yield() {
	if done := db.overfull.Load(); done != nil {
		within(*done, stallTime)
	}
}

// within tells whether c was closed within the time.
func within(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}
