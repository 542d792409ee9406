package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	maxStatsWebhooks = 500
	maxBacklog       = 10_000 // waiting deliveries of a webhook that are counted
	maxBacklogs      = 20_000 // and of all webhooks of a list
	stateDays        = 30     // how far back a webhook's state looks
)

// period is a choice of numbers: points of a step, made of rollups of a span.
type period struct {
	step   time.Duration
	points int
	span   store.RollupSpan
}

var statsPeriods = map[string]period{
	"1h":  {time.Minute, 60, store.PerMinute},
	"24h": {15 * time.Minute, 96, store.PerMinute},
	"7d":  {time.Hour, 168, store.PerHour},
	"30d": {6 * time.Hour, 120, store.PerHour},
}

// since is the beginning of the first point, so that the last one has now in it.
func (p *period) since(now time.Time) time.Time {
	return now.UTC().Truncate(p.step).Add(-time.Duration(p.points-1) * p.step)
}

func viewCounts(c *store.Counts) client.Counts {
	v := client.Counts{Delivered: c.Delivered, Retried: c.Retried, Exhausted: c.Exhausted, Cancelled: c.Cancelled}
	for part, to := range map[float64]**float64{0.5: &v.P50, 0.95: &v.P95} {
		if d, ok := c.Percentile(part); ok {
			ms := float64(d.Microseconds()) / 1000
			*to = &ms
		}
	}
	return v
}

type statsInput struct {
	Scope
	client.StatsQuery
}

func (a *api) registerStats() {
	const tag = "Statistics"
	register(a, operation{
		id: "get-stats", method: http.MethodGet, path: "/v1/stats", tag: tag,
		summary: "Numbers of a period, of the tenant or of one webhook",
		text:    "Kept by the server as attempts are recorded, about once a second; one that is killed loses up to a second of them, and of the record nothing.",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getStats)
	register(a, operation{
		id: "list-webhook-stats", method: http.MethodGet, path: "/v1/stats/webhooks", tag: tag,
		summary: "Numbers and states of the webhooks, those in trouble first",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.listWebhookStats)
}

// statsWebhooks finds the webhooks that numbers are asked of: the one that is named, the one that the caller is bound
// to, or all.
func (a *api) statsWebhooks(ctx context.Context, id string) (list []*webhook.Webhook, more bool, err error) {
	c := callerOf(ctx)
	if id == "" && c.key.Webhook == "" {
		list, err = a.store.ListWebhooks(ctx, c.tenant, 0, maxStatsWebhooks+1)
		if len(list) > maxStatsWebhooks {
			return list[:maxStatsWebhooks], true, err
		}
		return list, false, err
	}
	if id == "" {
		id = c.key.Webhook
	}
	if !c.sees(id) {
		return nil, false, errNotFound("webhook")
	}
	w, err := a.store.WebhookByID(ctx, c.tenant, id)
	if err != nil {
		return nil, false, missing("webhook", err)
	}
	return []*webhook.Webhook{w}, false, nil
}

func (a *api) getStats(ctx context.Context, in *statsInput) (*output[client.Stats], error) {
	hooks, _, err := a.statsWebhooks(ctx, in.WebhookID)
	if err != nil {
		return nil, err
	}
	tenant, now, p := callerOf(ctx).tenant, a.now(), statsPeriods[in.Period]
	q := store.RollupQuery{Tenant: tenant, Webhooks: []int64{0}, Span: p.span, Since: p.since(now), Step: p.step}
	q.Until = q.Since.Add(time.Duration(p.points) * p.step)
	if in.WebhookID != "" || callerOf(ctx).key.Webhook != "" {
		q.Webhooks = []int64{hooks[0].Num}
	}
	rows, err := a.store.Rollups(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read the numbers: %w", err)
	}
	out := client.Stats{Period: in.Period, Since: client.At(q.Since), Until: client.At(q.Until),
		Step: client.Duration(p.step)}
	points, all := make([]store.Counts, p.points), store.Counts{}
	for i := range rows {
		points[rows[i].At.Sub(q.Since)/p.step].Sum(&rows[i].Counts)
		all.Sum(&rows[i].Counts)
	}
	out.Counts = viewCounts(&all)
	for i := range points {
		out.Points = append(out.Points,
			client.StatsPoint{At: client.At(q.Since.Add(time.Duration(i) * p.step)), Counts: viewCounts(&points[i])})
	}
	out.Backlog, err = a.backlog(ctx, tenant, hooks)
	return &output[client.Stats]{out}, err
}

// waiting counts what waits for each of the webhooks, of many fewer each, so that all together have a bound.
func (a *api) waiting(ctx context.Context, tenant string, hooks []*webhook.Webhook) (map[int64]client.Backlog, error) {
	nums := make([]int64, len(hooks))
	for i, w := range hooks {
		nums[i] = w.Num
	}
	limit := min(maxBacklog, maxBacklogs/max(1, len(nums)))
	list, err := a.store.WaitingCounts(ctx, tenant, nums, limit)
	if err != nil {
		return nil, fmt.Errorf("count what waits: %w", err)
	}
	views := map[int64]client.Backlog{}
	for _, c := range list {
		views[c.Webhook] = client.Backlog{Waiting: c.Waiting, WaitingMore: c.Waiting == limit,
			Oldest: client.At(c.Oldest.Time())}
	}
	return views, nil
}

// backlog adds up what waits for the webhooks.
func (a *api) backlog(ctx context.Context, tenant string, hooks []*webhook.Webhook) (v client.Backlog, err error) {
	views, err := a.waiting(ctx, tenant, hooks)
	for _, one := range views {
		v.Waiting += one.Waiting
		v.WaitingMore = v.WaitingMore || one.WaitingMore
		if v.Oldest.IsZero() || one.Oldest.Before(v.Oldest.Time) {
			v.Oldest = one.Oldest
		}
	}
	return v, err
}

func (a *api) listWebhookStats(ctx context.Context, in *statsInput) (*output[client.WebhookStatsPage], error) {
	hooks, more, err := a.statsWebhooks(ctx, in.WebhookID)
	if err != nil {
		return nil, err
	}
	s := &webhookStats{tenant: callerOf(ctx).tenant, now: a.now(), hooks: hooks}
	for _, w := range hooks {
		s.nums = append(s.nums, w.Num)
	}
	if err := s.read(ctx, a.store, statsPeriods[in.Period]); err != nil {
		return nil, err
	}
	waiting, err := a.waiting(ctx, s.tenant, hooks)
	if err != nil {
		return nil, err
	}
	out := client.WebhookStatsPage{More: more, Items: make([]client.WebhookStats, 0, len(hooks))}
	for _, w := range hooks {
		v := s.view(w)
		v.Backlog = waiting[w.Num]
		out.Items = append(out.Items, v)
	}
	slices.SortStableFunc(out.Items, func(x, y client.WebhookStats) int {
		return cmp.Or(cmp.Compare(slices.Index(states, x.State), slices.Index(states, y.State)),
			cmp.Compare(y.Retried+y.Exhausted, x.Retried+x.Exhausted), cmp.Compare(y.Waiting, x.Waiting))
	})
	out.ProxyDown, _ = a.guard.ProxyState()
	return &output[client.WebhookStatsPage]{out}, nil
}
