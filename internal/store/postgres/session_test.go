package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgsession"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// oddities are settings of a role or a database, of which each would do harm to what is written, read or kept.
var oddities = []string{
	"client_encoding = 'LATIN1'", "synchronous_commit = off", "timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'",
	"intervalstyle = 'iso_8601'", "bytea_output = escape", "extra_float_digits = -15", "standard_conforming_strings = off",
	"default_transaction_isolation = serializable", "default_transaction_read_only = on", "default_transaction_deferrable = on",
	"search_path = nowhere", "statement_timeout = 1", "lock_timeout = 1", "idle_in_transaction_session_timeout = 1",
	"idle_session_timeout = 1", "array_nulls = off", "transform_null_equals = on", "quote_all_identifiers = on", "row_security = on",
	"exit_on_error = on", "client_min_messages = debug5", "plan_cache_mode = force_custom_plan", "enable_indexscan = off",
	"enable_nestloop = off", "default_tablespace = ''", "lc_messages = 'C'", "work_mem = 64",
}

// texts are of every plane of Unicode, and of what SQL, arrays, COPY and JSON have a meaning for.
func texts() []string {
	list := []string{`it's "quoted" \ and \\n {a,b} (1) $1 ;-- /* */ :x ?`, "tab\tnew\nline\r", `\x41`,
		`NULL`, `{NULL}`,
		`\N`, `\.`,
		"\u00e9\u0301 \u202e \ufeff \u0001 \u007f \u0080", ` leading and trailing `}
	var planes strings.Builder
	for plane := rune(0); plane <= 16; plane++ {
		planes.WriteRune(plane<<16 | 0x1234)
		planes.WriteRune(plane<<16 | 0xfffd)
	}
	return append(list, planes.String())
}

