package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/quantfolio/qhook/internal/store"
)

// errBrokenOff is what a read fails with that the log could not wait for any longer.
var errBrokenOff = fmt.Errorf("the read was broken off, since it kept the log from being emptied; try again: %w",
	store.ErrAway)

// gate counts the reads under way. A read holds a state of the database, and while it does the log after that state
// cannot be written anew; so the gate can be shut: new reads wait until it opens, and those under way end or are broken
// off.
type gate struct {
	slots chan struct{} // capacity readers; a value for each read, so that none waits for a connection behind the gate

	mu     sync.Mutex
	opened chan struct{} // nil while the gate is open, else closed by open
	idle   chan struct{} // of a shut gate: closed by the last read that ends
	reads  map[*reading]struct{}
}

// reading is a read under way.
type reading struct {
	gate   *gate
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newGate() *gate {
	return &gate{slots: make(chan struct{}, readers), reads: map[*reading]struct{}{}}
}

// enter begins a read, once there is a place and the gate is open. Its queries use its ctx, and end ends it.
func (g *gate) enter(ctx context.Context) (*reading, error) {
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		g.mu.Lock()
		opened := g.opened
		if opened == nil {
			r := &reading{gate: g}
			r.ctx, r.cancel = context.WithCancelCause(ctx)
			g.reads[r] = struct{}{}
			g.mu.Unlock()
			return r, nil
		}
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			<-g.slots
			return nil, ctx.Err()
		}
	}
}

// why is what the read failed with: that it was broken off, where it was.
func (r *reading) why(err error) error {
	if err != nil && errors.Is(context.Cause(r.ctx), errBrokenOff) {
		return errBrokenOff
	}
	return err
}

// end ends the read, and says why it failed.
func (r *reading) end(err error) error {
	err = r.why(err)
	r.cancel(nil)
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.reads[r]; ok {
		delete(g.reads, r)
		g.ended()
		<-g.slots
	}
	return err
}

// ended tells whoever shut the gate when there is no read left. g.mu is held.
func (g *gate) ended() {
	if g.idle != nil && len(g.reads) == 0 {
		close(g.idle)
		g.idle = nil
	}
}

// shut lets no further read begin; idle is closed when none is under way.
func (g *gate) shut() (idle <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	c := make(chan struct{})
	g.idle = c
	g.ended()
	return c
}

// open lets reads begin again.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// breakOff ends the reads under way, of a gate that is shut.
func (g *gate) breakOff() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		return
	}
	for r := range g.reads {
		r.cancel(errBrokenOff)
	}
}

// reads is the pool of the connections that read, behind the gate.
type reads struct {
	db   *sql.DB
	gate *gate
}

// QueryContext is sql.DB's.
func (r *reads) QueryContext(ctx context.Context, query string, args ...any) (*rows, error) {
	return r.query(ctx, func(ctx context.Context) (*sql.Rows, error) { return r.db.QueryContext(ctx, query, args...) })
}

// QueryRowContext is sql.DB's.
func (r *reads) QueryRowContext(ctx context.Context, query string, args ...any) *row {
	return r.queryRow(ctx, func(ctx context.Context) *sql.Row { return r.db.QueryRowContext(ctx, query, args...) })
}

func (r *reads) query(ctx context.Context, run func(context.Context) (*sql.Rows, error)) (*rows, error) {
	under, err := r.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	list, err := run(under.ctx)
	if err != nil {
		return nil, under.end(err)
	}
	return &rows{list, under}, nil
}

func (r *reads) queryRow(ctx context.Context, run func(context.Context) *sql.Row) *row {
	under, err := r.gate.enter(ctx)
	if err != nil {
		return &row{err: err}
	}
	return &row{row: run(under.ctx), under: under}
}

// stmt is a prepared read.
type stmt struct {
	*sql.Stmt
	reads *reads
}

// QueryContext is sql.Stmt's.
func (s *stmt) QueryContext(ctx context.Context, args ...any) (*rows, error) {
	return s.reads.query(ctx, func(ctx context.Context) (*sql.Rows, error) { return s.Stmt.QueryContext(ctx, args...) })
}

// QueryRowContext is sql.Stmt's.
func (s *stmt) QueryRowContext(ctx context.Context, args ...any) *row {
	return s.reads.queryRow(ctx, func(ctx context.Context) *sql.Row { return s.Stmt.QueryRowContext(ctx, args...) })
}

// rows are sql.Rows; closing them ends the read.
type rows struct {
	*sql.Rows
	under *reading
}

// Err is sql.Rows'.
func (r *rows) Err() error { return r.under.why(r.Rows.Err()) }

// Close is sql.Rows'.
func (r *rows) Close() error { return r.under.end(r.Rows.Close()) }

// row is a sql.Row; scanning it ends the read.
type row struct {
	row   *sql.Row
	under *reading
	err   error
}

// Scan is sql.Row's.
func (r *row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.under.end(r.row.Scan(dest...))
}

// snapshot runs fn on one state of the database.
func (db *DB) snapshot(ctx context.Context, op string, fn func(context.Context, *sql.Tx) error) error {
	under, err := db.rdb.gate.enter(ctx)
	if err != nil {
		return wrap(err, op)
	}
	tx, err := db.rdb.db.BeginTx(under.ctx, nil)
	if err == nil {
		err = fn(under.ctx, tx)
		err = errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return wrap(under.end(err), op)
}
