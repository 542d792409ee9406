package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// states are those of a webhook, worst first.
var states = []string{client.StateDisabledByUs, client.StateFailing, client.StateUnsteady, client.StateOK,
	client.StateIdle,
	client.StatePaused}

// stateOf is the policy: what a webhook's state is, from its settings, from what came of the hour up to its last
// attempt (nil: there was none), and from whether attempts only failed since its last delivery.
func stateOf(enabled, byUs bool, last *store.Counts, failing bool) string {
	switch {
	case !enabled && byUs:
		return client.StateDisabledByUs
	case !enabled:
		return client.StatePaused
	case last == nil:
		return client.StateIdle
	case failing || last.Delivered == 0:
		return client.StateFailing
	case last.Retried+last.Exhausted > 0:
		return client.StateUnsteady
	}
	return client.StateOK
}

// webhookStats are the numbers of a tenant's webhooks while they are read: with a fixed number of queries.
type webhookStats struct {
	tenant string
	now    time.Time
	hooks  []*webhook.Webhook
	nums   []int64
	sums   map[int64]store.Counts   // over the period
	days   map[int64][]store.Rollup // hours of the last day that had attempts
	hours  map[int64][]store.Rollup // the same, with earlier ones where the last day does not tell the state
	fine   map[int64][]store.Rollup // minutes of those that had failures lately, up to the last attempt
	since  map[int64]time.Time      // of those that fail: since when, to the hour or minute
	latest map[int64]store.Outcome
}

// read gets what all webhooks need.
func (s *webhookStats) read(ctx context.Context, from store.Stats, p period) error {
	q := store.RollupQuery{Webhooks: s.nums, Span: p.span, Since: p.since(s.now), Until: s.now.Add(time.Hour)}
	if length := time.Duration(p.points) * p.step; length > time.Hour { // whole hours: a day of minutes of many webhooks is much to read
		q.Span, q.Since = store.PerHour, s.hour().Add(time.Hour-length)
	}
	q.Step = 2 * time.Duration(p.points) * p.step // all in one
	sums, err := s.rollups(ctx, from, q)
	if err != nil {
		return err
	}
	s.sums = map[int64]store.Counts{}
	for num, rows := range sums {
		s.sums[num] = rows[0].Counts
	}
	if err := s.readStates(ctx, from); err != nil {
		return err
	}
	outcomes, err := from.LastOutcomes(ctx, s.tenant, s.nums)
	if err != nil {
		return fmt.Errorf("read the last outcomes: %w", err)
	}
	s.latest = map[int64]store.Outcome{}
	for i := range outcomes {
		s.latest[outcomes[i].Webhook] = outcomes[i]
	}
	return nil
}

// readStates gets what tells the webhooks' states.
func (s *webhookStats) readStates(ctx context.Context, from store.Stats) error {
	if err := s.readHours(ctx, from); err != nil {
		return err
	}
	return s.readMinutes(ctx, from)
}

// hour is the beginning of this one.
func (s *webhookStats) hour() time.Time { return s.now.UTC().Truncate(time.Hour) }

// rollups reads the rows that have attempts, by webhook.
func (s *webhookStats) rollups(ctx context.Context, from store.Stats, q store.RollupQuery) (
	map[int64][]store.Rollup, error) {
	q.Tenant = s.tenant
	rows, err := from.Rollups(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read the numbers of webhooks: %w", err)
	}
	found := map[int64][]store.Rollup{}
	for i := range rows {
		if r := rows[i]; r.Attempts() > 0 || r.Cancelled > 0 {
			found[r.Webhook] = append(found[r.Webhook], r)
		}
	}
	return found, nil
}

// readHours reads the last day, and looks further back for those whose state it does not tell: without attempts, or
// without a delivery.
func (s *webhookStats) readHours(ctx context.Context, from store.Stats) (err error) {
	day := s.hour().Add(-23 * time.Hour)
	q := store.RollupQuery{Webhooks: s.nums, Span: store.PerHour, Since: day, Until: s.hour().Add(time.Hour),
		Step: time.Hour}
	if s.days, err = s.rollups(ctx, from, q); err != nil {
		return err
	}
	q.Webhooks, q.Since, q.Until = nil, s.hour().AddDate(0, 0, -stateDays), day
	s.hours = map[int64][]store.Rollup{}
	for _, num := range s.nums {
		s.hours[num] = s.days[num]
		if !slices.ContainsFunc(s.days[num], func(r store.Rollup) bool { return r.Delivered > 0 }) {
			q.Webhooks = append(q.Webhooks, num)
		}
	}
	older, err := s.rollups(ctx, from, q)
	for num, rows := range older {
		s.hours[num] = append(rows, s.hours[num]...)
	}
	return err
}

