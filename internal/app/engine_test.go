package app_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

// The engine's own suite runs in a bubble of fake time, where there are no files and no sockets. Here its ways are gone
// on the real stores, in real time.

// scripted is a sender whose answers a test decides on.
type scripted struct {
	mu     sync.Mutex
	seen   map[uuid.UUID]int
	answer func(ctx context.Context, n int) attempt.Result // n counts the requests of one event from 1
}

func (s *scripted) Send(ctx context.Context, _ *attempt.Target, e *event.Event) attempt.Result {
	at := time.Now()
	s.mu.Lock()
	s.seen[e.ID]++
	n, answer := s.seen[e.ID], s.answer
	s.mu.Unlock()
	r := attempt.Result{Verdict: attempt.Success, Status: 204}
	if answer != nil {
		r = answer(ctx, n)
	}
	r.At, r.Sent, r.Duration = at, true, time.Since(at)
	return r
}

func (s *scripted) set(answer func(context.Context, int) attempt.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *scripted) requests(id uuid.UUID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[id]
}

var refusing = attempt.Result{Verdict: attempt.Failure, Status: 503, Class: attempt.ClassHTTPStatus}

// stage is an engine on a real store with one webhook.
type stage struct {
	t      *testing.T
	open   func() store.Store // the same data each time
	store  store.Store
	sender *scripted
	engine *engine.Engine
	hook   *webhook.Webhook
	queue  int
}

func (s *stage) start() {
	s.t.Helper()
	hooks := must(s.store.AllWebhooks(s.t.Context()))(s.t)
	for _, w := range hooks {
		if w.Num == s.hook.Num {
			s.hook = w
		}
	}
	cfg := engine.Config{Journal: s.store, Sender: s.sender, QueueLength: s.queue, Concurrency: 4,
		LateAfter: 200 * time.Millisecond}
	cfg.Disable = func(ctx context.Context, _ int64, reason string) error {
		return s.change(func(w *webhook.Webhook) { w.Enabled, w.DisabledReason = false, reason })
	}
	cfg.Hold = s.store.HoldWebhook
	s.engine = engine.New(cfg)
	if err := s.engine.Start(s.t.Context(), hooks); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the engine; with no time, as a killed process would.
func (s *stage) stop(limit time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := s.engine.Stop(ctx); err != nil && limit > 0 {
		s.t.Errorf("Stop: %v", err)
	}
}

func (s *stage) change(edit func(*webhook.Webhook)) error {
	w, err := s.store.WebhookByID(context.Background(), s.hook.Tenant, s.hook.ID)
	if err != nil {
		return err
	}
	edit(w)
	if err := s.store.UpdateWebhook(context.Background(), w); err != nil {
		return err
	}
	return s.engine.SetWebhook(w)
}

func (s *stage) accept(n int) (ids []uuid.UUID) {
	s.t.Helper()
	typ, _ := event.Lookup("qap.investor.updated")
	for range n {
		e := typ.Example(time.Now())
		ids = append(ids, must(s.engine.Accept(s.t.Context(), "a", []event.Event{e}))(s.t)[0].ID)
	}
	return ids
}

// states are the deliveries of an event, as status and number of attempts.
func (s *stage) state(id uuid.UUID) (store.Status, int) {
	s.t.Helper()
	e := must(s.store.EventByID(s.t.Context(), "a", id))(s.t)
	list, _, err := s.store.ListDeliveries(s.t.Context(), "a", store.DeliveryFilter{Event: e.Seq},
		store.DeliveryKey{}, 10)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list) != 1 {
		s.t.Fatalf("%d deliveries of an event, want 1", len(list))
	}
	return list[0].Status, list[0].Attempts
}

// becomes waits until all events' deliveries have a status.
func (s *stage) becomes(want store.Status, ids ...uuid.UUID) {
	s.t.Helper()
	for _, id := range ids {
		eventually(s.t, "a delivery is "+string(want), func() bool { got, _ := s.state(id); return got == want })
	}
}

