package api

import (
	"context"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// The states of a webhook, worst first.
const (
	stateSwitchedOff = "switched_off"
	stateFailing     = "failing"
	stateUnsteady    = "unsteady"
	stateOK          = "ok"
	stateIdle        = "idle"
	statePaused      = "paused"
)

var states = []string{stateSwitchedOff, stateFailing, stateUnsteady, stateOK, stateIdle, statePaused}

// stateOf is the policy: what a webhook's state is, from its settings and from what came of the last hour that had attempts.
func stateOf(enabled, byUs bool, last *store.Counts) string {
	switch {
	case !enabled && byUs:
		return stateSwitchedOff
	case !enabled:
		return statePaused
	case last == nil:
		return stateIdle
	case last.Delivered == 0:
		return stateFailing
	case last.Retried+last.Exhausted > 0:
		return stateUnsteady
	}
	return stateOK
}

// webhookStats are the numbers of a tenant's webhooks while they are read.
type webhookStats struct {
	tenant string
	now    time.Time
	hooks  []*webhook.Webhook
	nums   []int64
	sums   map[int64]store.Counts   // over the period
	days   map[int64][]store.Rollup // hours of the last day that had attempts
	last   map[int64]store.Rollup   // the last hour that had attempts
}

// read gets what all webhooks need with a few queries.
func (s *webhookStats) read(ctx context.Context, from store.Stats, p period) error {
	s.sums, s.days, s.last = map[int64]store.Counts{}, map[int64][]store.Rollup{}, map[int64]store.Rollup{}
	q := store.RollupQuery{Tenant: s.tenant, Webhooks: s.nums, Span: p.span, Since: p.since(s.now), Until: s.now.Add(time.Hour)}
	if length := time.Duration(p.points) * p.step; length > time.Hour { // whole hours: a day of minutes of many webhooks is much to read
		q.Span, q.Since = store.PerHour, s.now.UTC().Truncate(time.Hour).Add(time.Hour-length)
	}
	q.Step = 2 * time.Duration(p.points) * p.step // all in one
	rows, err := from.Rollups(ctx, q)
	if err != nil {
		return fmt.Errorf("read the numbers of webhooks: %w", err)
	}
	for i := range rows {
		s.sums[rows[i].Webhook] = rows[i].Counts
	}
	hour := s.now.UTC().Truncate(time.Hour)
	q = store.RollupQuery{Tenant: s.tenant, Webhooks: s.nums, Span: store.PerHour, Since: hour.Add(-23 * time.Hour), Until: hour.Add(time.Hour), Step: time.Hour}
	if rows, err = from.Rollups(ctx, q); err != nil {
		return fmt.Errorf("read the last day of webhooks: %w", err)
	}
	for i := range rows {
		if r := rows[i]; r.Attempts() > 0 {
			s.days[r.Webhook] = append(s.days[r.Webhook], r)
			s.last[r.Webhook] = r
		}
	}
	return s.readQuiet(ctx, from, hour)
}

// readQuiet looks further back for those that had no attempt in the last day.
func (s *webhookStats) readQuiet(ctx context.Context, from store.Stats, hour time.Time) error {
	var quiet []int64
	for _, num := range s.nums {
		if _, ok := s.last[num]; !ok {
			quiet = append(quiet, num)
		}
	}
	q := store.RollupQuery{Tenant: s.tenant, Webhooks: quiet, Span: store.PerHour, Since: hour.AddDate(0, 0, -stateDays), Until: hour, Step: time.Hour}
	rows, err := from.Rollups(ctx, q)
	if err != nil {
		return fmt.Errorf("read the last %d days of webhooks: %w", stateDays, err)
	}
	for i := range rows {
		if r := rows[i]; r.Attempts() > 0 {
			s.last[r.Webhook] = r
		}
	}
	return nil
}

func (s *webhookStats) view(w *webhook.Webhook) *webhookStatsView {
	sum := s.sums[w.Num]
	v := &webhookStatsView{ID: w.ID, URL: w.URL, Method: string(w.Method), Description: w.Description,
		EventTypes: append([]string{}, w.EventTypes...), CountsView: viewCounts(&sum), Day: make([]sparkView, 24), failed: sum.Retried + sum.Exhausted}
	first := s.now.UTC().Truncate(time.Hour).Add(-23 * time.Hour)
	for _, r := range s.days[w.Num] {
		v.Day[r.At.Sub(first)/time.Hour] = sparkView{r.Delivered, r.Retried + r.Exhausted}
	}
	var last *store.Counts
	if r, ok := s.last[w.Num]; ok {
		last = &r.Counts
	}
	v.State = stateOf(w.Enabled, w.DisabledReason != "", last)
	return v
}

// failingSince is the beginning of the first hour, or in the last day minute, with a failure after the last with a delivery.
func (s *webhookStats) failingSince(ctx context.Context, from store.Stats, num int64) (since time.Time, err error) {
	q := store.RollupQuery{Tenant: s.tenant, Webhooks: []int64{num}, Span: store.PerHour, Since: s.now.UTC().Truncate(time.Hour).AddDate(0, 0, -stateDays),
		Until: s.now.Add(time.Hour), Step: time.Hour}
	for _, span := range []store.RollupSpan{store.PerHour, store.PerMinute} {
		rows, err := from.Rollups(ctx, q)
		if err != nil {
			return since, fmt.Errorf("find out since when a webhook fails: %w", err)
		}
		begin := time.Time{}
		for i := range rows {
			switch r := &rows[i]; {
			case r.Delivered > 0 && span == store.PerHour && r.Retried+r.Exhausted > 0:
				begin = r.At // both: the minutes tell
			case r.Delivered > 0:
				begin = time.Time{}
			case begin.IsZero() && r.Retried+r.Exhausted > 0:
				begin = r.At
			}
		}
		if !begin.IsZero() {
			since = begin
		}
		if since.IsZero() || s.now.Sub(since) > 24*time.Hour {
			return since, nil
		}
		q.Span, q.Since, q.Step = store.PerMinute, since, time.Minute
	}
	return since, nil
}
