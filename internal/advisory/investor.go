package advisory

import (
	"context"
	"errors"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// CreateInvestor makes an investor of in.AdvisorID, or of the advisor who acts. Of in, the properties are taken. It
// triggers qap.investor.created. Errors: event.Violations, *Error.
func (s *Service) CreateInvestor(ctx context.Context, who Actor, in store.Investor, once Once) (store.Investor, error) {
	ownInvestor(who, &in)
	tidyInvestor(&in)
	if err := checkInvestor(&in); err != nil {
		return store.Investor{}, err
	}
	if who.Advisor != "" && in.AdvisorID != who.Advisor {
		return store.Investor{}, errNotYours
	}
	repeated, err := s.do(ctx, who, once, func() string { return in.ID }, func() (*store.Change, []event.Event, error) {
		owner, err := s.owner(ctx, who.Tenant, in.AdvisorID)
		if err != nil {
			return nil, nil, err
		}
		if in.Object, err = s.fresh(who.Tenant); err != nil {
			return nil, nil, err
		}
		return &store.Change{Expect: expect(store.KindAdvisor, owner), Investor: &in},
			[]event.Event{s.investorEvent(investorCreated, who, &in, investorData{in.Type, in.Name})}, nil
	})
	if repeated != "" {
		return s.Investor(ctx, who, repeated, store.Either)
	}
	return in, err
}

// ownInvestor makes an investor whose advisor is not named the acting advisor's.
func ownInvestor(who Actor, i *store.Investor) {
	if i.AdvisorID == "" {
		i.AdvisorID = who.Advisor
	}
}

// owner finds the advisor that an investor is to belong to; that there is none is a violation.
func (s *Service) owner(ctx context.Context, tenant, id string) (*store.Object, error) {
	a, err := s.store.AdvisorByID(ctx, tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, event.Violations{{Field: "advisor_id", Message: "is none of the firm's advisors"}}
	}
	return &a.Object, err
}

// Investor finds an investor; an advisor finds only their own. Errors: store.ErrNotFound.
func (s *Service) Investor(ctx context.Context, who Actor, id string, p store.Presence) (store.Investor, error) {
	i, err := s.store.InvestorByID(ctx, who.Tenant, id)
	switch {
	case err != nil:
		return store.Investor{}, err
	case who.Advisor != "" && i.AdvisorID != who.Advisor, p == store.Present && i.Deleted(), p == store.Gone &&
		!i.Deleted():
		return store.Investor{}, store.ErrNotFound
	}
	return i, nil
}

// Investors lists investors; an advisor sees only their own.
func (s *Service) Investors(ctx context.Context, who Actor, f store.InvestorFilter, after int64, limit int) (
	[]store.Investor, error) {
	if who.Advisor != "" {
		if f.AdvisorID != "" && f.AdvisorID != who.Advisor {
			return nil, nil
		}
		f.AdvisorID = who.Advisor
	}
	return s.store.ListInvestors(ctx, who.Tenant, f, after, limit)
}

// UpdateInvestor lets edit change an investor; an edit that leaves it as it is does nothing. It triggers
// qap.investor.updated with the names of the changed properties. Errors: store.ErrNotFound, store.ErrVersion when match
// says no, event.Violations, *Error.
func (s *Service) UpdateInvestor(ctx context.Context, who Actor, id string, match Match, edit func(*store.Investor) error) (i store.Investor, err error) {
	_, err = s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		var err error
		if i, err = s.live(ctx, who, id, match); err != nil {
			return nil, nil, err
		}
		old := i
		err = edit(&i)
		tidyInvestor(&i)
		if err := violations(err, checkInvestor(&i)); err != nil {
			return nil, nil, err
		}
		changed := changedInvestor(&old, &i)
		if len(changed) == 0 {
			return nil, nil, nil
		}
		c := &store.Change{Investor: &i}
		if i.AdvisorID != old.AdvisorID {
			if who.Advisor != "" {
				return nil, nil, errNotYours
			}
			owner, err := s.owner(ctx, who.Tenant, i.AdvisorID)
			if err != nil {
				return nil, nil, err
			}
			c.Expect = expect(store.KindAdvisor, owner)
		}
		i.Object = s.next(old.Object)
		return c, []event.Event{s.investorEvent(investorUpdated, who, &i, changedData{Changed: changed})}, nil
	})
	return i, err
}

