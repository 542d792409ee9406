package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/quantfolio/qhook/internal/store"
)

// writer is the one write connection with its prepared statements. Commit uses the driver's statements directly: at two
// microseconds a row, database/sql's conversion of the arguments would be a third of the cost.
type writer struct {
	conn *sql.Conn

	begin, commit, rollback, checkpoint *statement
	findOne, findMany                   *statement
	setRecover                          *statement
	trimLook, trimOutcomes, trimEvent   *statement
	events, outcomes, waiting           *insert
	settleOne, settleMany               *statement
	insertPart, widenPart, trimParts    *statement
	addRollup, trimRollups              *statement
	changes                             changes
	all                                 []*statement

	part    part
	packer  packer
	repeats store.Repeats   // of this batch
	ids     []store.EventID // scratch
	rows    store.RowOps    // of this batch
	number  []byte          // scratch
}

// statement is a prepared statement of the write connection. Its arguments are kept and reused.
type statement struct {
	stmt driver.Stmt
	args []driver.NamedValue
}

func (s *statement) exec() (int64, error) {
	r, err := s.stmt.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query calls row for each row; the values are valid during the call.
func (s *statement) query(row func([]driver.Value) error) (err error) {
	rows, err := s.stmt.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	dest := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(dest); err != nil {
			if isEOF(err) {
				return nil
			}
			return err
		}
		if err := row(dest); err != nil {
			return err
		}
	}
}

func (s *statement) set(i int, v driver.Value) *statement {
	s.args[i].Value = v
	return s
}

func newArgs(n int) []driver.NamedValue {
	args := make([]driver.NamedValue, n)
	for i := range args {
		args[i].Ordinal = i + 1
	}
	return args
}

// sizes are the numbers of rows that one INSERT takes, largest first. With 8, 32, 64 or 128 at the top the cost
// measured the same within the noise of the machine.
var sizes = [...]int{64, 16, 4, 1}

// insert collects rows and writes them with as few statements as the sizes allow.
type insert struct {
	width int
	stmts [len(sizes)]driver.Stmt
	args  []driver.NamedValue
	n     int // rows collected, fewer than sizes[0]
}

// row is where the next row's values go. They are written by full or flush.
func (in *insert) row() []driver.NamedValue {
	at := in.n * in.width
	in.n++
	return in.args[at : at+in.width]
}

// full writes the rows when there are enough of them; called after each row.
func (in *insert) full() error {
	if in.n < sizes[0] {
		return nil
	}
	return in.flush()
}

// flush writes what was collected.
func (in *insert) flush() error {
	for i, size := range sizes {
		for in.n >= size {
			if _, err := in.stmts[i].(driver.StmtExecContext).ExecContext(context.Background(),
				in.args[:size*in.width]); err != nil {
				return err
			}
			in.n -= size
			for j := range in.n * in.width { // the driver needs ordinals from 1 on, so the rest moves up
				in.args[j].Value = in.args[size*in.width+j].Value
			}
		}
	}
	return nil
}

// reset forgets what was collected and lets go of its memory.
func (in *insert) reset() {
	in.n = 0
	for i := range in.args {
		in.args[i].Value = nil
	}
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn}
	if err := conn.Raw(func(dc any) error { return w.prepare(ctx, dc.(driver.ConnPrepareContext)) }); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) prepare(ctx context.Context, c driver.ConnPrepareContext) (err error) {
	one := func(query string) *statement {
		s := &statement{args: newArgs(strings.Count(query, "?"))}
		if err == nil {
			if s.stmt, err = c.PrepareContext(ctx, query); err == nil {
				w.all = append(w.all, s)
			}
		}
		return s
	}
	many := func(head, row, tail string) *insert {
		in := &insert{width: strings.Count(row, "?")}
		in.args = newArgs(in.width * sizes[0])
		for i, size := range sizes {
			in.stmts[i] = one(head + row + strings.Repeat(", "+row, size-1) + tail).stmt
		}
		return in
	}
	w.begin, w.commit, w.rollback = one("BEGIN IMMEDIATE"), one("COMMIT"), one("ROLLBACK")
	w.checkpoint = one("PRAGMA wal_checkpoint(PASSIVE)")
	w.findOne, w.findMany = one(findEvents(1)), one(findEvents(findChunk))
	w.events = many(insertEvents, insertEventsRow, "")
	w.outcomes = many(insertOutcomes, insertOutcomesRow, "")
	w.waiting = many(upsertWaiting, upsertWaitingRow, upsertWaitingTail)
	w.settleOne, w.settleMany = one(deleteWaiting(1)), one(deleteWaiting(settleChunk))
	w.setRecover = one(setRecoverFrom)
	w.trimLook, w.trimOutcomes, w.trimEvent = one(trimLook), one(trimOutcomes), one(trimEvent)
	w.insertPart, w.widenPart, w.trimParts = one(insertPart), one(widenPart), one(trimParts)
	w.addRollup, w.trimRollups = one(upsertRollup), one(trimRollups)
	w.changes.prepare(one)
	last, tail := one(selectPartLast), one(selectPartTail)
	if err != nil {
		return err
	}
	return w.part.load(last, tail)
}

// restore ends whatever transaction is open and tells whether the connection is usable.
func (w *writer) restore() bool {
	err := w.conn.Raw(func(any) error {
		w.events.reset()
		w.outcomes.reset()
		w.waiting.reset()
		w.packer.reset()
		_, _ = w.rollback.exec() // fails when SQLite has rolled back by itself; what counts is whether BEGIN works now
		if _, err := w.begin.exec(); err != nil {
			return err
		}
		_, err := w.rollback.exec()
		return err
	})
	return err == nil
}

// close ends the connection itself, not only its use.
func (w *writer) close() error {
	err := w.conn.Raw(func(any) error {
		for _, s := range w.all {
			_ = s.stmt.Close() // what it last failed with, which was reported then
		}
		return driver.ErrBadConn
	})
	if errors.Is(err, driver.ErrBadConn) {
		err = nil
	}
	if e := w.conn.Close(); e != nil && !errors.Is(e, sql.ErrConnDone) && !errors.Is(e, driver.ErrBadConn) {
		err = errors.Join(err, e)
	}
	return err
}