// mustOddRole makes a role and a database of its own, both of which have every oddity, and returns the database's URL
// as that role.
func mustOddRole(t *testing.T, s *pgtest.Server) string {
	t.Helper()
	admin, err := pgx.Connect(patient(t), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	do := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	role := "qhook_test_" + strings.ToLower(rand.Text())
	do("CREATE ROLE " + role + " LOGIN")
	t.Cleanup(func() { do("DROP ROLE " + role) })
	at, err := url.Parse(s.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(at.Path, "/")
	do("ALTER DATABASE " + database + " OWNER TO " + role)
	at.User = url.User(role)
	for i, oddity := range oddities {
		of := []string{"ROLE " + role, "DATABASE " + database, "ROLE " + role + " IN DATABASE " + database}[i%3]
		do("ALTER " + of + " SET " + oddity)
	}
	return at.String()
}

// TestTextGoesInAndComesOut: whatever a role and a database set, what was accepted, listed and copied is what was sent.
func TestTextGoesInAndComesOut(t *testing.T) {
	t.Parallel()
	ring := mustRing(t)
	at := mustOddRole(t, pgtest.Shared(t))
	db := mustOpen(t, at, ring)
	other, err := Open(patient(t), Config{URL: pgtest.Shared(t).NewDatabase(t), Keyring: ring, Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if err := db.CreateTenant(patient(t), store.Tenant{ID: "a", Name: texts()[0],
		CreatedAt: time.UnixMilli(1)}); err != nil {
		t.Fatal(err)
	}
	var seqs []store.Seq
	var last store.Seq
	for i, text := range texts() {
		w := &webhook.Webhook{Tenant: "a", ID: "w" + text, URL: "https://example.com", Method: "POST",
			EventTypes:  []string{"*", text},
			Description: text, Timeout: time.Second, CreatedAt: time.UnixMilli(1), UpdatedAt: time.UnixMilli(1)}
		if err := db.CreateWebhook(patient(t), w); err != nil {
			t.Fatalf("CreateWebhook(%q) = %v", text, err)
		}
		last = db.Next(last)
		seqs = append(seqs, last)
		s := sent(last, i%2 == 0, w.Num)
		e := &s.Events[0].Event
		e.Type, e.ObjectID, e.OwnerID, e.Data = "qap.x", text, text, []byte(`{"a":"`+strings.NewReplacer(`\`, `\\`,
			`"`, `\"`,
			"\t", `\t`, "\n", `\n`,
			"\r", `\r`, "\x01", `\u0001`).Replace(text)+`","n":1.10}`)
		mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{s}, Outcomes: []store.Outcome{{Tenant: "a",
			DeliveryKey: store.DeliveryKey{Webhook: w.Num,
				Event: last}, Attempt: 1, Kind: store.Delivered, At: last.Time(), Sent: true,
			Status: 200, Response: []byte("\x00\xff\\" + text)}}})
		// The same again is told by what was read.
		again := sent(db.Next(last), true, w.Num)
		again.Events[0].Event = *e
		again.Events[0].Event.ID = e.ID
		mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{again}})
		if again.Err != nil || !again.Events[0].Duplicate {
			t.Errorf("%q again: %v, duplicate %t; want nil and true", text, again.Err, again.Events[0].Duplicate)
		}
	}
	look := func(db *DB, what string) {
		t.Helper()
		list, err := db.ListEvents(patient(t), "a", store.EventFilter{}, 0, 100)
		if err != nil || len(list) != len(texts()) {
			t.Fatalf("%s: ListEvents = %d events, %v, want %d", what, len(list), err, len(texts()))
		}
		for i, text := range texts() {
			e := list[len(list)-1-i]
			if e.Event.ObjectID != text || e.Event.OwnerID != text ||
				!strings.HasSuffix(string(e.Event.Data), `,"n":1.10}`) ||
				!e.Event.Time.Equal(seqs[i].Time()) {
				t.Errorf("%s: %q came out as %q, %s, %v", what, text, e.Event.ObjectID, e.Event.Data, e.Event.Time)
			}
			w, err := db.WebhookByID(patient(t), "a", "w"+text)
			if err != nil || w.Description != text || w.EventTypes[1] != text || w.CreatedAt.UnixMilli() != 1 {
				t.Errorf("%s: the webhook of %q came out as %+v, %v", what, text, w, err)
				continue
			}
			_, _, outcomes, err := db.Delivery(patient(t), "a", store.DeliveryKey{Webhook: w.Num, Event: seqs[i]})
			if err != nil || len(outcomes) != 1 || string(outcomes[0].Response) != "\x00\xff\\"+text {
				t.Errorf("%s: the outcome of %q came out as %+v, %v", what, text, outcomes, err)
			}
		}
		if found, err := db.TenantByID(patient(t), "a"); err != nil || found.Name != texts()[0] {
			t.Errorf("%s: the tenant came out as %+v, %v", what, found, err)
		}
	}
	look(db, "accepted")
	mustRead(t, at, texts())
	if err := db.leave(); err != nil {
		t.Fatal(err)
	}
	mustCopy(t, db, other)
	look(other, "copied")
	again, err := Open(patient(t), Config{URL: mustOddRole(t, pgtest.Shared(t)), Keyring: ring, Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	mustCopy(t, other, again)
	look(again, "copied back")
}

// mustRead fails unless another program, which says what it needs itself, reads the same texts of the events.
func mustRead(t *testing.T, at string, want []string) {
	t.Helper()
	conn, err := pgx.Connect(patient(t),
		at+"&client_encoding=UTF8&search_path=public&statement_timeout=0&idle_session_timeout=0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(patient(t))
	rows, _ := conn.Query(patient(t), `SELECT object_id FROM events ORDER BY seq`) // CollectRows says what is wrong
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(got, want) {
		t.Errorf("another program reads %q, %v, want %q", got, err, want)
	}
}

// mustCopy copies every table.
func mustCopy(t *testing.T, from, to *DB) {
	t.Helper()
	a, err := from.Dump(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := to.Dump(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range store.Tables {
		table := &store.Tables[i]
		scopes := []store.Scope{{Tenant: "a"}}
		if table.Per == store.PerWebhook {
			nums, err := pgx.CollectRows(mustRows(t, from, `SELECT num FROM webhooks ORDER BY num`), pgx.RowTo[int64])
			if err != nil {
				t.Fatal(err)
			}
			scopes = nil
			for _, n := range nums {
				scopes = append(scopes, store.Scope{Tenant: "a", Webhook: n})
			}
		}
		for _, in := range scopes {
			var rows []store.Row
			for row, err := range a.Rows(patient(t), table, in, nil, 0) {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
			if len(rows) == 0 {
				continue
			}
			if err := b.Put(patient(t), table, rows); err != nil {
				t.Fatalf("Put %s = %v", table.Name, err)
			}
		}
	}
	for _, d := range []store.Dump{b, a} {
		if d == b {
			if err := d.Finish(patient(t)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustRows(t *testing.T, db *DB, query string) pgx.Rows {
	t.Helper()
	rows, err := db.pool.Query(patient(t), query)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestOpenRefuses: what will not do is refused with a sentence, and nothing is left open.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	ring := mustRing(t)
	schema := s.NewDatabase(t)
	run(t, mustOpen(t, s.NewDatabase(t), ring), `SELECT 1`)
	first, err := Open(patient(t), Config{URL: schema + "&search_path=public", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`CREATE SCHEMA apart`, `ALTER TABLE event_ids SET SCHEMA apart`,
		`ALTER TABLE goose_db_version SET SCHEMA apart`} {
		run(t, first, sql)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, url, want string }{
		{"a pooler", s.Pooler(t, s.NewDatabase(t), "pool_mode = transaction"), "pooler"},
		{"a schema elsewhere", schema, "search_path=apart"},
	} {
		db, err := Open(patient(t), Config{URL: c.url, Keyring: ring})
		if err == nil {
			_ = db.Close()
		}
		r, ok := errors.AsType[*pgsession.Refusal](err)
		if !ok || !strings.Contains(r.Sentence, c.want) || errors.Is(err, store.ErrAway) {
			t.Errorf("Open with %s = %v, want a refusal with %q", c.what, err, c.want)
		}
	}
}
