package postgres

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// TestPlans: what is listed can be read in the order of an index, partition by partition; nothing needs to be sorted as
// a whole. The tables are empty, so sorting and scanning are forbidden where they could be done without.
func TestPlans(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	seqs := []any{"a", 1, int64(math.MaxInt64)}
	with := func(args []any, more ...any) []any { return append(append([]any{}, args...), more...) }
	list := with(seqs, 10)
	page := []any{"a", 7, 1, int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), 10}
	low, high, _ := madeBetween(uuid.Must(uuid.NewV7()))
	for name, c := range map[string]struct {
		query string
		args  []any
		want  string // the index
		sorts string // what may be sorted
	}{
		"event by ID": {selectEvent, []any{"a", uuid.New(), int64(low), int64(high)}, "_tenant_id_idx", ""},
		"events":      {listEvents + newest, list, "_pkey", ""},
		"object": {listEvents + ` AND e.object_id = $5` + newest, with(list, "x"),
			"_tenant_object_id_seq_idx", ""},
		"object owner": {listEvents + ` AND e.object_owner_id = $5` + newest, with(list, "x"),
			"_tenant_object_owner_id_seq_idx", ""},
		"owner": {listEvents + ` AND e.owner_id = $5` + newest, with(list, "x"), "_tenant_owner_id_seq_idx", ""},

		// A page is sorted, and the webhooks of an event.
		"all":           {findAll + states, page, "_pkey", "num DESC"},
		"all of one":    {findAllOfOne + states, with(page, 1), "waiting_pk", "num"},
		"waiting":       {findWaiting + states, with(page, 1), "waiting_pk", "num"},
		"delivered":     {findDelivered + states, page, "_pkey", "num DESC"},
		"delivered one": {findDeliveredOne + states, page, "_pkey", "num DESC"},
		"given up": {findGivenUp + states, with(page, string(store.StatusExhausted)), "_tenant_webhook_kind_event_idx",
			"num DESC"},
		"tries":          {selectTries, []any{"a", []int64{1}, []int64{1}}, "_pkey", "o.webhook, o.event, o.attempt"},
		"waiting counts": {selectWaitingCounts, []any{"a", []int64{1, 2}, 10}, "waiting_", ""},
		"last outcomes":  {selectLastOutcomes, []any{"a", []int64{1, 2}}, "_pkey", ""},
		"outcomes":       {selectOutcomes, []any{"a", 1, int64(store.SeqAt(time.Now()))}, "_pkey", ""},
		"delivery":       {selectDelivery, []any{"a", 1, int64(store.SeqAt(time.Now()))}, "waiting_pk", ""},
		"unclaimed":      {selectUnclaimed, nil, "waiting_unclaimed", ""},
		"changed":        {selectChanged, []any{"1"}, "webhooks_changed", ""},
	} {
		var plan []string
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) (err error) {
			_, err = tx.Exec(ctx, `SELECT set_config('enable_' || x, 'off', true) FROM unnest($1::text[]) AS x`,
				[]string{"sort", "seqscan", "bitmapscan", "hashjoin", "mergejoin", "material"})
			if err == nil {
				plan, err = collect(ctx, tx, "plan", pgx.RowTo[string], `EXPLAIN `+c.query, c.args...)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := strings.Join(plan, "\n")
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: plan is\n%s\nwant index %s", name, text, c.want)
		}
		for i, line := range plan {
			sorts := strings.Contains(line, "Sort  (") && (c.sorts == "" || !strings.Contains(plan[i+1], c.sorts))
			if sorts || strings.Contains(line, "Seq Scan on events") ||
				strings.Contains(line, "Seq Scan on outcomes") || strings.Contains(line, "Seq Scan on waiting") {
				t.Errorf("%s: plan has %s %s", name, strings.TrimSpace(line),
					strings.TrimSpace(plan[min(i+1, len(plan)-1)]))
			}
		}
	}
}

// TestEventByMadeID: an ID that was made here is found by its own time, in the partition of the day or outside of them.
func TestEventByMadeID(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := mustOpen(t, pgtest.Shared(t).NewDatabase(t), mustRing(t))
	old := uuid.MustParse("018f4cd0-0000-7000-8000-000000000001") // of May 2024
	for id, at := range map[uuid.UUID]time.Time{uuid.Must(uuid.NewV7()): time.Now(),
		old: time.UnixMilli(0x018f4cd00000)} {
		s := &store.Submission{Tenant: "a", Events: []store.Submitted{{Seq: store.SeqAt(at)}}}
		s.Events[0].Event.ID, s.Events[0].Event.Data = id, []byte("{}")
		if err := db.Commit(ctx, &store.Batch{Submissions: []*store.Submission{s}}); err != nil {
			t.Fatalf("Commit = %v, want nil", err)
		}
		if r, err := db.EventByID(ctx, "a", id); err != nil || r.Seq != store.SeqAt(at) {
			t.Errorf("EventByID(%s) = %+v, %v, want seq %d, nil", id, r, err, store.SeqAt(at))
		}
	}
}
