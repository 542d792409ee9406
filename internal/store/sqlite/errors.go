package sqlite

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"syscall"
	"unsafe"

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
// SQLite itself tells a full disk (SQLITE_FULL, for ENOSPC) from a failing one, but not other ways to have no room; see
// explain. The shared index of the log is only in memory, and says nothing about the disk: SQLite fails to lengthen it
// on a full one. Nor does a lack of memory.
func verdict(code int) error {
	switch {
	case code&0xff == lib.SQLITE_FULL, code == lib.SQLITE_IOERR_SHMSIZE:
		return store.ErrFull
	case code == lib.SQLITE_IOERR_NOMEM, code == lib.SQLITE_IOERR_SHMOPEN, code == lib.SQLITE_IOERR_SHMMAP:
		return nil
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
	if v := verdict(code(err)); v != nil && !errors.Is(err, v) && !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("%s: %w: %w", op, v, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// explain wraps an error of a write. Of a write that the system refused, SQLite's code does not tell why: it is the
// same for a failing disk, a quota that is used up (EDQUOT), a file that has the largest size allowed (EFBIG), and a
// file system that turned read-only (EROFS). Only the first leaves in doubt what is on the disk. The system's own word
// for it, which told adds, counts at any time; where there is none, the same is tried beside the database, which finds
// nothing if there is room again by then.
func (db *DB) explain(err error, op string) error {
	switch c := code(err); {
	case errors.Is(err, store.ErrFull):
	case c == lib.SQLITE_IOERR_WRITE, c == lib.SQLITE_IOERR_TRUNCATE,
		c&0xff == lib.SQLITE_CANTOPEN, c&0xff == lib.SQLITE_READONLY:
		if isNoRoom(err) {
			return fmt.Errorf("%s: %w: %w", op, store.ErrFull, err)
		}
		if why := noRoom(db.path); why != nil {
			return fmt.Errorf("%s: %w: %w: %w", op, store.ErrFull, why, err)
		}
	}
	return wrap(err, op)
}

// told adds to an error that SQLite gave on this driver's connection what the system said, where it refused a write;
// any other stays as it is. The connection must not have been used since.
func told(dc any, err error) error {
	if c := code(err); c != lib.SQLITE_IOERR_WRITE && c != lib.SQLITE_IOERR_TRUNCATE {
		return err
	}
	if errno := systemErrno(dc); errno != 0 {
		return fmt.Errorf("%w: %w", errno, err)
	}
	return err
}

// systemErrno is sqlite3_system_errno of the driver's connection, which the driver keeps to itself; 0: not known.
func systemErrno(dc any) syscall.Errno {
	v := reflect.ValueOf(dc)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	handle := v.Elem().FieldByName("db")
	if handle.Kind() != reflect.Uintptr || handle.IsZero() {
		return 0
	}
	return syscall.Errno((*(**lib.Tsqlite3)(unsafe.Pointer(handle.UnsafeAddr()))).FiSysErrno)
}

// isNoRoom tells whether the system refused something for lack of room.
func isNoRoom(err error) bool {
	for _, none := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS} {
		if errors.Is(err, none) {
			return true
		}
	}
	return false
}

// noRoom tries to write a page beside the database, as far from the file's beginning as its largest file goes, and says
// what is refused for lack of room; nil: nothing is, or something else.
func noRoom(path string) (why error) {
	var end int64
	for _, name := range []string{path, path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			end = max(end, info.Size())
		}
	}
	f, err := os.OpenFile(path+".probe", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 4096), end)
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	if isNoRoom(err) {
		return err
	}
	return nil
}

// isTaken tells whether err is a broken uniqueness rule.
func isTaken(err error) bool {
	c := code(err)
	return c == lib.SQLITE_CONSTRAINT_UNIQUE || c == lib.SQLITE_CONSTRAINT_PRIMARYKEY
}

// isOrphan tells whether err is a reference to a row that does not exist.
func isOrphan(err error) bool { return code(err) == lib.SQLITE_CONSTRAINT_FOREIGNKEY }
