package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx of database/sql

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func valid() client.Event {
	return client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "a", OwnerID: "f"}
}

func TestInsertRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*client.Event)
		field  string
	}{
		"an unknown type":    {func(e *client.Event) { e.Type = "qap.investor.create" }, "events[1].type"},
		"no object":          {func(e *client.Event) { e.ObjectID = "" }, "events[1].object_id"},
		"a long owner":       {func(e *client.Event) { e.OwnerID = strings.Repeat("x", 257) }, "events[1].owner_id"},
		"an ID of no UUID":   {func(e *client.Event) { e.ID = "7" }, "events[1].id"},
		"data of no JSON":    {func(e *client.Event) { e.Data = []byte("{") }, "events[1].data"},
		"data of no object":  {func(e *client.Event) { e.Data = []byte("[]") }, "events[1].data"},
		"large data":         {func(e *client.Event) { e.Data = []byte(`{"a":"` + strings.Repeat("x", 256<<10) + `"}`) }, "events[1]"},
		"a time out of RFCs": {func(e *client.Event) { e.Time = client.At(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) }, "events[1].time"},
	} {
		e := valid()
		tt.change(&e)
		_, _, err := outbox.Insert("", valid(), e)
		if v, ok := errors.AsType[event.Violations](err); !ok || v[0].Field != tt.field {
			t.Errorf("%s: Insert = %v, want a violation of %s", name, err, tt.field)
		}
	}
}

// The number of events of one Insert is tried at its limits, and what they are beside them.
func TestInsertTakesABoundedNumber(t *testing.T) {
	t.Parallel()
	for n, good := range map[int]bool{
		0: false, 1: true, 2: true, outbox.MaxEvents - 1: true, outbox.MaxEvents: true, outbox.MaxEvents + 1: false,
	} {
		_, args, err := outbox.Insert("", slices.Repeat([]client.Event{valid()}, n)...)
		if good && (err != nil || len(args) != 8*n) {
			t.Errorf("Insert of %d events = %d arguments, %v, want %d", n, len(args), err, 8*n)
		}
		if !good && (err == nil || !strings.Contains(err.Error(), "send 1 to 1000")) {
			t.Errorf("Insert of %d events = %v, want how many may be sent", n, err)
		}
	}
}

func TestInsertLeavesTheEventsAlone(t *testing.T) {
	t.Parallel()
	events := []client.Event{valid()}
	if _, _, err := outbox.Insert("", events...); err != nil || events[0].ID != "" || !events[0].Time.IsZero() {
		t.Errorf("Insert = %v, changed the event to %+v", err, events[0])
	}
}

// database is a new one with the outbox in it.
func database(t *testing.T) (string, *pgx.Conn) {
	t.Helper()
	url := pgtest.Shared(t).NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for range 2 {
		mustExec(t, conn, outbox.Schema)
	}
	return url, conn
}

