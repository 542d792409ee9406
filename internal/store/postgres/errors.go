package postgres

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quantfolio/qhook/internal/store"
)

// code is PostgreSQL's error code in err; empty when the error is not the server's.
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// The codes on which something is decided; PostgreSQL's documentation, appendix A.
const (
	fencedOff          = "QH001" // this program's own; see fence
	uniqueViolation    = "23505"
	foreignKey         = "23503"
	checkViolation     = "23514"
	serialization      = "40001"
	deadlock           = "40P01"
	diskFull           = "53100"
	tooManyConnections = "53300"
	readOnly           = "25006"
	notText            = "22021" // a NUL, say: no stored text has it
)

// verdict says which of the store's errors err is; nil: none of them.
func verdict(err error) error {
	c := code(err)
	switch {
	case c == diskFull:
		return store.ErrFull
	case c == "" && lost(err), strings.HasPrefix(c, "08"), strings.HasPrefix(c, "57"), strings.HasPrefix(c, "53"), c == readOnly:
		// No word from the server, or one about its coming or going, or a standby.
		return store.ErrAway
	}
	return nil
}

// lost tells whether err is about the connection.
func lost(err error) bool {
	var network net.Error
	var connecting *pgconn.ConnectError
	return errors.As(err, &connecting) || errors.As(err, &network) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// wrap adds the operation to err, and the store's error that it stands for.
func wrap(err error, op string) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{store.ErrNotFound, store.ErrExists, store.ErrVersion, store.ErrFenced, store.ErrFull,
		store.ErrAway} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	if v := verdict(err); v != nil {
		return fmt.Errorf("%s: %w: %w", op, v, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// notFound turns "no row" into the store's error.
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) || code(err) == notText {
		return store.ErrNotFound
	}
	return err
}

// constraint turns a broken rule into the store's error: taken, or a reference to what does not exist.
func constraint(err error) error {
	switch code(err) {
	case uniqueViolation:
		return fmt.Errorf("%w: %w", store.ErrExists, err)
	case foreignKey, notText:
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}
