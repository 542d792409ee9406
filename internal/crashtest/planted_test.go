package crashtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// planted is the engine's journal with a bug.
type planted struct {
	*storetest.Memory
	commit func(m *storetest.Memory, ctx context.Context, b *store.Batch) error
}

func (p *planted) Commit(ctx context.Context, b *store.Batch) error {
	return p.commit(p.Memory, ctx, b)
}

// sender is a receiver in memory, which may fail the first request of each event, and may be skipped.
type sender struct {
	mu                 sync.Mutex
	requests, answered map[Key]int
	failFirst          bool
	skip               bool // the bug: an outcome with no request
}

func (s *sender) Send(_ context.Context, _ *attempt.Target, e *event.Event) attempt.Result {
	r := attempt.Result{At: time.Now(), Sent: true, Verdict: attempt.Success, Status: 200}
	if s.skip {
		return r
	}
	s.mu.Lock()
	k := Key{e.ID.String(), "1"}
	s.requests[k]++
	fail := s.failFirst && s.requests[k] == 1
	if !fail {
		s.answered[k]++
	}
	s.mu.Unlock()
	if fail {
		r.Verdict, r.Status, r.Class = attempt.Failure, 500, attempt.ClassHTTPStatus
	}
	return r
}

// TestCheckerCatchesPlantedBugs proves the checker: each bug breaks a promise, and the comparison says so; without a
// bug it says nothing.
func TestCheckerCatchesPlantedBugs(t *testing.T) {
	sound := func(m *storetest.Memory, ctx context.Context, b *store.Batch) error { return m.Commit(ctx, b) }
	for _, c := range []struct {
		name   string
		sender *sender
		commit func(m *storetest.Memory, ctx context.Context, b *store.Batch) error
		want   string // in a finding; empty: there must be none
	}{
		{name: "no bug", commit: sound, sender: &sender{}},
		{name: "no bug, with failures", commit: sound, sender: &sender{failFirst: true}},
		{
			name: "answer before commit", want: "lost", sender: &sender{},
			commit: func(m *storetest.Memory, ctx context.Context, b *store.Batch) error {
				c := *b
				c.Submissions = nil // answered, and gone with the crash; nothing was sent yet
				for _, s := range b.Submissions {
					for i := range s.Events {
						s.Events[i].Duplicate = true
					}
				}
				return m.Commit(ctx, &c)
			},
		},
		{name: "outcome before response", want: "lost", commit: sound, sender: &sender{skip: true}},
		{
			name: "a retry kept only in memory", want: "unsettled", sender: &sender{failFirst: true},
			commit: func(m *storetest.Memory, ctx context.Context, b *store.Batch) error {
				c := *b
				c.Outcomes = nil
				for _, o := range b.Outcomes {
					if o.Kind != store.Retry {
						c.Outcomes = append(c.Outcomes, o)
					}
				}
				return m.Commit(ctx, &c)
			},
		},
		{
			name: "a lost spill", want: "lost", sender: &sender{},
			commit: func(m *storetest.Memory, ctx context.Context, b *store.Batch) error {
				for _, s := range b.Submissions {
					for i := range s.Events {
						s.Events[i].Spilled = nil
					}
				}
				return m.Commit(ctx, b)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := c.sender
				s.requests, s.answered = map[Key]int{}, map[Key]int{}
				l := runPlanted(t, s, c.commit)
				findings := strings.Join(Check(l, 1, 1).Findings, "\n")
				if c.want == "" && findings != "" {
					t.Errorf("findings without a bug:\n%s", findings)
				}
				if c.want != "" && !strings.Contains(findings, c.want) {
					t.Errorf("the bug was not caught; findings:\n%s\nwant one with %q", findings, c.want)
				}
			})
		})
	}
}

// runPlanted publishes to a small queue, crashes nothing but what the bug loses, and collects the logs.
func runPlanted(t *testing.T, s *sender, commit func(*storetest.Memory, context.Context, *store.Batch) error) Logs {
	t.Helper()
	m := storetest.NewMemory()
	w := &webhook.Webhook{Num: 1, ID: uuid.NewString(), Tenant: "firm", URL: "https://receiver.example/1",
		Method:     webhook.POST,
		EventTypes: []string{"**"}, Auth: webhook.Auth{Type: webhook.AuthNone}, Enabled: true, Timeout: time.Second,
		RetrySchedule: []time.Duration{time.Second}, Version: 1}
	e := engine.New(engine.Config{Journal: &planted{m, commit}, Sender: s, QueueLength: 2, Concurrency: 1})
	if err := e.Start(t.Context(), []*webhook.Webhook{w}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	l := Logs{Requests: s.requests, Answered: s.answered, Record: map[Key]Entry{}}
	typ, _ := event.Lookup("qap.investor.updated")
	var batch []event.Event
	for range 10 { // more than fit the queue: some are spilled
		batch = append(batch, typ.Example(time.Now()))
	}
	receipts, err := e.Accept(t.Context(), "firm", batch)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, _ := m.LastSeq(t.Context())
	for i, r := range receipts {
		k := Key{r.ID.String(), "1"}
		l.Accepted = append(l.Accepted, k)
		key := store.DeliveryKey{Webhook: 1, Event: last - store.Seq(len(receipts)-1-i)}
		entry := Entry{Status: "waiting"}
		for _, o := range m.Outcomes(key) {
			entry.Sent++
			if o.Kind != store.Retry {
				entry.Status = string(o.Kind)
			}
		}
		if last == 0 {
			continue // nothing is on record
		}
		l.Record[k] = entry
	}
	return l
}

func TestCheckBounds(t *testing.T) {
	k := Key{"e", "1"}
	l := Logs{Accepted: []Key{k}, Requests: map[Key]int{k: 4}, Answered: map[Key]int{k: 4},
		Record: map[Key]Entry{k: {Status: "delivered", Sent: 1}}}
	if r := Check(l, 1, 3); len(r.Findings) != 0 || r.Duplicates != 3 {
		t.Errorf("Check = %+v, want three explained duplicates", r)
	}
	if r := Check(l, 1, 2); len(r.Findings) != 1 {
		t.Errorf("Check = %+v, want a finding: one kill explains two", r)
	}
	if s := fmt.Sprint(Check(Logs{Accepted: []Key{k}}, 0, 0).Findings); !strings.Contains(s, "lost") ||
		!strings.Contains(s, "unknown") {
		t.Errorf("Check of nothing = %s, want lost and unknown", s)
	}
}