// live finds an investor to change.
func (s *Service) live(ctx context.Context, who Actor, id string, match Match) (store.Investor, error) {
	i, err := s.Investor(ctx, who, id, store.Either)
	if err != nil {
		return i, err
	}
	if err := match.check(&i.Object); err != nil {
		return i, err
	}
	if i.Deleted() {
		return i, errDeleted
	}
	return i, nil
}

// SoftDeleteInvestor hides an investor and its advice sessions until it is restored, or removed when its time is over.
// It triggers qap.investor.soft_deleted. Errors: store.ErrNotFound, store.ErrVersion when match says no, *Error.
func (s *Service) SoftDeleteInvestor(ctx context.Context, who Actor, id string, match Match) error {
	_, err := s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		i, err := s.live(ctx, who, id, match)
		if err != nil {
			return nil, nil, err
		}
		i.Object = s.next(i.Object)
		i.DeletedAt = i.UpdatedAt
		return &store.Change{Investor: &i}, []event.Event{s.investorEvent(investorSoft, who, &i, nil)}, nil
	})
	return err
}

// RestoreInvestor shows a soft-deleted investor again, with its advice sessions but those that were soft-deleted by
// themselves. It triggers qap.investor.updated, with deleted_at as what changed. Errors: store.ErrNotFound, *Error.
func (s *Service) RestoreInvestor(ctx context.Context, who Actor, id string, match Match, once Once) (
	i store.Investor, err error) {
	repeated, err := s.do(ctx, who, once, func() string { return id }, func() (*store.Change, []event.Event, error) {
		var err error
		if i, err = s.Investor(ctx, who, id, store.Either); err != nil {
			return nil, nil, err
		}
		if err := match.check(&i.Object); err != nil {
			return nil, nil, err
		}
		if !i.Deleted() {
			return nil, nil, errNotDeleted
		}
		i.Object = s.next(i.Object)
		i.DeletedAt = time.Time{}
		return &store.Change{Investor: &i}, []event.Event{s.investorEvent(investorUpdated, who, &i,
			changedData{Changed: []string{"deleted_at"}})}, nil
	})
	if repeated != "" {
		return s.Investor(ctx, who, repeated, store.Either)
	}
	return i, err
}

// DeleteInvestor removes an investor for good, soft-deleted or not, with all its advice sessions and their reports. It
// triggers qap.investor.advice.deleted for each session and then qap.investor.deleted. Errors: store.ErrNotFound,
// store.ErrVersion when match says no, *Error.
func (s *Service) DeleteInvestor(ctx context.Context, who Actor, id string, match Match) error {
	return s.deleteInvestor(ctx, who, id, match, func(*store.Investor) bool { return true })
}

// deleteInvestor removes an investor that still is as wanted.
func (s *Service) deleteInvestor(ctx context.Context, who Actor, id string, match Match,
	wanted func(*store.Investor) bool) error {
	_, err := s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		i, err := s.Investor(ctx, who, id, store.Either)
		if err != nil {
			return nil, nil, err
		}
		if err := match.check(&i.Object); err != nil || !wanted(&i) {
			return nil, nil, err
		}
		sessions, err := s.store.SessionVersions(ctx, who.Tenant, id, 2*MaxSessions)
		if err != nil {
			return nil, nil, err
		}
		c := &store.Change{Expect: []store.Expected{{Kind: store.KindInvestor, ID: id, Version: i.Version,
			Children: len(sessions)}}}
		var evs []event.Event
		for j := range sessions {
			x := store.AdviceSession{Object: sessions[j], InvestorID: id}
			c.Expect = append(c.Expect, expect(store.KindSession, &x.Object)...)
			c.Remove = append(c.Remove, store.Removed{Kind: store.KindSession, ID: x.ID})
			evs = append(evs, s.sessionEvent(sessionDeleted, who, &x, nil))
		}
		c.Remove = append(c.Remove, store.Removed{Kind: store.KindInvestor, ID: id})
		return c, append(evs, s.investorEvent(investorDeleted, who, &i, nil)), nil
	})
	return err
}