// ways are what a delivery can go through.
var ways = map[string]func(*testing.T, *stage){
	"delivered": func(t *testing.T, s *stage) {
		ids := s.accept(20)
		s.becomes(store.StatusDelivered, ids...)
		for _, id := range ids {
			if _, n := s.state(id); n != 1 || s.sender.requests(id) != 1 {
				t.Errorf("%d attempts on record, %d requests, want 1 and 1", n, s.sender.requests(id))
			}
		}
	},
	"retried": func(t *testing.T, s *stage) {
		s.sender.set(func(_ context.Context, n int) attempt.Result {
			if n < 3 {
				return refusing
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		})
		id := s.accept(1)[0]
		s.becomes(store.StatusDelivered, id)
		if _, n := s.state(id); n != 3 || s.sender.requests(id) != 3 {
			t.Errorf("%d attempts on record, %d requests, want 3 and 3", n, s.sender.requests(id))
		}
	},
	"exhausted, and tried again by hand": func(t *testing.T, s *stage) {
		s.sender.set(func(context.Context, int) attempt.Result { return refusing })
		id := s.accept(1)[0]
		s.becomes(store.StatusExhausted, id)
		if n := s.sender.requests(id); n != len(s.hook.RetrySchedule)+1 {
			t.Errorf("%d requests, want %d", n, len(s.hook.RetrySchedule)+1)
		}
		s.sender.set(nil)
		e := must(s.store.EventByID(t.Context(), "a", id))(t)
		if err := s.engine.RetryNow(t.Context(), store.DeliveryKey{Webhook: s.hook.Num, Event: e.Seq}); err != nil {
			t.Fatal(err)
		}
		s.becomes(store.StatusDelivered, id)
	},
	"gone, held, resumed": func(t *testing.T, s *stage) {
		s.sender.set(func(context.Context, int) attempt.Result {
			return attempt.Result{Verdict: attempt.Gone, Status: 410, Class: attempt.ClassHTTPStatus}
		})
		ids := s.accept(1)
		eventually(t, "the webhook is disabled", func() bool {
			return !must(s.store.WebhookByID(t.Context(), "a", s.hook.ID))(t).Enabled
		})
		s.sender.set(nil)
		ids = append(ids, s.accept(3)...)
		s.becomes(store.StatusWaiting, ids...)
		if err := s.change(func(w *webhook.Webhook) { w.Enabled = true }); err != nil {
			t.Fatal(err)
		}
		s.becomes(store.StatusDelivered, ids...)
	},
	"cancelled": func(t *testing.T, s *stage) {
		s.sender.set(func(context.Context, int) attempt.Result { return refusing })
		if err := s.change(func(w *webhook.Webhook) { w.RetrySchedule = []time.Duration{time.Hour} }); err != nil {
			t.Fatal(err)
		}
		ids := s.accept(5)
		for _, id := range ids {
			eventually(t, "it was tried", func() bool { return s.sender.requests(id) == 1 })
		}
		if err := s.change(func(w *webhook.Webhook) { w.DeletedAt = time.Now().UTC().Truncate(time.Millisecond) }); err != nil {
			t.Fatal(err)
		}
		s.becomes(store.StatusCancelled, ids...)
	},
	"spilled": func(t *testing.T, s *stage) {
		open := make(chan struct{})
		s.sender.set(func(ctx context.Context, _ int) attempt.Result {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return attempt.Result{Verdict: attempt.Success, Status: 200}
		})
		ids := s.accept(100) // of which 8 fit
		close(open)
		s.becomes(store.StatusDelivered, ids...)
		for _, id := range ids {
			if n := s.sender.requests(id); n != 1 {
				t.Errorf("%d requests of an event, want 1", n)
			}
		}
	},
	"recovered": func(t *testing.T, s *stage) {
		s.sender.set(func(ctx context.Context, _ int) attempt.Result {
			<-ctx.Done()
			return attempt.Result{Verdict: attempt.Failure, Class: attempt.ClassCancelled}
		})
		ids := s.accept(30)
		s.stop(0) // nothing is finished
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		s.store = s.open()
		s.sender.set(nil)
		s.start()
		s.becomes(store.StatusDelivered, ids...)
	},
	"the receiver's wait, over a start": func(t *testing.T, s *stage) {
		busy := refusing
		busy.RetryAfter = time.Hour
		s.sender.set(func(context.Context, int) attempt.Result { return busy })
		ids := s.accept(1)
		eventually(t, "the wait is kept", func() bool {
			return !must(s.store.WebhookByID(t.Context(), "a", s.hook.ID))(t).HeldUntil.IsZero()
		})
		s.sender.set(nil)
		s.stop(5 * time.Second)
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		s.store = s.open()
		s.start()
		first, ids := ids[0], s.accept(20)
		s.becomes(store.StatusWaiting, append(ids, first)...)
		if err := s.change(func(w *webhook.Webhook) { w.URL, w.HeldUntil = w.URL+"new", time.Time{} }); err != nil {
			t.Fatal(err)
		}
		s.becomes(store.StatusDelivered, ids...)
		for _, id := range append(ids, first) { // the first one's retry is an hour away
			if n := s.sender.requests(id); n != 1 {
				t.Errorf("%d requests of an event, want 1", n)
			}
		}
	},
	"repeated": func(t *testing.T, s *stage) {
		id := s.accept(1)[0]
		s.becomes(store.StatusDelivered, id)
		e := must(s.store.EventByID(t.Context(), "a", id))(t).Event
		if got := must(s.engine.Accept(t.Context(), "a", []event.Event{e}))(t)[0]; !got.Duplicate ||
			got.Deliveries != 1 {
			t.Errorf("a repetition = %+v, want a duplicate", got)
		}
		fresh := e
		fresh.ID = uuid.New()
		e.ObjectID = "another"
		var conflict *store.ConflictError
		if _, err := s.engine.Accept(t.Context(), "a", []event.Event{fresh, e}); !errors.As(err, &conflict) {
			t.Errorf("a conflict = %v, want it refused", err)
		}
		if _, err := s.store.EventByID(t.Context(), "a", fresh.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the other event of a refused request = %v, want none", err)
		}
		if n := s.sender.requests(id); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	},
	"counted": func(t *testing.T, s *stage) {
		ids := s.accept(7)
		s.becomes(store.StatusDelivered, ids...)
		hour := time.Now().UTC().Truncate(time.Hour)
		eventually(t, "the numbers are there", func() bool {
			rows := must(s.store.Rollups(t.Context(),
				store.RollupQuery{Tenant: "a", Webhooks: []int64{0}, Span: store.PerHour, Since: hour,
					Until: hour.Add(2 * time.Hour), Step: 2 * time.Hour}))(t)
			return len(rows) == 1 && rows[0].Delivered == 7
		})
	},
}

// TestEngineOnRealStores goes every way on SQLite and on PostgreSQL.
func TestEngineOnRealStores(t *testing.T) {
	ring := must(webhook.NewKeyring())(t)
	for kind, place := range map[string]func(*testing.T) func() store.Store{
		"sqlite": func(t *testing.T) func() store.Store {
			path := filepath.Join(t.TempDir(), "q.db")
			return func() store.Store {
				return must(sqlite.Open(t.Context(),
					sqlite.Config{Path: path, Keyring: ring}))(t)
			}
		},
		"postgres": func(t *testing.T) func() store.Store {
			url := pgtest.Shared(t).NewDatabase(t)
			return func() store.Store {
				db := must(postgres.Open(t.Context(), postgres.Config{URL: url, Keyring: ring, Pool: 4}))(t)
				if err := db.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
				return db
			}
		},
	} {
		if kind == "postgres" && testing.Short() {
			t.Log("-short: the ways are gone on SQLite only; a node that is slowed down is fenced, and there is no app here to join again")
			continue
		}
		names := []string{}
		for name := range ways {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			t.Run(kind+"/"+strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
				s := &stage{t: t, open: place(t), sender: &scripted{seen: map[uuid.UUID]int{}}, queue: 8}
				s.store = s.open()
				t.Cleanup(func() { s.stop(5 * time.Second); _ = s.store.Close() })
				now := time.Now().UTC().Truncate(time.Millisecond)
				if err := s.store.CreateTenant(t.Context(), store.Tenant{ID: "a", CreatedAt: now}); err != nil {
					t.Fatal(err)
				}
				s.hook = &webhook.Webhook{ID: uuid.NewString(), Tenant: "a", URL: "https://receiver.example/",
					Method: webhook.POST, EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone},
					Enabled: true, Timeout: time.Second, RetrySchedule: []time.Duration{30 * time.Millisecond,
						60 * time.Millisecond, 90 * time.Millisecond}, CreatedAt: now, UpdatedAt: now}
				if err := s.store.CreateWebhook(t.Context(), s.hook); err != nil {
					t.Fatal(err)
				}
				s.start()
				ways[name](t, s)
			})
		}
	}
}
