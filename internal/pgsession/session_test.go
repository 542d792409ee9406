package pgsession

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/quantfolio/qhook/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		panic(err)
	}
	os.Exit(code)
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run runs SQL as the server's superuser.
func run(t *testing.T, at, sql string) {
	t.Helper()
	conn, err := pgx.Connect(patient(t),
		at+"&default_transaction_read_only=off&idle_session_timeout=0&statement_timeout=0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(patient(t))
	if _, err := conn.Exec(patient(t), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// mustRole makes a role that may log in. Make its databases after it.
func mustRole(t *testing.T, s *pgtest.Server) string {
	t.Helper()
	role := "qhook_test_" + strings.ToLower(rand.Text())
	run(t, s.URL("postgres"), "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { run(t, s.URL("postgres"), "DROP ROLE "+role) })
	return role
}

// as is the URL of another user.
func as(t *testing.T, at, role string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func connect(t *testing.T, at string, o Options) (*pgx.Conn, error) {
	t.Helper()
	c, err := Config(at, o)
	if err != nil {
		t.Fatalf("Config = %v, want nil", err)
	}
	conn, err := pgx.ConnectConfig(patient(t), c.ConnConfig)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(patient(t)) })
	}
	return conn, err
}

func mustConnect(t *testing.T, at string, o Options) *pgx.Conn {
	t.Helper()
	conn, err := connect(t, at, o)
	if err != nil {
		t.Fatalf("connect = %v, want nil", err)
	}
	return conn
}

// shown is what the session has of a setting; false: the server does not know it.
func shown(t *testing.T, conn *pgx.Conn, name string) (string, bool) {
	t.Helper()
	var v *string
	if err := conn.QueryRow(patient(t), `SELECT current_setting($1, true)`, name).Scan(&v); err != nil {
		t.Fatalf("show %s: %v", name, err)
	}
	if v == nil {
		return "", false
	}
	return *v, true
}

// odd is a value of each setting that would do harm, or that at least is not ours.
var odd = map[string]string{
	"client_encoding": "LATIN1", "synchronous_commit": "off", "TimeZone": "Asia/Kathmandu", "DateStyle": "SQL, DMY",
	"IntervalStyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "-15", "standard_conforming_strings": "off",
	"backslash_quote": "on", "array_nulls": "off", "transform_null_equals": "on", "quote_all_identifiers": "on",
	"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "default_table_access_method": "nowhere",
	"row_security": "on", "exit_on_error": "on", "client_min_messages": "debug5",
	"search_path": "nowhere", "statement_timeout": "1ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms",
	"idle_session_timeout": "1ms", "jit": "on", "plan_cache_mode": "force_custom_plan", "constraint_exclusion": "off",
	"enable_seqscan": "off", "enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off",
	"enable_tidscan": "off", "enable_nestloop": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_sort": "off",
	"enable_incremental_sort": "off", "enable_hashagg": "off", "enable_material": "off", "enable_memoize": "off",
	"enable_partition_pruning": "off", "transaction_timeout": "1h", "session_replication_role": "replica",
	"default_transaction_read_only": "on",
}

// want is what a session has, whatever anything else says.
func want() map[string]string {
	all := maps.Clone(fixed)
	maps.Copy(all, chosen)
	maps.Copy(all, later)
	all["default_transaction_read_only"] = "off"
	return all
}

// set is the SQL that gives a role or a database its own value of a setting.
func set(of, name string) string {
	value := "'" + odd[name] + "'"
	if name == "DateStyle" {
		value = "SQL, DMY"
	}
	return "ALTER " + of + " SET " + name + " = " + value + ";"
}

func TestNothingIsInherited(t *testing.T) {
	s := pgtest.Shared(t)
	role := mustRole(t, s)
	base := s.NewDatabase(t)
	run(t, base, "ALTER ROLE "+role+" SUPERUSER") // may have session_replication_role set for it, and set it
	at := as(t, base, role)
	database := strings.TrimPrefix(mustURL(t, base).Path, "/")
	known := mustConnect(t, base, Options{})
	look := func(t *testing.T, what string) {
		t.Helper()
		conn := mustConnect(t, at, Options{Name: "x"})
		for name, value := range want() {
			if got, there := shown(t, conn, name); there && got != value {
				t.Errorf("%s: %s = %q, want %q", what, name, got, value)
			}
		}
		if err := conn.Close(patient(t)); err != nil {
			t.Error(err)
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(want())) {
		if odd[name] == "" {
			t.Errorf("%s has no odd value here; give it one", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		if want()[name] == "" {
			t.Errorf("no session says what %s is", name)
		}
		if _, there := shown(t, known, name); there {
			all = append(all, name)
		}
	}
	for _, of := range []string{"ROLE " + role, "DATABASE " + database, "ROLE " + role + " IN DATABASE " + database} {
		for _, name := range all {
			run(t, base, set(of, name))
			look(t, of+" has "+name)
			run(t, base, "ALTER "+of+" RESET "+name)
		}
	}
	for _, name := range all {
		run(t, base, set("ROLE "+role, name))
	}
	look(t, "the role has all")
	t.Setenv("PGTZ", "Asia/Kathmandu")
	t.Setenv("PGCLIENTENCODING", "LATIN1")
	t.Setenv("PGOPTIONS", "-c search_path=nowhere -c statement_timeout=1 -c bytea_output=escape -c work_mem=65")
	look(t, "the environment has some")
	if got, _ := shown(t, mustConnect(t, at, Options{}), "work_mem"); got == "65kB" {
		t.Error("PGOPTIONS reached the session")
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRoleMayNot: what the role has and may not change itself is refused.
func TestRoleMayNot(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	role := mustRole(t, s)
	base := s.NewDatabase(t)
	run(t, base, "ALTER ROLE "+role+" SET session_replication_role = replica")
	_, err := connect(t, as(t, base, role), Options{})
	if r := Refused(err); r == nil || !strings.Contains(r.Sentence, "session_replication_role") ||
		!strings.Contains(r.Sentence, "RESET") {
		t.Errorf("connect = %v, want a refusal that names the setting", err)
	}
}

func TestTheURLMayChoose(t *testing.T) {
	t.Parallel()
	base := pgtest.Shared(t).NewDatabase(t)
	for _, c := range []struct{ query, setting, want string }{
		{"", "application_name", "x"},
		{"&application_name=mine", "application_name", "mine"},
		{"&search_path=elsewhere", "search_path", "elsewhere"},
		{"&Search_Path=elsewhere", "search_path", "elsewhere"},
		{"&options=-c%20search_path%3Delsewhere", "search_path", "elsewhere"},
		{"&options=--search-path%3Delsewhere", "search_path", "elsewhere"},
		{"&options=-c%20work_mem%3D65", "work_mem", "65kB"},
		{"&statement_timeout=7000", "statement_timeout", "7s"},
		{"&jit=on", "jit", "on"},
		{"&synchronous_commit=remote_apply", "synchronous_commit", "remote_apply"},
		{"&options=-csynchronous_commit%3Dremote_apply", "synchronous_commit", "remote_apply"},
		{"&synchronous_commit=off", "synchronous_commit", "on"},
		{"&synchronous_commit=local", "synchronous_commit", "on"},
		{"&options=-c%20synchronous_commit%3Doff", "synchronous_commit", "on"},
		{"&client_encoding=LATIN1", "client_encoding", "UTF8"},
		{"&timezone=Asia/Tokyo", "TimeZone", "UTC"},
		{"&TIMEZONE=Asia/Tokyo", "TimeZone", "UTC"},
		{"&default_transaction_read_only=on", "default_transaction_read_only", "off"},
		{"&pool_max_conns=3", "TimeZone", "UTC"},
	} {
		if got, _ := shown(t, mustConnect(t, base+c.query, Options{Name: "x"}), c.setting); got != c.want {
			t.Errorf("with %q, %s = %q, want %q", c.query, c.setting, got, c.want)
		}
	}
	kind := Options{Settings: map[string]string{"statement_timeout": "0", "plan_cache_mode": "force_generic_plan"}}
	conn := mustConnect(t, base, kind)
	for name, value := range kind.Settings {
		if got, _ := shown(t, conn, name); got != value {
			t.Errorf("of this kind, %s = %q, want %q", name, got, value)
		}
	}
	if _, err := Config("postgres://u:canary-password@h:port/d", Options{}); err == nil ||
		strings.Contains(err.Error(), "canary-password") {
		t.Errorf("Config of what is no URL = %v, want an error without the password", err)
	}
	_, err := connect(t, base+"&serch_path=x", Options{})
	if r := Refused(err); r == nil || !strings.Contains(r.Sentence, "serch_path") {
		t.Errorf("connect with a misspelt setting = %v, want a refusal that names it", err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o                 Options
		version           int
		encoding          string
		standby, readOnly bool
		want              string // in the error; empty: none
	}{
		{version: 150000, encoding: "UTF8"},
		{version: 149999, encoding: "UTF8", want: "PostgreSQL 14; 15 or newer"},
		{version: 0, encoding: "UTF8", want: "15 or newer"},
		{o: Options{Foreign: true}, version: 140000, encoding: "LATIN1"},
		{o: Options{Foreign: true}, version: 139999, encoding: "UTF8", want: "14 or newer"},
		{o: Options{Foreign: true}, version: 150000, encoding: "SQL_ASCII", want: "SQL_ASCII"},
		{version: 150000, encoding: "LATIN1", want: "encoding is LATIN1"},
		{version: 150000, encoding: "SQL_ASCII", want: "encoding is SQL_ASCII"},
		{version: 150000, encoding: "UTF8", standby: true, want: "standby"},
		{version: 150000, encoding: "UTF8", readOnly: true, want: "default_transaction_read_only"},
		{o: Options{Read: true}, version: 150000, encoding: "UTF8", standby: true, readOnly: true},
		{o: Options{Read: true}, version: 140000, encoding: "UTF8", want: "15 or newer"},
	} {
		err := judge(c.o, c.version, c.encoding, c.standby, c.readOnly)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("judge(%+v) = %v, want %q", c, err, c.want)
		}
		if got := errors.Is(err, ErrReadOnly); got != (c.standby || c.readOnly) && c.want != "" {
			t.Errorf("judge(%+v) is ErrReadOnly: %t", c, got)
		}
	}
}

// TestEncodings: a database that does not keep every text is refused; a platform's own may have another encoding, and
// what it has comes out.
func TestEncodings(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	for _, encoding := range []string{"SQL_ASCII", "LATIN1", "EUC_JP"} {
		name := "qhook_test_" + strings.ToLower(rand.Text())
		run(t, s.URL("postgres"), "CREATE DATABASE "+name+" ENCODING '"+encoding+"' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
		t.Cleanup(func() { run(t, s.URL("postgres"), "DROP DATABASE "+name+" WITH (FORCE)") })
		_, err := connect(t, s.URL(name), Options{})
		if r := Refused(err); r == nil || !strings.Contains(r.Sentence, encoding) {
			t.Errorf("connect to %s = %v, want a refusal that names it", encoding, err)
		}
		conn, err := connect(t, s.URL(name), Options{Foreign: true})
		if encoding == "SQL_ASCII" {
			if Refused(err) == nil {
				t.Errorf("connect to a platform's %s = %v, want a refusal", encoding, err)
			}
			continue
		}
		var got string
		if err != nil {
			t.Errorf("connect to a platform's %s = %v, want nil", encoding, err)
		} else if err := conn.QueryRow(patient(t), `SELECT $1::text`, `§ \ ' "`).Scan(&got); err != nil ||
			got != `§ \ ' "` {
			t.Errorf("%s: the text came back as %q, %v", encoding, got, err)
		}
	}
}

// TestReadOnly: a server whose own settings make it read-only is not connected to, and a connection to one that becomes
// so closes itself.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	at := s.NewDatabase(t)
	var told atomic.Int64
	conn := mustConnect(t, at, Options{Turned: func() { told.Add(1) }})
	if _, err := conn.Exec(patient(t), `CREATE TABLE a (b int)`); err != nil {
		t.Fatal(err)
	}
	run(t, at, `ALTER SYSTEM SET default_transaction_read_only = on`)
	run(t, at, `SELECT pg_reload_conf()`)
	for !conn.IsClosed() {
		if _, err := conn.Exec(patient(t), `INSERT INTO a VALUES (1)`); err == nil {
			continue // not reloaded yet
		}
		if !conn.IsClosed() || told.Load() != 1 {
			t.Fatalf("the connection to a read-only server is closed: %t, told %d times; want true and once",
				conn.IsClosed(),
				told.Load())
		}
	}
	if _, err := connect(t, at, Options{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("connect to a read-only server = %v, want ErrReadOnly", err)
	}
	mustConnect(t, at, Options{Read: true})
}

// TestHostsAreTriedInTurn: a host that will not do is passed over, whatever is wrong with it.
func TestHostsAreTriedInTurn(t *testing.T) {
	t.Parallel()
	s, other := pgtest.Shared(t), pgtest.Start(t)
	at := mustURL(t, s.NewDatabase(t))
	run(t, other.URL("postgres"), `ALTER SYSTEM SET default_transaction_read_only = on`)
	other.Stop(t, pgtest.Fast)
	other.Restart(t)
	name := strings.TrimPrefix(at.Path, "/")
	run(t, other.URL("postgres"), `CREATE DATABASE `+name)
	want := at.Host
	at.Host = mustURL(t, other.URL(name)).Host + ",127.0.0.1:1," + want
	conn := mustConnect(t, at.String(), Options{})
	if got := conn.PgConn().Conn().RemoteAddr().String(); got != want {
		t.Errorf("connected to %s, want the one that can write: %s", got, want)
	}
}

func TestPooler(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	at := s.NewDatabase(t)
	var ignored []string
	for name := range want() {
		ignored = append(ignored, name)
	}
	for name := range network {
		ignored = append(ignored, name)
	}
	passes := "ignore_startup_parameters = " + strings.Join(slices.Sorted(slices.Values(ignored)), ",")
	for _, c := range []struct {
		settings []string
		want     string // in the refusal; empty: none
	}{
		{[]string{"pool_mode = transaction"}, "as a pooler does"},
		{[]string{"pool_mode = session"}, "as a pooler does"},
		{[]string{"pool_mode = transaction", passes}, "transaction or statement mode"},
		{[]string{"pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 4", passes},
			"transaction or statement mode"},
		{[]string{"pool_mode = statement", passes}, "transaction or statement mode"},
		{[]string{"pool_mode = session", passes}, ""},
	} {
		conn, err := connect(t, s.Pooler(t, at, c.settings...), Options{})
		if err == nil {
			err = Alone(patient(t), conn)
		}
		r := Refused(err)
		if (r != nil) != (c.want != "") || r != nil && !strings.Contains(r.Sentence, c.want) || r == nil && err != nil {
			t.Errorf("a pooler with %q: %v, want a refusal with %q", c.settings[0], err, c.want)
		}
		if c.want != "" || err != nil {
			continue
		}
		for name, value := range want() {
			if got, there := shown(t, conn, name); there && got != value {
				t.Errorf("through a pooler, %s = %q, want %q", name, got, value)
			}
		}
	}
	if err := Alone(patient(t), mustConnect(t, at, Options{})); err != nil {
		t.Errorf("Alone without a pooler = %v, want nil", err)
	}
}
