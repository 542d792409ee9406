package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/quantfolio/qhook/client"
)

// thing is an object that a client knows.
type thing struct{ id, name string }

// things are objects to choose from.
type things struct {
	mu   sync.Mutex
	list []thing
}

func (s *things) add(x thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, x)
}

func (s *things) drop(x thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		if s.list[i] == x {
			s.list[i] = s.list[len(s.list)-1]
			s.list = s.list[:len(s.list)-1]
			return
		}
	}
}

// pick gives any one, and how many there are.
func (s *things) pick() (thing, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return thing{}, 0
	}
	return s.list[rand.IntN(len(s.list))], len(s.list)
}

// pool is what one client, or all of them, change.
type pool struct{ investors, sessions things }

// The sizes from which a pool's clients make no new ones. They keep the objects few, so that clients meet at them.
const (
	manyInvestors = 15
	manySessions  = 30
)

// storm changes the platform and writes down what it was answered.
type storm struct {
	ctx      context.Context // of the requests; it outlasts the storm
	advisors []string
	shared   pool
	names    atomic.Int64
	again    atomic.Int64 // creations asked for again under their key, since the answer was lost
	stopped  atomic.Bool

	mu      sync.Mutex
	asked   []Asked
	refused int      // by a rule of the platform
	unsent  int      // the node was not there
	failed  []string // answers that there must not be
}

// run changes the platform until the storm is stopped. The last request is answered, or dies with the node: none is
// under way afterwards.
func (s *storm) run(c *client.Client) {
	var own pool
	for !s.stopped.Load() {
		if rand.IntN(4) == 0 {
			s.step(c, &s.shared)
		} else {
			s.step(c, &own)
		}
	}
}

// note writes down how a request ended; true when it succeeded.
func (s *storm) note(a Asked, etag string, err error) bool {
	a.Version, _ = strconv.Atoi(strings.Trim(etag, `"`))
	a.Lost = lost(err)
	s.mu.Lock()
	switch {
	case err == nil || a.Lost:
		s.asked = append(s.asked, a)
	case unanswered(err), starting(err):
		s.unsent++
	case isRefusal(err):
		s.refused++
	default:
		s.failed = append(s.failed, fmt.Sprintf("%s %s was answered %v", a.Kind, a.Object, err))
	}
	s.mu.Unlock()
	if unanswered(err) || starting(err) {
		pause(s.ctx) // the node is down
	}
	return err == nil
}

// unanswered tells whether a request has no answer.
func unanswered(err error) bool {
	var p *client.Problem
	return err != nil && !errors.As(err, &p)
}

// starting tells whether the node was not ready, and surely did nothing.
func starting(err error) bool {
	return client.IsStatus(err, http.StatusServiceUnavailable) && strings.Contains(err.Error(), "is starting")
}

// lost tells whether a request has no answer and may have been read.
func lost(err error) bool {
	var o *net.OpError
	return unanswered(err) && (!errors.As(err, &o) || o.Op != "dial")
}

// isRefusal tells whether a rule of the platform was in the way.
func isRefusal(err error) bool {
	return client.IsStatus(err, http.StatusNotFound) || client.IsStatus(err, http.StatusConflict)
}

func (s *storm) name(what string) string { return fmt.Sprint(what, " ", s.names.Add(1)) }

func (s *storm) advisor() string { return s.advisors[rand.IntN(len(s.advisors))] }

// step makes one or two changes of any kind.
func (s *storm) step(c *client.Client, p *pool) {
	i, investors := p.investors.pick()
	x, sessions := p.sessions.pick()
	n := rand.IntN(100)
	switch {
	case investors == 0 || n < 15 && investors < manyInvestors:
		s.createInvestor(c, p)
	case sessions == 0 || n < 45 && sessions < manySessions:
		s.createSession(c, p, i)
	case n < 50:
		s.updateInvestor(c, i)
	case n < 55:
		out, err := c.UpdateInvestor(s.ctx, i.id, "", client.Patch{"investor_name": i.name})
		s.note(Asked{Kind: InvestorUnchanged, Object: i.id}, out.ETag, err)
	case n < 59:
		err := c.DeleteInvestor(s.ctx, i.id, false)
		if s.hidden(Asked{Kind: InvestorSoftDeleted, Object: i.id}, err) {
			s.restoreInvestor(c, i.id)
		}
	case n < 61:
		if s.note(Asked{Kind: InvestorDeleted, Object: i.id}, "", c.DeleteInvestor(s.ctx, i.id, true)) {
			p.investors.drop(i)
		}
	default:
		if s.changeSession(c, x.id, n) {
			p.sessions.drop(x)
		}
	}
}

