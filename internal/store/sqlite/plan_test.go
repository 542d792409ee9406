package sqlite

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlans: every statement whose table grows with history finds its rows by an index, and sorts nothing that does.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, filepath.Join(t.TempDir(), "q.db"), mustRing(t))
	for name, c := range map[string]struct {
		query string
		want  []string
		sorts bool
	}{
		"find one":       {findEvents(1), []string{"INDEX events_id_once (tenant=? AND id=?)"}, false},
		"find many":      {findEvents(findChunk), []string{"INDEX events_id_once (tenant=? AND id=?)"}, false},
		"settle one":     {deleteWaiting(1), []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"settle many":    {deleteWaiting(settleChunk), []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"due":            {selectDue, []string{"INDEX waiting_due (webhook=? AND due_at>? AND due_at<?)", "e USING INTEGER PRIMARY KEY"}, false},
		"next due":       {selectNextDue, []string{"COVERING INDEX waiting_due (webhook=?)"}, false},
		"attempts":       {selectAttempts, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"last seq":       {selectLastSeq, []string{"SEARCH events"}, false},
		"unsettled":      {selectUnsettled, []string{"e USING INTEGER PRIMARY KEY (rowid>?)", "outcomes USING PRIMARY KEY (webhook=? AND event=?)", "waiting USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim look":      {trimLook, []string{"e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "outcomes USING PRIMARY KEY (webhook=? AND event=?)", "waiting USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim outcomes":  {trimOutcomes, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"trim event":     {trimEvent, []string{"INTEGER PRIMARY KEY (rowid=?)"}, false},
		"trim parts":     {trimParts, []string{"event_parts USING INTEGER PRIMARY KEY (rowid<?)", "SEARCH events"}, false},
		"part tail":      {selectPartTail, []string{"events USING INTEGER PRIMARY KEY (rowid>?)"}, false},
		"part at":        {selectPartAt, []string{"INTEGER PRIMARY KEY (rowid>?)"}, false},
		"parts":          {selectParts, []string{"INTEGER PRIMARY KEY (rowid<?)"}, false},
		"event by id":    {`SELECT ` + eventColumns + ` FROM events AS e WHERE e.tenant = ? AND e.id = ?`, []string{"events_id_once (tenant=? AND id=?)"}, false},
		"list events":    {listEvents, []string{"INDEX events_by_tenant (tenant=? AND rowid>? AND rowid<?)"}, false},
		"list tried":     {listTried, []string{"PRIMARY KEY (webhook=? AND event>? AND event<?)"}, false},
		"list waiting":   {listWaiting, []string{"PRIMARY KEY (webhook=? AND event>? AND event<?)"}, false},
		"list delivered": {listDelivered, []string{"o USING PRIMARY KEY (webhook=? AND event>? AND event<?)", "w USING PRIMARY KEY (webhook=? AND event=?)", "l USING PRIMARY KEY (webhook=? AND event=? AND attempt>?)"}, false},
		"list given up":  {listGivenUp, []string{"outcomes_given_up (webhook=? AND kind=? AND event>? AND event<?)"}, false},
		// Sorts by webhook within an event only.
		"list unsettled": {listUnsettled, []string{"events_by_tenant (tenant=? AND rowid>? AND rowid<?)", "o USING PRIMARY KEY (webhook=? AND event=?)", "x USING PRIMARY KEY (webhook=? AND event=?)"}, true},
		"delivery":       {selectDelivery, []string{"e USING INTEGER PRIMARY KEY (rowid=?)", "w USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"state":          {selectState, []string{"e USING INTEGER PRIMARY KEY (rowid=?)", "w USING PRIMARY KEY (webhook=? AND event=?)"}, false},
		"outcomes":       {selectOutcomes, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
		"tries":          {selectTries, []string{"PRIMARY KEY (webhook=? AND event=?)"}, false},
	} {
		plan := mustPlan(t, db, c.query)
		for _, want := range c.want {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: plan is\n%swant %q in it", name, plan, want)
			}
		}
		for line := range strings.Lines(plan) {
			grows := strings.Contains(line, "SCAN") && !strings.Contains(line, "json_each") && !strings.Contains(line, "VIRTUAL TABLE")
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
			args = args[:i]
			break
		}
	}
	rows, err := db.rdb.QueryContext(context.Background(), `EXPLAIN QUERY PLAN `+query, args...)
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
