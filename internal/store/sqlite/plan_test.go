package sqlite

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/store"
)

// TestPlans: every statement whose table grows with history finds its rows by an index, and sorts nothing that does.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	present, reference := presence(store.Present), ` AND reference = ? AND reference <> ''`
	type plan struct {
		query string
		want  []string
		sorts bool
	}
	plans := map[string]plan{
		"find one":    {findEvents(1), []string{"INDEX events_id_once (tenant=? AND id=?)"}, false},
		"find many":   {findEvents(findChunk), []string{"INDEX events_id_once (tenant=? AND id=?)"}, false},
		"settle one":  {deleteWaiting(1), []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"settle many": {deleteWaiting(settleChunk), []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"due":         {selectDue, []string{"INDEX waiting_due (webhook=? AND due_at>? AND due_at<?)", "e USING INTEGER PRIMARY KEY"}, false},
		"next due":    {selectNextDue, []string{"COVERING INDEX waiting_due (webhook=? AND due_at>?)"}, false},
		"attempts":    {selectAttempts, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"last seq":    {selectLastSeq, []string{"SEARCH events"}, false},
		"unsettled": {selectUnsettled,
			[]string{"e USING INTEGER PRIMARY KEY (rowid>?)", "outcomes USING PRIMARY KEY (webhook=? AND event=?)",
				"waiting USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim look":     {trimLook, []string{"e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "outcomes USING PRIMARY KEY (webhook=? AND event=?)", "waiting USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim outcomes": {trimOutcomes, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim event":    {trimEvent, []string{"INTEGER PRIMARY KEY (rowid=?)"}, false},
		"trim parts": {trimParts, []string{"event_parts USING INTEGER PRIMARY KEY (rowid<?)", "SEARCH events"},
			false},
		"part tail": {selectPartTail, []string{"events USING INTEGER PRIMARY KEY (rowid>?)"}, false},
		"part at":   {selectPartAt, []string{"INTEGER PRIMARY KEY (rowid>?)"}, false},
		"parts":     {selectParts, []string{"INTEGER PRIMARY KEY (rowid<?)"}, false},
		"event by id": {`SELECT ` + eventColumns + ` FROM events AS e WHERE e.tenant = ? AND e.id = ?`,
			[]string{"events_id_once (tenant=? AND id=?)"}, false},
		"list events":  {listEvents, []string{"INDEX events_by_tenant (tenant=? AND rowid>? AND rowid<?)"}, false},
		"list tried":   {listTried, []string{"PRIMARY KEY (webhook=? AND event>? AND event<?)"}, false},
		"list waiting": {listWaiting, []string{"PRIMARY KEY (webhook=? AND event>? AND event<?)"}, false},
		"list delivered": {listDelivered, []string{"outcomes USING PRIMARY KEY (webhook=? AND event>? AND event<?)",
			"w USING PRIMARY KEY (webhook=? AND event=?)", "l USING PRIMARY KEY (webhook=? AND event=? AND attempt>?)"}, false},
		"last tried": {lastTried, []string{"PRIMARY KEY (webhook=? AND event>? AND event<?)"}, false},
		"last given up": {lastGivenUp, []string{"outcomes_given_up (webhook=? AND kind=? AND event>? AND event<?)"},
			false},
		"last unsettled": {lastUnsettled,
			[]string{"COVERING INDEX events_by_tenant (tenant=? AND rowid>? AND rowid<?)"},
			false},
		"list given up": {listGivenUp, []string{"outcomes_given_up (webhook=? AND kind=? AND event>? AND event<?)"},
			false},
		// Sorts by webhook within an event only.
		"list unsettled": {listUnsettled,
			[]string{"events_by_tenant (tenant=? AND rowid>? AND rowid<?)",
				"o USING PRIMARY KEY (webhook=? AND event=?)", "x USING PRIMARY KEY (webhook=? AND event=?)"}, true},
		"backlogs": {selectBacklogs, []string{"waiting USING COVERING INDEX waiting_due (webhook=?)"}, false},
		"last due": {selectLast, []string{"waiting USING COVERING INDEX waiting_due (webhook=?)"}, false},
		"late": {updateLate, []string{"w USING INDEX waiting_due (webhook=? AND due_at>?)",
			"waiting USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"delivery": {selectDelivery,
			[]string{"e USING INTEGER PRIMARY KEY (rowid=?)", "w USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"state": {selectState,
			[]string{"e USING INTEGER PRIMARY KEY (rowid=?)", "w USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"waiting counts": {selectWaitingCounts, []string{"SEARCH waiting USING PRIMARY KEY (webhook=?)"}, false},
		"last outcomes": {selectLastOutcomes, []string{"o USING PRIMARY KEY (webhook=? AND event=?)",
			"SEARCH outcomes USING PRIMARY KEY (webhook=?)", "SEARCH outcomes USING PRIMARY KEY (webhook=? AND event=?)"},
			false},
		"outcomes": {selectOutcomes, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"tries":    {selectTries, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},

		"advisor":  {selectAdvisor, []string{"advisors_1 (tenant=? AND id=?)"}, false},
		"investor": {selectInvestor, []string{"investors_1 (tenant=? AND id=?)"}, false},
		"session":  {selectSession, []string{"advice_sessions_1 (tenant=? AND id=?)"}, false},
		"advisors": {advisorColumns + ` WHERE tenant = ?` + page,
			[]string{"advisors_by_tenant (tenant=? AND num>?)"}, false},
		"investors": {investorColumns + ` WHERE tenant = ?` + present + page,
			[]string{"investors_by_tenant (tenant=? AND num>?)"}, false},
		"investors of advisor": {investorColumns + ` WHERE tenant = ? AND advisor = ?` + present + page,
			[]string{"investors_by_advisor (tenant=? AND advisor=? AND num>?)"}, false},
		"investor by reference": {investorColumns + ` WHERE tenant = ?` + reference + present + page,
			[]string{"investors_by_reference (tenant=? AND reference=? AND num>?)"}, false},
		"advisor and reference": {investorColumns + ` WHERE tenant = ? AND advisor = ?` + reference + present + page,
			[]string{"investors_by_reference (tenant=? AND reference=? AND num>?)"}, false},
		"sessions": {sessionColumns + ` WHERE tenant = ? AND investor = ?` + present + ` AND completed_at IS NULL` + page, []string{"advice_sessions_by_investor (tenant=? AND investor=? AND num>?)"}, false},
		"expired investors": {`SELECT tenant, id FROM investors WHERE deleted_at < ? ORDER BY deleted_at LIMIT ?`,
			[]string{"investors_expiring (deleted_at<?)"}, false},
		"expired sessions": {`SELECT tenant, id FROM advice_sessions WHERE deleted_at < ? ORDER BY deleted_at LIMIT ?`, []string{"advice_sessions_expiring (deleted_at<?)"}, false},
		"session versions": {`SELECT id, version FROM advice_sessions WHERE tenant = ? AND investor = ? ORDER BY num LIMIT ?`, []string{"advice_sessions_by_investor (tenant=? AND investor=?)"}, false},
		"report": {`SELECT content FROM reports WHERE tenant = ? AND id = ? AND session = ?`,
			[]string{"reports_1 (tenant=? AND id=?)"}, false},
		"reports": {`SELECT num, length(content) FROM reports WHERE tenant = ? AND session = ?` + page,
			[]string{"reports_by_session (tenant=? AND session=? AND num>?)"}, false},
		"idempotency key": {`SELECT request FROM idempotency_keys WHERE tenant = ? AND caller = ? AND key = ?`,
			[]string{"PRIMARY KEY (tenant=? AND caller=? AND key=?)"}, false},
		"drop keys": {`DELETE FROM idempotency_keys WHERE created_at < ?`,
			[]string{"idempotency_keys_expiring (created_at<?)"}, false},
	}
	// What a change of the platform's objects looks up and writes: by ID, the children's index or the key.
	new(changes).prepare(func(query string) *statement {
		var want []string
		switch {
		case strings.HasPrefix(query, "INSERT"):
		case strings.Contains(query, "count(*)"):
			want = []string{"COVERING INDEX"}
		case strings.Contains(query, "id = ?"):
			want = []string{"_1 (tenant=? AND id=?)"}
		default:
			want = []string{"(tenant=? AND "}
		}
		plans["change: "+query] = plan{query, want, false}
		return nil
	})
	for name, c := range plans {
		plan := mustPlan(t, db, c.query)
		for _, want := range c.want {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: plan is\n%swant %q in it", name, plan, want)
			}
		}
		for line := range strings.Lines(plan) {
			grows := strings.Contains(line, "SCAN") && !strings.Contains(line, "json_each") &&
				!strings.Contains(line, "VIRTUAL TABLE") &&
				!strings.Contains(line, "SCAN hook") && // the webhooks that a backlog was found of
				!strings.Contains(line, "SCAN (subquery") && // whose own reads have lines of their own
				!strings.HasSuffix(strings.TrimSpace(line), "SCAN o") // what a list looks at, which is bounded
			if grows || strings.Contains(line, "TEMP B-TREE") && !(c.sorts && strings.Contains(line, "LAST TERM")) {
				t.Errorf("%s: plan has %s", name, line)
			}
		}
	}
}

func mustPlan(t *testing.T, db *DB, query string) string {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := 9; i > 0; i-- { // numbered parameters are fewer than question marks
		if strings.Contains(query, "?1") && strings.Contains(query, "?"+string(rune('0'+i))) {
			args = make([]any, i)
			break
		}
	}
	rows, err := db.rdb.db.QueryContext(context.Background(), `EXPLAIN QUERY PLAN `+query, args...)
	var plan strings.Builder
	err = each(rows, err, func() error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		plan.WriteString("  " + detail + "\n")
		return err
	})
	if err != nil {
		t.Fatalf("plan of %s: %v", query, err)
	}
	return plan.String()
}