// changeSession changes an advice session in the way that n selects, from 61 to 99; gone tells that there is no such
// session any more.
func (s *storm) changeSession(c *client.Client, id string, n int) (gone bool) {
	var err error
	switch {
	case n < 72:
		var out client.AdviceSession
		out, err = c.CompleteAdviceSession(s.ctx, id)
		s.note(Asked{Kind: SessionCompleted, Object: id}, out.ETag, err)
	case n < 82:
		var out client.Report
		out, err = c.CreateReport(s.ctx, id, "")
		s.note(Asked{Kind: ReportCreated, Object: id, Name: out.ID}, "", err)
	case n < 94:
		err = c.DeleteAdviceSession(s.ctx, id, false)
		if s.hidden(Asked{Kind: SessionSoftDeleted, Object: id}, err) {
			s.restoreSession(c, id)
		}
	default:
		err = c.DeleteAdviceSession(s.ctx, id, true)
		gone = s.note(Asked{Kind: SessionDeleted, Object: id}, "", err)
	}
	return gone || client.IsStatus(err, http.StatusNotFound)
}

// createInvestor makes an investor. Half of the time it has an idempotency key, and asks again while it has no answer.
func (s *storm) createInvestor(c *client.Client, p *pool) {
	in := client.NewInvestor{AdvisorID: s.advisor(), Type: "person", Name: s.name("Investor")}
	key := ""
	if rand.IntN(2) == 0 {
		key = in.Name
	}
	out, err := c.CreateInvestor(s.ctx, in, key)
	if key != "" && unanswered(err) {
		s.again.Add(1)
	}
	for key != "" && (unanswered(err) || starting(err)) && s.ctx.Err() == nil {
		pause(s.ctx)
		out, err = c.CreateInvestor(s.ctx, in, key)
	}
	if s.note(Asked{Kind: InvestorCreated, Object: out.ID, Name: in.Name}, out.ETag, err) {
		p.investors.add(thing{out.ID, in.Name})
	}
}

func (s *storm) createSession(c *client.Client, p *pool, i thing) {
	title := s.name("Session")
	out, err := c.CreateAdviceSession(s.ctx, i.id, client.NewAdviceSession{Title: title}, "")
	if s.note(Asked{Kind: SessionCreated, Object: out.ID, Name: title}, out.ETag, err) {
		p.sessions.add(thing{out.ID, title})
	}
}

// updateInvestor gives an investor a reference that it never had, and one time in three any advisor.
func (s *storm) updateInvestor(c *client.Client, i thing) {
	change := client.Patch{"reference": s.name("Reference")}
	if rand.IntN(3) == 0 {
		change["advisor_id"] = s.advisor()
	}
	out, err := c.UpdateInvestor(s.ctx, i.id, "", change)
	s.note(Asked{Kind: InvestorUpdated, Object: i.id}, out.ETag, err)
}

// hidden notes a soft deletion and tells whether to restore the object: mostly, and when it was soft-deleted before.
func (s *storm) hidden(a Asked, err error) bool {
	if s.note(a, "", err) {
		return rand.IntN(4) > 0
	}
	return client.IsStatus(err, http.StatusConflict)
}

func (s *storm) restoreInvestor(c *client.Client, id string) {
	out, err := c.RestoreInvestor(s.ctx, id)
	s.note(Asked{Kind: InvestorRestored, Object: id}, out.ETag, err)
}

func (s *storm) restoreSession(c *client.Client, id string) {
	out, err := c.RestoreAdviceSession(s.ctx, id)
	s.note(Asked{Kind: SessionRestored, Object: id}, out.ETag, err)
}
