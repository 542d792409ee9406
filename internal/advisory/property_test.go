package advisory_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

// Long sequences: a report needs an advisor, an investor, a session and its completion before it. And fewer of them on
// a store whose every commit goes over a connection.
func init() {
	err := flag.Set("rapid.steps", "100")
	if os.Getenv("QHOOK_TEST_STORE") != "" {
		err = errors.Join(err, flag.Set("rapid.checks", "25"))
	}
	if err != nil {
		panic(err)
	}
}

// TestRandomOperations runs random sequences of operations, each beside the model: what it came to, and exactly the
// events that it triggered, in order.
func TestRandomOperations(t *testing.T) {
	r := newRig(t)
	rapid.Check(t, func(t *rapid.T) {
		x := &machine{rig: r, t: t}
		x.m = newModel(r.firm(t))
		t.Repeat(map[string]func(*rapid.T){
			"":                    x.check,
			"create advisor":      x.op(x.createAdvisor),
			"rename advisor":      x.op(x.renameAdvisor),
			"delete advisor":      x.op(x.deleteAdvisor),
			"create investor":     x.op(x.createInvestor),
			"update investor":     x.op(x.updateInvestor),
			"move investor":       x.op(x.moveInvestor),
			"soft-delete":         x.op(x.softDeleteInvestor),
			"restore":             x.op(x.restoreInvestor),
			"delete":              x.op(x.deleteInvestor),
			"create session":      x.op(x.createSession),
			"fill in session":     x.op(x.fillIn),
			"complete session":    x.op(x.complete),
			"soft-delete session": x.op(x.softDeleteSession),
			"restore session":     x.op(x.restoreSession),
			"delete session":      x.op(x.deleteSession),
			"report":              x.op(x.report),
			"expire":              x.op(x.expire),
		})
		x.delivered()
	})
}

type machine struct {
	*rig
	t       *rapid.T
	m       *model
	checked int // events compared so far
	made    int
}

// op runs one operation a moment after the last.
func (x *machine) op(f func()) func(*rapid.T) {
	return func(t *rapid.T) {
		x.t = t
		x.advance(time.Millisecond)
		f()
	}
}

// check compares the new events with the model's.
func (x *machine) check(t *rapid.T) {
	got, _ := x.events(t, x.m.firm.Tenant, x.checked)
	if want := x.m.events[x.checked:]; !slices.Equal(got, want) {
		t.Fatalf("events\ngot  %v\nwant %v", got, want)
	}
	x.checked = len(x.m.events)
	for id, i := range x.m.investors {
		got, err := x.Investor(context.Background(), x.m.firm, id, store.Either)
		if err != nil || got.AdvisorID != i.advisor || got.Name != i.name || got.Email != i.email ||
			got.Version != i.version || !got.DeletedAt.Equal(i.deleted) {
			t.Fatalf("Investor(%s) = %+v, %v, want %+v", id, got, err, i)
		}
	}
	x.t = t
	for id, s := range x.m.sessions {
		got, err := x.Session(context.Background(), x.m.firm, id, store.Either)
		if err != nil || got.InvestorID != s.investor || got.Title != s.title || got.Version != s.version ||
			got.Completed() != s.completed || !got.DeletedAt.Equal(s.deleted) {
			t.Fatalf("Session(%s) = %+v, %v, want %+v", id, got, err, s)
		}
		want := ""
		if !s.deleted.IsZero() || !x.m.investors[s.investor].deleted.IsZero() {
			want = "not found"
		}
		_, err = x.Session(context.Background(), x.m.firm, id, store.Present)
		x.want("Session that is present", err, want)
	}
	for _, id := range x.m.gone {
		_, err1 := x.Investor(context.Background(), x.m.firm, id, store.Either)
		_, err2 := x.Session(context.Background(), x.m.firm, id, store.Either)
		if outcome(err1) != "not found" || outcome(err2) != "not found" {
			t.Fatalf("%s was removed and is there: %v, %v", id, err1, err2)
		}
	}
}

// delivered waits until every event has reached the receiver.
func (x *machine) delivered() {
	_, ids := x.events(x.t, x.m.firm.Tenant, 0)
	deadline := time.Now().Add(10 * time.Second)
	for {
		x.mu.Lock()
		missing := 0
		for _, id := range ids {
			if !x.sent[id] {
				missing++
			}
		}
		x.mu.Unlock()
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%d of %d events never reached the receiver", missing, len(ids))
		}
		time.Sleep(time.Millisecond) // the deliveries' end has no other signal
	}
}

func (x *machine) want(what string, err error, want string) bool {
	if got := outcome(err); got != want {
		x.t.Fatalf("%s = %q, want %q", what, got, want)
	}
	return want == ""
}

// actor is the firm or one of the advisors.
func (x *machine) actor() advisory.Actor {
	all := append([]string{"", "", "", ""}, slices.Sorted(maps.Keys(x.m.advisors))...)
	return advisory.Actor{Tenant: x.m.firm.Tenant, Advisor: rapid.SampledFrom(all).Draw(x.t, "actor")}
}

// one is an ID of these, or of something that was removed.
func (x *machine) one(ids []string) string {
	slices.Sort(ids)
	all := ids[:min(len(ids), 6)] // few, so that many things happen to each
	if n := len(x.m.gone); n > 0 {
		all = append(all, x.m.gone[n-1])
	}
	return rapid.SampledFrom(append(all, "none")).Draw(x.t, "object")
}

func (x *machine) anInvestor() string { return x.one(slices.Collect(maps.Keys(x.m.investors))) }
func (x *machine) aSession() string   { return x.one(slices.Collect(maps.Keys(x.m.sessions))) }

// version is the version that the caller knows: 0 for any, the object's, or another.
func (x *machine) version(now int64) (int64, advisory.Match) {
	v := rapid.SampledFrom([]int64{0, 0, 0, now, now + 1}).Draw(x.t, "version")
	if v == 0 {
		return 0, nil
	}
	return v, func(n int64) bool { return n == v }
}

// once is an idempotency key, mostly none, sometimes one that was used.
func (x *machine) once(who advisory.Actor, request string) (advisory.Once, string) {
	key := rapid.SampledFrom([]string{"", "", "", "k1", "k2", "k3"}).Draw(x.t, "key")
	if key == "" {
		return advisory.Once{}, ""
	}
	return advisory.Once{Key: key, Request: sha256.Sum256([]byte(request))}, who.Advisor + "/" + key
}

// repeated tells what the key makes of the call, before anything else is looked at: an object, or a refusal.
func (x *machine) repeated(key, request string) (object, refusal string) {
	u, ok := x.m.keys[key]
	switch {
	case key == "" || !ok:
		return "", ""
	case u.request != request:
		return "", string(advisory.RuleKeyReused)
	}
	return u.object, ""
}

func (x *machine) name() string {
	x.made++
	return fmt.Sprintf("Name %d", x.made)
}
