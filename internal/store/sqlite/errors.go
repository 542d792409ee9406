package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/quantfolio/qhook/internal/store"
)

// code is SQLite's extended result code in err; 0 when there is none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// verdict says which of the store's errors a result code is; nil: none of them.
//
// SQLite itself tells a full disk (SQLITE_FULL for every write to the database and its log) from a failing one. The one
// exception is the shared index of the log, which is never flushed and which it fails to lengthen on a full disk.
func verdict(code int) error {
	switch {
	case code&0xff == lib.SQLITE_FULL, code == lib.SQLITE_IOERR_SHMSIZE:
		return store.ErrFull
	case code&0xff == lib.SQLITE_IOERR, code&0xff == lib.SQLITE_CORRUPT, code&0xff == lib.SQLITE_NOTADB:
		return store.ErrBroken
	}
	return nil
}

// wrap adds the operation to err, and the store's error that it stands for.
func wrap(err error, op string) error {
	if err == nil {
		return nil
	}
	if v := verdict(code(err)); v != nil && !errors.Is(err, v) {
		return fmt.Errorf("%s: %w: %w", op, v, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// isTaken tells whether err is a broken uniqueness rule.
func isTaken(err error) bool {
	c := code(err)
	return c == lib.SQLITE_CONSTRAINT_UNIQUE || c == lib.SQLITE_CONSTRAINT_PRIMARYKEY
}

// isOrphan tells whether err is a reference to a row that does not exist.
func isOrphan(err error) bool { return code(err) == lib.SQLITE_CONSTRAINT_FOREIGNKEY }
