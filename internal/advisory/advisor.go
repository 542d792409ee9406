package advisory

import (
	"context"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// CreateAdvisor makes an advisor; only the firm does. Of a, the properties are taken. It triggers no event. Errors:
// event.Violations, *Error.
func (s *Service) CreateAdvisor(ctx context.Context, who Actor, a store.Advisor, once Once) (store.Advisor, error) {
	if who.Advisor != "" {
		return store.Advisor{}, errNotYours
	}
	tidyAdvisor(&a)
	if err := checkAdvisor(&a); err != nil {
		return store.Advisor{}, err
	}
	repeated, err := s.do(ctx, who, once, func() string { return a.ID },
		func() (_ *store.Change, _ []event.Event, err error) {
			a.Object, err = s.fresh(who.Tenant)
			return &store.Change{Advisor: &a}, nil, err
		})
	if repeated != "" {
		return s.Advisor(ctx, who, repeated)
	}
	return a, err
}

// Advisor finds an advisor; an advisor finds only themselves. Errors: store.ErrNotFound.
func (s *Service) Advisor(ctx context.Context, who Actor, id string) (store.Advisor, error) {
	if who.Advisor != "" && who.Advisor != id {
		return store.Advisor{}, store.ErrNotFound
	}
	return s.store.AdvisorByID(ctx, who.Tenant, id)
}

// Advisors lists the firm's advisors; an advisor sees only themselves.
func (s *Service) Advisors(ctx context.Context, who Actor, after int64, limit int) ([]store.Advisor, error) {
	if who.Advisor == "" {
		return s.store.ListAdvisors(ctx, who.Tenant, after, limit)
	}
	a, err := s.Advisor(ctx, who, who.Advisor)
	if err != nil || a.Num <= after {
		return nil, err
	}
	return []store.Advisor{a}, nil
}

// UpdateAdvisor lets edit change an advisor; only the firm does. It triggers no event. Errors: store.ErrNotFound,
// store.ErrVersion when match says no, event.Violations, *Error.
func (s *Service) UpdateAdvisor(ctx context.Context, who Actor, id string, match Match, edit func(*store.Advisor) error) (a store.Advisor, err error) {
	if who.Advisor != "" {
		return a, errNotYours
	}
	_, err = s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		var err error
		if a, err = s.store.AdvisorByID(ctx, who.Tenant, id); err != nil {
			return nil, nil, err
		}
		if err := match.check(&a.Object); err != nil {
			return nil, nil, err
		}
		old := a
		err = edit(&a)
		tidyAdvisor(&a)
		if err := violations(err, checkAdvisor(&a)); err != nil || a == old {
			return nil, nil, err
		}
		a.Object = s.next(old.Object)
		return &store.Change{Advisor: &a}, nil, nil
	})
	return a, err
}

// DeleteAdvisor removes an advisor who has no investors, for good, and with them their API keys; only the firm does. It
// triggers no event. Errors: store.ErrNotFound, store.ErrVersion when match says no, *Error.
func (s *Service) DeleteAdvisor(ctx context.Context, who Actor, id string, match Match) error {
	if who.Advisor != "" {
		return errNotYours
	}
	_, err := s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		a, err := s.store.AdvisorByID(ctx, who.Tenant, id)
		if err != nil {
			return nil, nil, err
		}
		if err := match.check(&a.Object); err != nil {
			return nil, nil, err
		}
		owned, err := s.store.ListInvestors(ctx, who.Tenant,
			store.InvestorFilter{AdvisorID: id, Presence: store.Either}, 0, 1)
		if err != nil {
			return nil, nil, err
		}
		if len(owned) > 0 {
			return nil, nil, errOwns
		}
		return &store.Change{
			Expect: []store.Expected{{Kind: store.KindAdvisor, ID: id, Version: a.Version, Children: 0}},
			Remove: []store.Removed{{Kind: store.KindAdvisor, ID: id}},
		}, nil, nil
	})
	return err
}
