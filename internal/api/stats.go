package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

const (
	maxStatsWebhooks = 500
	maxBacklog       = 10_000  // waiting deliveries of a webhook that are counted
	maxBacklogs      = 100_000 // and of all webhooks of a list
	stateDays        = 30      // how far back a webhook's state looks
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

// CountsView is what attempts came to.
type CountsView struct {
	Delivered int64    `json:"delivered"`
	Retried   int64    `json:"retried" doc:"Failed attempts that are followed by another."`
	Exhausted int64    `json:"exhausted"`
	Cancelled int64    `json:"cancelled"`
	P50       *float64 `json:"p50_ms,omitempty" doc:"Time from acceptance to the receiver's 2xx that half of the deliveries took at most; absent when nothing was delivered."`
	P95       *float64 `json:"p95_ms,omitempty" doc:"The same for 95 of 100."`
}

func viewCounts(c *store.Counts) CountsView {
	v := CountsView{Delivered: c.Delivered, Retried: c.Retried, Exhausted: c.Exhausted, Cancelled: c.Cancelled}
	for part, to := range map[float64]**float64{0.5: &v.P50, 0.95: &v.P95} {
		if d, ok := c.Percentile(part); ok {
			ms := float64(d.Microseconds()) / 1000
			*to = &ms
		}
	}
	return v
}

// BacklogView is what waits.
type BacklogView struct {
	Waiting int    `json:"waiting" doc:"Deliveries that wait to be tried, or tried again."`
	More    bool   `json:"waiting_more,omitempty" doc:"There are more."`
	Oldest  string `json:"oldest_waiting,omitempty" format:"date-time" doc:"Acceptance of the oldest event that waits."`
}

type pointView struct {
	At string `json:"at" format:"date-time"`
	CountsView
}

type statsView struct {
	Period string `json:"period"`
	Since  string `json:"since" format:"date-time"`
	Until  string `json:"until" format:"date-time"`
	Step   string `json:"step" example:"15m"`
	CountsView
	BacklogView
	Points []pointView `json:"points" nullable:"false" doc:"Oldest first, without gaps."`
}

type sparkView struct {
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
}

type webhookStatsView struct {
	ID          string   `json:"id" format:"uuid"`
	URL         string   `json:"url"`
	Method      string   `json:"method"`
	Description string   `json:"description,omitempty"`
	EventTypes  []string `json:"event_types" nullable:"false"`
	State       string   `json:"state" enum:"switched_off,failing,unsteady,ok,idle,paused"`
	Since       string   `json:"since,omitempty" format:"date-time" doc:"Failing: since when, to the minute or hour."`
	CountsView
	BacklogView
	LastAt     string      `json:"last_at,omitempty" format:"date-time" doc:"The last attempt of the newest event that was tried."`
	LastStatus int         `json:"last_status,omitempty"`
	LastClass  string      `json:"last_class,omitempty"`
	Day        []sparkView `json:"day" nullable:"false" doc:"The last 24 hours, oldest first."`
	failed     int64
}

type webhookStatsPage struct {
	Items []*webhookStatsView `json:"items" nullable:"false"`
	More  bool                `json:"more,omitempty" doc:"There are more webhooks; the newest are left out."`
}

type statsInput struct {
	Scope
	Period    string `query:"period" enum:"1h,24h,7d,30d" default:"24h"`
	WebhookID string `query:"webhook_id" maxLength:"64"`
}

func (a *api) registerStats() {
	const tag = "Statistics"
	register(a, operation{
		id: "get-stats", method: http.MethodGet, path: "/v1/stats", tag: tag, summary: "Numbers of a period, of the tenant or of one webhook",
		text:   "Kept by the server as attempts are recorded, about once a second; one that is killed loses up to a second of them, and of the record nothing.",
		status: http.StatusOK, roles: readers, bound: true, errors: []int{http.StatusNotFound},
	}, a.getStats)
	register(a, operation{
		id: "list-webhook-stats", method: http.MethodGet, path: "/v1/stats/webhooks", tag: tag, summary: "Numbers and states of the webhooks, those in trouble first",
		status: http.StatusOK, roles: readers, bound: true, errors: []int{http.StatusNotFound},
	}, a.listWebhookStats)
}

// statsWebhooks finds the webhooks that numbers are asked of: the one that is named, the one that the caller is bound to, or all.
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

func (a *api) getStats(ctx context.Context, in *statsInput) (*output[statsView], error) {
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
	out := statsView{Period: in.Period, Since: formatTime(q.Since), Until: formatTime(q.Until), Step: formatDuration(p.step)}
	points, all := make([]store.Counts, p.points), store.Counts{}
	for i := range rows {
		points[rows[i].At.Sub(q.Since)/p.step].Sum(&rows[i].Counts)
		all.Sum(&rows[i].Counts)
	}
	out.CountsView = viewCounts(&all)
	for i := range points {
		out.Points = append(out.Points, pointView{formatTime(q.Since.Add(time.Duration(i) * p.step)), viewCounts(&points[i])})
	}
	out.BacklogView, err = a.backlog(ctx, tenant, hooks)
	return &output[statsView]{out}, err
}

// waiting counts what waits for each of the webhooks, of many fewer each, so that all together have a bound.
func (a *api) waiting(ctx context.Context, tenant string, hooks []*webhook.Webhook) (map[int64]BacklogView, error) {
	nums := make([]int64, len(hooks))
	for i, w := range hooks {
		nums[i] = w.Num
	}
	limit := min(maxBacklog, maxBacklogs/max(1, len(nums)))
	list, err := a.store.WaitingCounts(ctx, tenant, nums, limit)
	if err != nil {
		return nil, fmt.Errorf("count what waits: %w", err)
	}
	views := map[int64]BacklogView{}
	for _, c := range list {
		views[c.Webhook] = BacklogView{Waiting: c.Waiting, More: c.Waiting == limit, Oldest: formatTime(c.Oldest.Time())}
	}
	return views, nil
}

// backlog adds up what waits for the webhooks.
func (a *api) backlog(ctx context.Context, tenant string, hooks []*webhook.Webhook) (v BacklogView, err error) {
	views, err := a.waiting(ctx, tenant, hooks)
	for _, one := range views {
		v.Waiting += one.Waiting
		v.More = v.More || one.More
		if v.Oldest == "" || one.Oldest < v.Oldest { // all are UTC, of one length
			v.Oldest = one.Oldest
		}
	}
	return v, err
}

func (a *api) listWebhookStats(ctx context.Context, in *statsInput) (*output[webhookStatsPage], error) {
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
	out := webhookStatsPage{More: more, Items: make([]*webhookStatsView, 0, len(hooks))}
	for _, w := range hooks {
		v := s.view(w)
		v.BacklogView = waiting[w.Num]
		out.Items = append(out.Items, v)
	}
	slices.SortStableFunc(out.Items, func(x, y *webhookStatsView) int {
		return cmp.Or(cmp.Compare(slices.Index(states, x.State), slices.Index(states, y.State)), cmp.Compare(y.failed, x.failed), cmp.Compare(y.Waiting, x.Waiting))
	})
	return &output[webhookStatsPage]{out}, nil
}
