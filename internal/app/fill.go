package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// FillConfig says what Fill makes.
type FillConfig struct {
	To           string // a new data folder, or an empty PostgreSQL database
	MasterKeyset string // for a database
	Events       int    // each goes to two webhooks
	Progress     func(CopyProgress)
}

const (
	fillHooks = 20
	fillDays  = 30
	fillBatch = 2000 // events in one step
)

// Fill puts a history into an empty store, for measurements: events of the last thirty days, of which most were
// delivered at once, some after retries, and a few were given up or wait; with the numbers that go with them.
func Fill(ctx context.Context, cfg FillConfig, log *slog.Logger) (err error) {
	ring, err := fillRing(cfg.To, cfg.MasterKeyset)
	if err != nil {
		return err
	}
	var to side
	defer func() { err = errors.Join(err, to.close()) }()
	if err := to.open(ctx, ring, log, cfg.To); err != nil {
		return err
	}
	f := &filling{cfg: cfg, to: &to, rng: rand.New(rand.NewPCG(1, 2)),
		end: time.Now().UTC().Add(-time.Minute).Truncate(time.Millisecond), sums: map[rollupRow]*store.Counts{}}
	if err := f.webhooks(ctx); err != nil {
		return err
	}
	for done := 0; done < cfg.Events; {
		n := min(fillBatch, cfg.Events-done)
		if err := f.step(ctx, done, n); err != nil {
			return err
		}
		done += n
		cfg.Progress(CopyProgress{Step: "filling", Table: "events", Done: int64(done), Total: int64(cfg.Events)})
	}
	if err := f.rollups(ctx); err != nil {
		return err
	}
	return to.dump.Finish(ctx)
}

// filling is a Fill under way.
type filling struct {
	cfg   FillConfig
	to    *side
	rng   *rand.Rand
	end   time.Time
	hooks []int64
	sums  map[rollupRow]*store.Counts
}

type rollupRow struct {
	webhook, span int64
	start         int64 // Unix milliseconds
}

func (f *filling) webhooks(ctx context.Context) error {
	begin := f.end.AddDate(0, 0, -fillDays)
	if err := f.to.db.CreateTenant(ctx,
		store.Tenant{ID: DefaultTenant, Name: "Default", CreatedAt: begin}); err != nil {
		return fmt.Errorf("%s is not empty: %w", f.cfg.To, err)
	}
	for i := range fillHooks {
		w := &webhook.Webhook{ID: uuid.NewString(), Tenant: DefaultTenant,
			URL: fmt.Sprintf("https://receiver.example/%d", i), Method: webhook.POST,
			EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, Description: fmt.Sprintf("Receiver %d", i), Enabled: true,
			Timeout: webhook.DefaultTimeout, RetrySchedule: webhook.DefaultRetrySchedule(), CreatedAt: begin, UpdatedAt: begin}
		if err := f.to.db.CreateWebhook(ctx, w); err != nil {
			return err
		}
		f.hooks = append(f.hooks, w.Num)
	}
	return nil
}

