package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// mustHooks makes webhooks of the tenant a, whose numbers are 1 to n; all but the first long ago.
func mustHooks(t *testing.T, db *DB, n int) {
	t.Helper()
	if err := db.CreateTenant(patient(t), store.Tenant{ID: "a", Name: "A", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w := &webhook.Webhook{Tenant: "a", ID: "w1", URL: "https://example.com", Method: "POST", EventTypes: []string{"*"},
		Enabled: true,
		Timeout: time.Second, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	if err := db.CreateWebhook(patient(t), w); err != nil {
		t.Fatal(err)
	}
	run(t, db, `INSERT INTO webhooks (tenant, id, url, method, event_types, owner_id, auth, headers, signing_keys, description, enabled,
			disabled_reason, timeout, retry_schedule, version, created_at, updated_at, changed)
		SELECT tenant, 'w' || i, url, method, event_types, owner_id, auth, headers, signing_keys, description, enabled,
			disabled_reason, timeout, retry_schedule, version, created_at, updated_at, '1' FROM webhooks, generate_series(2, $1) AS i`, n)
	run(t, db, `ANALYZE webhooks`)
}

// TestLook: what was written since the last look is found, also by a transaction that began before it and ended after;
// and nothing else is read.
func TestLook(t *testing.T) {
	t.Parallel()
	const hooks = 3000
	url := pgtest.Shared(t).NewDatabase(t)
	db := mustOpen(t, url, mustRing(t))
	mustHooks(t, db, hooks)
	ctx := patient(t)
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	quick, slow := connect(), connect()
	k := &known{states: map[int64]sight{}, since: "0"}
	look := func(what string, want ...int64) {
		t.Helper()
		nums, err := k.look(ctx, quick)
		slices.Sort(nums)
		if err != nil || !slices.Equal(nums, want) {
			t.Errorf("%s: look = %v, %v, want %v", what, nums, err, want)
		}
		for _, num := range nums {
			k.states[num] = sight{version: number(t, db, `SELECT version FROM webhooks WHERE num = $1`, num)}
		}
	}
	do := func(conn *pgx.Conn, query string) {
		t.Helper()
		if _, err := conn.Exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	const change = `UPDATE webhooks SET version = version + 1, changed = pg_current_xact_id() WHERE num = `
	look("at first", column(t, db, `SELECT num FROM webhooks ORDER BY num`)...)
	look("nothing changed")
	do(slow, `BEGIN; `+change+`7`)
	do(quick, change+`9`)
	look("one of two has ended", 9)
	do(quick, change+`11`)
	look("and another after", 11)
	do(slow, `COMMIT`)
	look("the slow one has ended too", 7)
	look("nothing again")
	if got := pages(t, db, selectChanged, k.since); got > 10 {
		t.Errorf("a look at nothing new touches %d pages, want a few", got)
	}
	run(t, db, `UPDATE webhooks SET version = version + 1 WHERE num = 5`) // by hand
	k.compared = time.Now().Add(-compareAfter)
	look("all are compared", 5)
}

// TestWebhookByNum: whatever the tenant, deleted or not.
func TestWebhookByNum(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	mustHooks(t, db, 2)
	w, err := db.WebhookByID(patient(t), "a", "w1")
	if err != nil {
		t.Fatal(err)
	}
	w.DeletedAt = time.Now()
	if err := db.UpdateWebhook(patient(t), w); err != nil {
		t.Fatal(err)
	}
	for num, want := range map[int64]string{w.Num: "w1", w.Num + 1: "w2"} {
		got, err := db.WebhookByNum(patient(t), num)
		if err != nil || got.ID != want || got.Deleted() != (want == "w1") {
			t.Errorf("WebhookByNum(%d) = %+v, %v, want %s", num, got, err, want)
		}
	}
	if _, err := db.WebhookByNum(patient(t), 1000); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WebhookByNum(1000) = %v, want ErrNotFound", err)
	}
}

// TestBacklogs: what is free, and what is this node's own, by webhook with the earliest; the cost goes with those.
func TestBacklogs(t *testing.T) {
	t.Parallel()
	const hooks = 3000
	url, ring := pgtest.Shared(t).NewDatabase(t), mustRing(t)
	a, b := mustOpen(t, url, ring), mustOpen(t, url, ring)
	mustHooks(t, a, hooks)
	base := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	put := func(webhook, rows int, first time.Time, by *DB) {
		var node any
		if by != nil {
			node = by.node.Load().id
		}
		run(t, a, `INSERT INTO waiting (tenant, webhook, event, attempts, due_at, node)
			SELECT 'a', $1, i, 0, $3::timestamptz + i * interval '1 s', $4 FROM generate_series(coalesce((SELECT max(event) FROM waiting), 0) + 1,
				coalesce((SELECT max(event) FROM waiting), 0) + $2) AS i`, webhook, rows, first, node)
	}
	put(1, 500, base, nil)
	put(2, 500, base.Add(24*time.Hour), nil) // not due
	put(3, 500, base, nil)                   // disabled
	put(4, 500, base, a)
	put(5, 500, base, b)
	put(6, 500, base.Add(24*time.Hour), nil) // deleted, and so are its rows to be cancelled
	run(t, a, `UPDATE webhooks SET enabled = false WHERE num = 3`)
	run(t, a, `UPDATE webhooks SET deleted_at = now() WHERE num = 6`)
	put(3000, 500, base, nil)
	put(3000, 1, base.Add(-24*time.Hour), a)
	run(t, a, `ANALYZE waiting`)
	unclaimed, err := a.Unclaimed(patient(t))
	slices.Sort(unclaimed)
	if err != nil || !slices.Equal(unclaimed, []int64{1, 6, 3000}) {
		t.Errorf("Unclaimed = %v, %v, want 1, 6, 3000", unclaimed, err)
	}
	for db, want := range map[*DB][]int64{a: {1, 2, 3, 4, 6, 3000}, b: {1, 2, 3, 5, 6, 3000}} {
		list, err := db.Backlogs(patient(t))
		var nums []int64
		for _, l := range list {
			nums = append(nums, l.Webhook)
			least := number(t, a, `SELECT extract(epoch FROM min(due_at))::bigint FROM waiting WHERE webhook = $1 AND (node IS NULL OR node = $2)`,
				l.Webhook, db.node.Load().id)
			if l.DueAt.Unix() != least {
				t.Errorf("Backlogs says that webhook %d is due at %v, want %v", l.Webhook, l.DueAt, time.Unix(least, 0))
			}
		}
		if err != nil || !slices.Equal(nums, want) {
			t.Errorf("Backlogs = %v, %v, want %v", nums, err, want)
		}
	}
	if got := pages(t, a, selectUnclaimed); got > 60 {
		t.Errorf("Unclaimed of 5 webhooks with free rows, of %d, touches %d pages, want some tens", hooks, got)
	}
}