func mustExec(t *testing.T, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// row is what a test wants to see of a row.
type row struct {
	ID                                             string
	Tenant, Type, ObjectID, ObjectOwnerID, OwnerID string
	Time                                           time.Time
	Data                                           string
}

func rows(t *testing.T, conn *pgx.Conn) []row {
	t.Helper()
	found, _ := conn.Query(t.Context(),
		"SELECT id::text, tenant, type, object_id, object_owner_id, owner_id, time, data::text FROM qhook_outbox ORDER BY seq")
	list, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestInsertWithBothDrivers(t *testing.T) {
	t.Parallel()
	url, conn := database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	given := valid()
	given.ID, given.Data = "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44", []byte(`{"b": 12345678901234567890.10, "a":"<\u0000>"}`)
	given.Time = client.At(time.Date(2023, 3, 15, 12, 46, 0, 123456789, time.FixedZone("", 3600)))
	insert := func(exec func(query string, args ...any) error) {
		t.Helper()
		query, args, err := outbox.Insert("acme", given, valid())
		if err != nil {
			t.Fatal(err)
		}
		if err := exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	withPgx := func(end func(pgx.Tx) error) {
		t.Helper()
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		insert(func(query string, args ...any) error { _, err := tx.Exec(t.Context(), query, args...); return err })
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	withSQL := func(end func(*sql.Tx) error) {
		t.Helper()
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		insert(func(query string, args ...any) error {
			_, err := tx.ExecContext(t.Context(), query, args...)
			return err
		})
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		got := rows(t, conn)
		if len(got) != 2 {
			t.Fatalf("%d rows, want 2", len(got))
		}
		want := row{given.ID, "acme", given.Type, "i", "a", "f", time.Date(2023, 3, 15, 11, 46, 0, 123e6, time.UTC),
			`{"b":12345678901234567890.10,"a":"<\u0000>"}`}
		got[0].Time = got[0].Time.UTC()
		if got[0] != want {
			t.Errorf("the row is %+v, want %+v", got[0], want)
		}
		if id, err := uuid.Parse(got[1].ID); err != nil || id.Version() != 7 || got[1].Data != "{}" ||
			time.Since(got[1].Time).Abs() > time.Minute {
			t.Errorf("the row is %+v, want a new ID of version 7, no data, and now", got[1])
		}
		mustExec(t, conn, "DELETE FROM qhook_outbox")
	}
	withPgx(func(tx pgx.Tx) error { return tx.Rollback(t.Context()) })
	withSQL((*sql.Tx).Rollback)
	if got := rows(t, conn); len(got) != 0 {
		t.Errorf("%d rows after rollbacks, want 0", len(got))
	}
	withPgx(func(tx pgx.Tx) error { return tx.Commit(t.Context()) })
	check()
	withSQL((*sql.Tx).Commit)
	check()
}

func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	insert := func(column string, value any) error {
		v := map[string]any{"tenant": "default", "type": "t", "object_id": "o", "object_owner_id": "oo",
			"owner_id": "ow", "time": time.Now(), "data": "{}"}
		v[column] = value
		_, err := conn.Exec(t.Context(),
			"INSERT INTO qhook_outbox (tenant, type, object_id, object_owner_id, owner_id, time, data) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			v["tenant"], v["type"], v["object_id"], v["object_owner_id"], v["owner_id"], v["time"], v["data"])
		return err
	}
	if err := insert("data", `{"a":"`+strings.Repeat("x", 200<<10)+`"}`); err != nil {
		t.Errorf("a good row: %v", err)
	}
	for _, tt := range []struct {
		column     string
		value      any
		constraint string
	}{
		{"tenant", "", "qhook_outbox_tenant_form"}, {"tenant", "a\nb", "qhook_outbox_tenant_form"}, {"tenant", "a-",
			"qhook_outbox_tenant_form"},
		{"type", "", "qhook_outbox_type_given"},
		{"object_id", "", "qhook_outbox_object_id_size"}, {"object_owner_id", "", "qhook_outbox_object_owner_id_size"},
		{"owner_id", strings.Repeat("é", 129), "qhook_outbox_owner_id_size"},
		{"time", "infinity", "qhook_outbox_time_range"}, {"time", "0044-03-15 BC", "qhook_outbox_time_range"},
		{"data", "[]", "qhook_outbox_data_object"}, {"data", `{"a":"` + strings.Repeat("x", 256<<10) + `"}`,
			"qhook_outbox_data_size"},
	} {
		err := insert(tt.column, tt.value)
		if p, ok := errors.AsType[*pgconn.PgError](err); !ok || p.ConstraintName != tt.constraint {
			t.Errorf("%s = %.20v: %v, want one of %s", tt.column, tt.value, err, tt.constraint)
		}
	}
}

// page is docs/outbox.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/outbox.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPageInGo runs the example that the page shows.
func TestPageInGo(t *testing.T) {
	t.Parallel()
	_, shown, _ := strings.Cut(page(t), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	source, err := os.ReadFile("example_test.go")
	if err != nil || shown == "" || !strings.Contains(string(source), shown) {
		t.Fatalf("the page's Go example is not the one of example_test.go (%v):\n%s", err, shown)
	}
	_, conn := database(t)
	mustExec(t, conn, "CREATE TABLE investors (id text PRIMARY KEY, advisor_id text)")
	if err := createInvestor(t.Context(), conn, "inv-7", "adv-1", "firm-1"); err != nil {
		t.Fatal(err)
	}
	if err := createInvestor(t.Context(), conn, "inv-7", "adv-1", "firm-1"); err == nil {
		t.Fatal("the second investor inv-7 was made")
	}
	if got := rows(t, conn); len(got) != 1 || got[0].ObjectID != "inv-7" || got[0].ObjectOwnerID != "adv-1" ||
		got[0].OwnerID != "firm-1" {
		t.Errorf("the outbox has %+v, want the one event of inv-7", got)
	}
}

// TestPageInPython runs the SQL that the page shows for Python, with the parameters that it gives them.
func TestPageInPython(t *testing.T) {
	t.Parallel()
	_, shown, _ := strings.Cut(page(t), "```python\n")
	shown, _, _ = strings.Cut(shown, "```")
	_, conn := database(t)
	mustExec(t, conn, "CREATE TABLE investors (id text PRIMARY KEY, advisor_id text)")
	data, err := json.Marshal(map[string]string{"investor_type": "person"})
	if err != nil {
		t.Fatal(err)
	}
	args := pgx.NamedArgs{"id": "inv-7", "advisor": "adv-1", "firm": "firm-1", "data": string(data)}
	statements := regexp.MustCompile(`(?s)"""(.*?)"""`).FindAllStringSubmatch(shown, -1)
	if len(statements) != 2 {
		t.Fatalf("the page has %d statements in Python, want 2:\n%s", len(statements), shown)
	}
	for _, s := range statements {
		mustExec(t, conn, regexp.MustCompile(`%\((\w+)\)s`).ReplaceAllString(s[1], "@$1"), args)
	}
	got := rows(t, conn)
	if len(got) != 1 || got[0].Type != "qap.investor.created" || got[0].ObjectID != "inv-7" ||
		got[0].Tenant != "default" || got[0].Data != string(data) {
		t.Errorf("the outbox has %+v, want the one event of inv-7", got)
	}
}