// step writes n events, from the done-th on, with what became of them.
func (f *filling) step(ctx context.Context, done, n int) error {
	types := event.Catalogue()
	var events, outcomes, waiting []store.Row
	for i := done; i < done+n; i++ {
		at := f.end.Add(-time.Duration(float64(fillDays*24*time.Hour) * float64(f.cfg.Events-i) / float64(f.cfg.Events))).Truncate(time.Millisecond)
		seq := store.SeqAt(at) + store.Seq(i&0x3ff)
		id := uuid.UUID{6: 0x70, 8: 0x80}
		for b := range 6 {
			id[b] = byte(at.UnixMilli() >> (40 - 8*b))
		}
		for b := 9; b < 16; b++ {
			id[b] = byte(f.rng.Uint32())
		}
		t := &types[f.rng.IntN(len(types))]
		one := f.rng.IntN(fillHooks)
		two := (one + 1 + f.rng.IntN(fillHooks-1)) % fillHooks
		hooks := []int64{min(f.hooks[one], f.hooks[two]), max(f.hooks[one], f.hooks[two])}
		list, err := json.Marshal(hooks)
		if err != nil {
			return err
		}
		events = append(events, store.Row{DefaultTenant, int64(seq), id[:], t.Name, uuid.NewString(), fmt.Sprintf("investor-%d", f.rng.IntN(50_000)),
			fmt.Sprintf("advisor-%d", f.rng.IntN(500)), at.UnixMilli(), string(list), string(t.ExampleData)})
		for _, num := range hooks {
			made, wait := f.delivery(seq, at, num)
			outcomes = append(outcomes, made...)
			waiting = append(waiting, wait...)
		}
	}
	for name, rows := range map[string][]store.Row{"events": events, "outcomes": outcomes, "waiting": waiting} {
		if len(rows) == 0 {
			continue
		}
		if err := f.to.dump.Put(ctx, tableOf(name), rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// delivery is what became of an event for a webhook.
func (f *filling) delivery(seq store.Seq, at time.Time, num int64) (outcomes, waiting []store.Row) {
	luck, attempts := f.rng.Float64(), 1
	last := store.Delivered
	switch {
	case luck < 0.005:
		last, attempts = store.Exhausted, 5
	case luck < 0.010:
		last, attempts = store.Retry, 3
	case luck < 0.030:
		attempts = 2 + f.rng.IntN(3)
	}
	when := at.Add(time.Duration(1+f.rng.IntN(20)) * time.Millisecond)
	for n := 1; n <= attempts; n++ {
		kind := store.Retry
		if n == attempts {
			kind = last
		}
		o := store.Outcome{Tenant: DefaultTenant, DeliveryKey: store.DeliveryKey{Webhook: num, Event: seq}, Attempt: n,
			Kind: kind, At: when,
			Duration: time.Duration(2+f.rng.IntN(200)) * time.Millisecond, Sent: true, Status: 200, Response: []byte(`{"ok":true}`)}
		var next, class any
		if kind != store.Delivered {
			o.Status, o.Response, class = 503, []byte("down for maintenance"), "http_status"
		}
		if kind == store.Retry {
			when = when.Add(time.Duration(n) * 5 * time.Second)
			next = when.UnixMilli()
		}
		outcomes = append(outcomes, store.Row{DefaultTenant, num, int64(seq), int64(n), string(kind), o.At.UnixMilli(), int64(o.Duration), int64(1),
			int64(o.Status), next, class, nil, o.Response, store.Timings{FirstByte: o.Duration}.Append(nil)})
		f.count(&o)
	}
	if last == store.Retry {
		due := time.Now().Add(time.Hour + time.Duration(f.rng.IntN(12*3600))*time.Second)
		waiting = append(waiting, store.Row{DefaultTenant, num, int64(seq), int64(attempts), due.UnixMilli()})
	}
	return outcomes, waiting
}

// count adds an outcome to the numbers.
func (f *filling) count(o *store.Outcome) {
	at := o.At.Add(o.Duration)
	for span, length := range []time.Duration{store.PerMinute: time.Minute, store.PerHour: time.Hour} {
		if store.RollupSpan(span) == store.PerMinute && f.end.Sub(at) > store.MinutesKept {
			continue
		}
		for _, num := range []int64{0, o.Webhook} {
			key := rollupRow{num, int64(span), at.Truncate(length).UnixMilli()}
			if f.sums[key] == nil {
				f.sums[key] = new(store.Counts)
			}
			f.sums[key].Add(o)
		}
	}
}

func (f *filling) rollups(ctx context.Context) error {
	var rows []store.Row
	for key, c := range f.sums {
		row := store.Row{DefaultTenant, key.webhook, key.span, key.start, c.Delivered, c.Retried, c.Exhausted,
			c.Cancelled}
		for _, n := range c.Latency {
			row = append(row, n)
		}
		rows = append(rows, row)
	}
	return putAll(ctx, f.to, "rollups", rows)
}
