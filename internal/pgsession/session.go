package pgsession

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say what kind of session it is.
type Options struct {
	Name     string            // application_name, unless the URL has one
	Settings map[string]string // that this kind has otherwise than all; nothing with a quote
	Read     bool              // it never writes: a standby will do
	Foreign  bool              // of a platform's own database: older, and in another encoding, will do
	Turned   func()            // called when the server says that it can no longer write, or ends; nil: nobody cares
}

// Oldest is the least version of PostgreSQL for the product's own database.
const Oldest = 15

const oldestForeign = 14

// ErrReadOnly is in the error of a connect to servers of which none can write now.
var ErrReadOnly = errors.New("the server cannot write")

// Refusal is why a server is not used, in a sentence for its operator; waiting does not help.
type Refusal struct{ Sentence string }

// Error is the sentence.
func (r *Refusal) Error() string { return r.Sentence }

// Default time limits of connecting, to each host.
const (
	connectTime = 5 * time.Second
	nextTime    = 2 * time.Second // where there is another host to try
	pingTime    = time.Second     // an idle connection that was lost without a word is found out, and another is used
)

// Config is how to connect to a database, postgres://… with every option of libpq, so that the session has what it
// needs. A connection to a server that turns read-only, or says that it ends, closes itself. The error never shows the
// URL's password.
func Config(url string, o Options) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	cc := c.ConnConfig
	want := apply(cc, url, o)
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTime
		if several(&cc.Config) {
			cc.ConnectTimeout = nextTime
		}
	}
	if c.PingTimeout == 0 {
		c.PingTimeout = pingTime
	}
	query, next := setUp(want)+";"+facts, cc.ValidateConnect
	cc.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := begin(ctx, conn, query, o); err != nil {
			return err
		}
		if next != nil { // target_session_attrs
			return next(ctx, conn)
		}
		return nil
	}
	cc.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool {
		gone := turned(e.Code)
		if gone && o.Turned != nil {
			o.Turned()
		}
		return !gone && !strings.EqualFold(e.Severity, "FATAL")
	}
	return c, nil
}

// several tells whether there is more than one host.
func several(c *pgconn.Config) bool {
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}

// turned tells whether the code says that the server can no longer write, or that it ends; appendix A of its manual.
func turned(code string) bool {
	switch code {
	case "25006", "57P01", "57P02", "57P03":
		return true
	}
	return false
}

// facts are what a session cannot set.
const facts = `SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_encoding'),
	pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')`

// begin sets what is to be set and looks at the rest.
func begin(ctx context.Context, conn *pgconn.PgConn, query string, o Options) error {
	all, err := conn.Exec(ctx, query).ReadAll()
	if err == nil && (len(all) != 2 || len(all[1].Rows) != 1) {
		err = errors.New("the server does not answer as PostgreSQL does")
	}
	if err != nil {
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(e.Code, "42") {
			return &Refusal{"a session cannot have the settings that it needs: " + e.Message +
				" (look at \\drds in psql: ALTER ROLE … RESET, or ALTER DATABASE … RESET, takes a default away)"}
		}
		return fmt.Errorf("set a session up: %w", err)
	}
	row := all[1].Rows[0]
	version, _ := strconv.Atoi(string(row[0])) // of what is no number, 0 is too old
	return judge(o, version, string(row[1]), string(row[2]) == "t", string(row[3]) == "on")
}

// judge says whether a server will do.
func judge(o Options, version int, encoding string, standby, readOnly bool) error {
	oldest := Oldest
	if o.Foreign {
		oldest = oldestForeign
	}
	switch {
	case version/10000 < oldest:
		return &Refusal{fmt.Sprintf("the server is PostgreSQL %d; %d or newer is needed", version/10000, oldest)}
	case encoding == "SQL_ASCII", encoding != "UTF8" && !o.Foreign:
		return &Refusal{"the database's encoding is " + encoding + ", which does not keep every text; make one with" +
			" CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"}
	case o.Read:
		return nil
	case standby:
		return fmt.Errorf("%w: it is a standby; name the primary, or all hosts", ErrReadOnly)
	case readOnly:
		return fmt.Errorf("%w: its settings have default_transaction_read_only on", ErrReadOnly)
	}
	return nil
}

// Writes looks whether the server of a connection, or of a pool's, can write now. Who only reads would not learn of it.
// Errors: ErrReadOnly; others are the connection's.
func Writes(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}) error {
	var not bool
	err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool`).Scan(&not)
	if err == nil && not {
		err = ErrReadOnly
	}
	return err
}

// Refused is the refusal in the error of a connect; nil: there is none, and later it may succeed.
func Refused(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && e.Code == "08P01": // protocol_violation
		return &Refusal{"what answers there takes no settings of a session (" + e.Message +
			"), as a pooler does: name the" +
			" PostgreSQL server itself"}
	case ok && e.Code == "42704": // undefined_object
		return &Refusal{fmt.Sprintf("%s: the URL misspells it, or PostgreSQL is older than %d", e.Message, Oldest)}
	}
	return nil
}

// Alone makes sure that conn is a session of its own with the server: a pooler that gives each transaction, or each
// statement, to whichever session is free would lose its settings, its locks and its notifications. Errors: *Refusal;
// others are the connection's.
func Alone(ctx context.Context, conn *pgx.Conn) error {
	a := conn.PgConn()
	was, err := backend(ctx, a)
	if err != nil || was == a.PID() {
		return err // as the server said itself
	}
	c := conn.Config()
	other, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return fmt.Errorf("look at the pooler: %w", err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	const looks = 10 // another client may have the session that would give it away
	for range looks {
		theirs, err := backend(ctx, other.PgConn())
		if err != nil {
			return err
		}
		now, err := backend(ctx, a)
		if err != nil {
			return err
		}
		if theirs == was || now != was {
			return &Refusal{"a pooler in transaction or statement mode is between here and the database: name the PostgreSQL" +
				" server itself, or a pooler in session mode"}
		}
	}
	return nil
}

// backend is the number of the process that runs conn's next transaction.
func backend(ctx context.Context, conn *pgconn.PgConn) (uint32, error) {
	all, err := conn.Exec(ctx, "SELECT pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		return 0, err
	}
	pid, err := strconv.ParseUint(string(all[0].Rows[0][0]), 10, 32)
	return uint32(pid), err
}
