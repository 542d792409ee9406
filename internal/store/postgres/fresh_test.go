package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// prepared is how many pages a prepared statement touches, planned once for all arguments, as the lists are.
func prepared(t *testing.T, tx pgx.Tx, query string, args ...any) int {
	t.Helper()
	ctx := patient(t)
	if _, err := tx.Exec(ctx, "PREPARE fresh AS "+query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _, _ = tx.Exec(context.WithoutCancel(ctx), "DEALLOCATE fresh") }()
	var list []string
	for _, a := range args {
		switch a := a.(type) {
		case string:
			list = append(list, "'"+a+"'")
		case []int64:
			list = append(list, "'{"+strings.Trim(strings.ReplaceAll(fmt.Sprint(a), " ", ","), "[]")+"}'")
		default:
			list = append(list, fmt.Sprint(a))
		}
	}
	var text []byte
	err := tx.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE fresh("+strings.Join(list, ", ")+")").Scan(&text)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var plan []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &plan); err != nil {
		t.Fatal(err)
	}
	return plan[0].Plan.Hit + plan[0].Plan.Read
}

// TestListsOfAFreshDatabase: before autovacuum has first looked at the tables, a page of a list costs a page of a list,
// and not all that there is for each row of it.
func TestListsOfAFreshDatabase(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	if err := db.CreateTenant(patient(t), store.Tenant{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	w := &webhook.Webhook{ID: uuid.NewString(), Tenant: "a", URL: "https://example.com/", Method: webhook.POST,
		EventTypes: []string{"**"},
		Timeout:    time.Second}
	if err := db.CreateWebhook(patient(t), w); err != nil {
		t.Fatal(err)
	}
	run(t, db, `ALTER TABLE waiting SET (autovacuum_enabled = off)`)
	for _, table := range []string{"events", "outcomes"} {
		run(t, db, `DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = '`+table+`'::regclass
			LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', p); END LOOP; END $$`)
	}
	var keys, events []int64
	var last store.Seq
	for i := range 20 {
		b := &store.Batch{}
		for k := range 500 {
			last = db.Next(last)
			b.Submissions = append(b.Submissions, sent(last, false, w.Num))
			key := store.DeliveryKey{Webhook: w.Num, Event: last}
			o := store.Outcome{Tenant: "a", DeliveryKey: key, Attempt: 1, At: time.Now(), Status: 200,
				Kind: store.Delivered}
			switch k % 10 {
			case 0:
				o.Kind = store.Exhausted
			case 1:
				o.Kind, o.NextAt = store.Retry, time.Now().Add(time.Hour)
				b.Wait = append(b.Wait, store.Waiting{DeliveryKey: key, DueAt: o.NextAt, Attempts: 1})
			}
			b.Outcomes = append(b.Outcomes, o)
			if i == 19 && k >= 300 {
				keys, events = append(keys, w.Num), append(events, int64(last))
			}
		}
		mustCommit(t, db, b)
	}
	err := pgx.BeginFunc(patient(t), db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(patient(t), inOrder); err != nil {
			return err
		}
		for name, f := range map[string]store.DeliveryFilter{
			"all": {}, "of one": {Webhook: w.Num}, "waiting": {Status: store.StatusWaiting}, "delivered": {Status: store.StatusDelivered},
			"delivered of one": {Status: store.StatusDelivered,
				Webhook: w.Num}, "given up": {Status: store.StatusExhausted},
		} {
			q, err := find("a", f, store.DeliveryKey{}, 200, time.Now())
			if err != nil {
				return err
			}
			if q.query == findAllOfOne || q.query == findWaiting {
				q.args = append(q.args, int64(last))
			}
			if n := prepared(t, tx, q.query+states, q.args...); n > 200*25 {
				t.Errorf("a page of %s touches %d pages, want at most 25 for each of its 200 rows", name, n)
			}
		}
		if n := prepared(t, tx, selectTries, "a", keys, events); n > 200*25 {
			t.Errorf("the outcomes of a page touch %d pages, want at most 25 for each of its 200 rows", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
