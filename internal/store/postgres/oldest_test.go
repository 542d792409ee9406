package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
)

// burn uses up transaction numbers: farSnapshot of them.
const burn = `DO $$ BEGIN FOR i IN 1..100000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`

// TestOldest: whoever keeps dead rows from being removed is named, whatever it is.
func TestOldest(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	at := s.NewDatabase(t)
	db := mustOpen(t, at, mustRing(t))
	run(t, db, `ALTER SYSTEM SET max_prepared_transactions = 5`)
	run(t, db, `ALTER SYSTEM SET wal_level = logical`)
	s.Stop(t, pgtest.Fast)
	s.Restart(t)
	open := func(t *testing.T) *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(patient(t), at+"&application_name=canary")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(patient(t)) })
		return conn
	}
	for _, c := range []struct{ begin, end, holder, keeper string }{
		{`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1`, `ROLLBACK`, "(canary), idle in transaction",
			"(canary), idle in transaction"},
		{`BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'one'`, `ROLLBACK PREPARED 'one'`,
			"prepared transaction 'one'", "prepared transaction 'one'"},
		{`SELECT pg_create_logical_replication_slot('unread', 'test_decoding')`,
			`SELECT pg_drop_replication_slot('unread')`,
			"", "slot unread (of the catalogue)"},
	} {
		conn := open(t)
		if _, err := conn.Exec(patient(t), c.begin); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the holder is named: "+c.begin, func() bool {
			o, err := db.Oldest(patient(t))
			return err == nil && strings.Contains(o.Holder, c.holder) &&
				strings.Contains(o.Keeper, c.keeper) && o.All &&
				(o.Transaction > 0 || c.holder == "")
		})
		if c.holder == "" {
			finds(t, at, "1 replication slots that nobody reads: unread", false)
		}
		if c.end == "ROLLBACK" {
			run(t, db, burn)
			finds(t, at, "transactions old: process", false)
		}
		if _, err := conn.Exec(patient(t), c.end); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nobody holds anything: "+c.end, func() bool {
			o, err := db.Oldest(patient(t))
			return err == nil && o.Snapshot < farSnapshot && o.Transaction < longTransaction
		})
	}
}

func TestJudgeOldest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o   Oldest
		bad int
	}{
		{Oldest{All: true}, 0},
		{Oldest{}, 0},
		{Oldest{Transaction: longTransaction - 1, Snapshot: farSnapshot - 1}, 0},
		{Oldest{Transaction: longTransaction}, 1},
		{Oldest{Snapshot: farSnapshot}, 1},
		{Oldest{Transaction: time.Hour, Snapshot: 1e9}, 2},
	} {
		var got checkup
		got.judge(c.o)
		bad := 0
		for _, f := range got.list {
			if !f.OK {
				bad++
			}
		}
		if bad != c.bad {
			t.Errorf("judge(%+v) found %d bad things in %+v, want %d", c.o, bad, got.list, c.bad)
		}
	}
}
