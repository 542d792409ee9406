package postgres

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
)

// scissors is a way to the server that cuts the connection in place of handing over an answer.
type scissors struct{ answers atomic.Int64 } // until one is lost; 0: none is

// mustCutting gives the URL of a way to the server.
func mustCutting(t *testing.T, at string) (*scissors, string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s, server := &scissors{}, u.Host
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go s.carry(client, server)
		}
	}()
	u.Host = l.Addr().String()
	return s, u.String()
}

// carry ends when either side does, or the connection is cut.
func (s *scissors) carry(client net.Conn, at string) {
	defer client.Close()
	server, err := net.Dial("tcp", at)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	answer := make([]byte, 1<<16)
	for {
		n, err := server.Read(answer)
		if err != nil || s.answers.Load() > 0 && s.answers.Add(-1) == 0 {
			return
		}
		if _, err := client.Write(answer[:n]); err != nil {
			return
		}
	}
}

// TestAnswerLost: the connection is lost at any answer of a commit, be it before the transaction, in it or after it;
// Commit finds out what became of it, and everything is written once.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	way, at := mustCutting(t, pgtest.Shared(t).NewDatabase(t))
	db := mustOpen(t, at, mustRing(t))
	if err := db.CreateTenant(patient(t), store.Tenant{ID: "a", Name: "A", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	n := die(db) // its beats would get between
	var last store.Seq
	advisor := &store.Advisor{Object: store.Object{Tenant: "a", ID: "adv", CreatedAt: time.Now(),
		UpdatedAt: time.Now()},
		Name: "A"}
	change := func() *store.Submission {
		advisor.Version++
		return &store.Submission{Tenant: "a", Change: &store.Change{Advisor: advisor}}
	}
	tally := func() []int64 {
		return column(t, db, `SELECT count(*) FROM events UNION ALL SELECT count(*) FROM event_ids UNION ALL SELECT count(*) FROM outcomes
			UNION ALL SELECT count(*) FROM waiting UNION ALL SELECT coalesce(sum(delivered), 0)::bigint FROM rollups WHERE span = 0
			UNION ALL SELECT coalesce(sum(version), 0)::bigint FROM advisors`)
	}
	for name, kind := range map[string]struct {
		batch func() *store.Batch
		adds  []int64 // to the tally
	}{
		"an event": {func() *store.Batch {
			return &store.Batch{Submissions: []*store.Submission{sent(last,
				false, 1)}}
		},
			[]int64{1, 0, 0, 0, 0, 0}},
		"a given event": {func() *store.Batch {
			return &store.Batch{Submissions: []*store.Submission{sent(last, true, 1)}}
		}, []int64{1, 1, 0, 0, 0, 0}},
		"an outcome and numbers": {func() *store.Batch {
			return &store.Batch{
				Outcomes: []store.Outcome{{Tenant: "a",
					DeliveryKey: store.DeliveryKey{Webhook: 1, Event: last}, Attempt: 1,
					Kind: store.Delivered, At: last.Time(), Duration: 1}},
				Rollups: []store.Rollup{{Tenant: "a", Webhook: 1, At: last.Time(), Counts: store.Counts{Delivered: 1}}},
			}
		}, []int64{0, 0, 1, 0, 1, 0}},
		"numbers": {func() *store.Batch {
			return &store.Batch{Rollups: []store.Rollup{{Tenant: "a", Webhook: 1, At: last.Time(),
				Counts: store.Counts{Delivered: 1}}}}
		}, []int64{0, 0, 0, 0, 1, 0}},
		"the mark and a row": {func() *store.Batch {
			return &store.Batch{RecoverFrom: last, Wait: []store.Waiting{{Tenant: "a",
				DeliveryKey: store.DeliveryKey{Webhook: 1, Event: last}, DueAt: last.Time()}}}
		}, []int64{0, 0, 0, 1, 0, 0}},
		"a change": {func() *store.Batch { return &store.Batch{Submissions: []*store.Submission{change()}} },
			[]int64{0, 0, 0, 0, 0, 1}},
	} {
		for answer := range int64(5) { // the later ones are those of what finds out
			for _, known := range []bool{true, false} { // whether the connection knows the statements
				if !known {
					db.w.close()
				}
				if err := db.w.open(patient(t), at); err != nil {
					t.Fatal(err)
				}
				last = db.Next(last)
				before, epoch := tally(), n.epoch
				way.answers.Store(answer)
				b := kind.batch()
				if err := db.Commit(patient(t), b); err != nil {
					t.Fatalf("%s, answer %d is lost: Commit = %v, want nil", name, answer, err)
				}
				lost := answer > 0 && way.answers.Swap(0) == 0
				for _, s := range b.Submissions {
					if s.Err != nil || len(s.Events) > 0 && s.Events[0].Duplicate {
						t.Errorf("%s, answer %d is lost: it was refused or repeated: %+v", name, answer, s)
					}
				}
				after := tally()
				for i := range after {
					after[i] -= before[i]
				}
				if fmt.Sprint(after) != fmt.Sprint(kind.adds) {
					t.Errorf("%s, answer %d is lost (%t): it added %v, want %v", name, answer, lost, after, kind.adds)
				}
				if known && answer == 1 && n.epoch == epoch {
					t.Errorf("%s: the epoch is still %d after an answer was lost", name, epoch)
				}
			}
		}
	}
	if _, err := db.pool.Exec(patient(t), fence, n.id, n.epoch-1); code(err) != fencedOff {
		t.Errorf("what comes late is answered %v, want %s", err, fencedOff)
	}
}