// lately are the last hour that had attempts and, where it had some, the hour before; nil: there was none. The hour up
// to the last attempt is within them.
func (s *webhookStats) lately(num int64) []store.Rollup {
	rows := s.hours[num]
	for len(rows) > 0 && rows[len(rows)-1].Attempts() == 0 {
		rows = rows[:len(rows)-1]
	}
	n := len(rows)
	if n > 1 && rows[n-1].At.Sub(rows[n-2].At) <= time.Hour {
		return rows[n-2:]
	}
	return rows[max(0, n-1):]
}

// last is what came of the hour up to the last attempt, or where minutes are not read of the last whole hour.
func (s *webhookStats) last(num int64) *store.Counts {
	rows, fine := s.lately(num), s.fine[num]
	if len(rows) == 0 {
		return nil
	}
	if len(fine) == 0 {
		return &rows[len(rows)-1].Counts
	}
	var sum store.Counts
	for i := range fine {
		if fine[len(fine)-1].At.Sub(fine[i].At) < time.Hour {
			sum.Sum(&fine[i].Counts)
		}
	}
	return &sum
}

// state is the webhook's.
func (s *webhookStats) state(w *webhook.Webhook) string {
	return stateOf(w.Enabled, w.DisabledReason != "", s.last(w.Num), !s.since[w.Num].IsZero())
}

func (s *webhookStats) view(w *webhook.Webhook) client.WebhookStats {
	sum, last := s.sums[w.Num], s.latest[w.Num]
	class, reason := outsideClass(last.Class)
	v := client.WebhookStats{
		ID: w.ID, URL: w.URL, Method: string(w.Method), Description: w.Description,
		EventTypes: append([]string{}, w.EventTypes...), State: s.state(w), Since: client.At(s.since[w.Num]),
		Counts: viewCounts(&sum), LastAt: client.At(last.At), LastStatus: last.Status,
		LastClass: class, LastReason: reason, Day: make([]client.SparkPoint, 24),
	}
	for _, r := range s.days[w.Num] {
		v.Day[r.At.Sub(s.hour().Add(-23*time.Hour))/time.Hour] = client.SparkPoint{Delivered: r.Delivered,
			Failed: r.Retried + r.Exhausted}
	}
	return v
}

// maxMinutes is how many webhooks with failures are looked at by the minute.
const maxMinutes = 100

// readMinutes finds out what came of the last minutes of webhooks that had failures lately, and since when they fail:
// since the beginning of the first hour, or in the last day minute, with a failure after the last with a delivery.
func (s *webhookStats) readMinutes(ctx context.Context, from store.Stats) error {
	s.since, s.fine = map[int64]time.Time{}, map[int64][]store.Rollup{}
	// Most have failed for less than two hours; a day of minutes is read of the others only.
	q := store.RollupQuery{Span: store.PerMinute, Since: s.now, Until: s.now.Add(time.Hour), Step: time.Minute}
	asked := [2]store.RollupQuery{q, q}
	failed := func(r store.Rollup) bool { return r.Retried+r.Exhausted > 0 }
	for _, w := range s.hooks {
		rows := s.lately(w.Num)
		if !w.Enabled || !slices.ContainsFunc(rows, failed) {
			continue
		}
		begin := rows[0].At
		if rows[len(rows)-1].Delivered == 0 {
			begin = failingSince(s.hours[w.Num], true)
			s.since[w.Num] = begin
		}
		q := &asked[0]
		if s.now.Sub(begin) > 2*time.Hour {
			q = &asked[1]
		}
		if s.now.Sub(begin) <= 24*time.Hour && len(asked[0].Webhooks)+len(asked[1].Webhooks) < maxMinutes {
			q.Webhooks = append(q.Webhooks, w.Num)
			if begin.Before(q.Since) {
				q.Since = begin
			}
		}
	}
	for _, q := range asked {
		found, err := s.rollups(ctx, from, q)
		if err != nil {
			return err
		}
		for num, rows := range found {
			rows = slices.DeleteFunc(rows, func(r store.Rollup) bool { return r.Attempts() == 0 })
			if s.fine[num] = rows; len(rows) > 0 {
				s.since[num] = failingSince(rows, false)
			}
		}
	}
	return nil
}

// failingSince is the beginning of the first row with a failure after the last with a delivery. With finer rows to
// come, one that has both counts: they tell.
func failingSince(rows []store.Rollup, finer bool) (since time.Time) {
	for i := range rows {
		switch r := &rows[i]; {
		case r.Delivered > 0 && finer && r.Retried+r.Exhausted > 0:
			since = r.At
		case r.Delivered > 0:
			since = time.Time{}
		case since.IsZero() && r.Retried+r.Exhausted > 0:
			since = r.At
		}
	}
	return since
}
