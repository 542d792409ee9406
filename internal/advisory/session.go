package advisory

import (
	"context"
	"errors"
	"time"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// CreateSession makes an advice session of an investor. Of in, the properties are taken. It triggers
// qap.investor.advice.created. Errors: store.ErrNotFound for the investor, event.Violations, *Error.
func (s *Service) CreateSession(ctx context.Context, who Actor, investor string, in store.AdviceSession, once Once) (
	store.AdviceSession, error) {
	tidySession(&in)
	if err := checkSession(&in); err != nil {
		return store.AdviceSession{}, err
	}
	repeated, err := s.do(ctx, who, once, func() string { return in.ID }, func() (*store.Change, []event.Event, error) {
		i, err := s.live(ctx, who, investor, nil)
		if err != nil {
			return nil, nil, err
		}
		siblings, err := s.store.SessionVersions(ctx, who.Tenant, i.ID, MaxSessions)
		if err != nil {
			return nil, nil, err
		}
		if len(siblings) == MaxSessions {
			return nil, nil, errTooMany
		}
		if in.Object, err = s.fresh(who.Tenant); err != nil {
			return nil, nil, err
		}
		in.InvestorID, in.CompletedAt = i.ID, time.Time{}
		return &store.Change{Expect: expect(store.KindInvestor, &i.Object), Session: &in},
			[]event.Event{s.sessionEvent(sessionCreated, who, &in, sessionData{in.Title})}, nil
	})
	if repeated != "" {
		return s.Session(ctx, who, repeated, store.Either)
	}
	return in, err
}

// Session finds an advice session; an advisor finds only those of their own investors. One whose investor is
// soft-deleted is as soft-deleted itself. Errors: store.ErrNotFound.
func (s *Service) Session(ctx context.Context, who Actor, id string, p store.Presence) (store.AdviceSession, error) {
	x, _, err := s.session(ctx, who, id, p)
	return x, err
}

func (s *Service) session(ctx context.Context, who Actor, id string, p store.Presence) (
	x store.AdviceSession, i store.Investor, err error) {
	if x, err = s.store.SessionByID(ctx, who.Tenant, id); err != nil {
		return x, i, err
	}
	if i, err = s.Investor(ctx, who, x.InvestorID, store.Either); err != nil {
		return x, i, err
	}
	gone := x.Deleted() || i.Deleted()
	if p == store.Present && gone || p == store.Gone && !gone {
		return x, i, store.ErrNotFound
	}
	return x, i, nil
}

// Sessions lists an investor's advice sessions; all those of a soft-deleted investor are soft-deleted. Errors:
// store.ErrNotFound for the investor.
func (s *Service) Sessions(ctx context.Context, who Actor, f store.SessionFilter, after int64, limit int) (
	[]store.AdviceSession, error) {
	p := store.Present
	if f.Presence != store.Present {
		p = store.Either
	}
	i, err := s.Investor(ctx, who, f.InvestorID, p)
	if err != nil {
		return nil, err
	}
	if i.Deleted() {
		f.Presence = store.Either
	}
	return s.store.ListSessions(ctx, who.Tenant, f, after, limit)
}

// open finds an advice session to change, with its investor.
func (s *Service) open(ctx context.Context, who Actor, id string, match Match) (
	store.AdviceSession, store.Investor, error) {
	x, i, err := s.session(ctx, who, id, store.Either)
	switch {
	case err != nil:
	case i.Deleted():
		err = errGoneWith
	case match.check(&x.Object) != nil:
		err = store.ErrVersion
	case x.Deleted():
		err = errDeleted
	}
	return x, i, err
}

// UpdateSession lets edit fill in an advice session; it triggers no event. Errors: store.ErrNotFound, store.ErrVersion
// when match says no, event.Violations, *Error.
func (s *Service) UpdateSession(ctx context.Context, who Actor, id string, match Match, edit func(*store.AdviceSession) error) (x store.AdviceSession, err error) {
	_, err = s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		var i store.Investor
		var err error
		if x, i, err = s.open(ctx, who, id, match); err != nil {
			return nil, nil, err
		}
		if x.Completed() {
			return nil, nil, errCompleted
		}
		old := x
		err = edit(&x)
		tidySession(&x)
		if err := violations(err, checkSession(&x)); err != nil || x == old {
			return nil, nil, err
		}
		x.Object = s.next(old.Object)
		return &store.Change{Expect: expect(store.KindInvestor, &i.Object), Session: &x}, nil, nil
	})
	return x, err
}

// CompleteSession completes an advice session, once. It triggers qap.investor.advice.completed. Errors:
// store.ErrNotFound, store.ErrVersion when match says no, *Error.
func (s *Service) CompleteSession(ctx context.Context, who Actor, id string, match Match, once Once) (
	x store.AdviceSession, err error) {
	repeated, err := s.do(ctx, who, once, func() string { return id }, func() (*store.Change, []event.Event, error) {
		var i store.Investor
		var err error
		if x, i, err = s.open(ctx, who, id, match); err != nil {
			return nil, nil, err
		}
		if x.Completed() {
			return nil, nil, errCompleted
		}
		x.Object = s.next(x.Object)
		x.CompletedAt = x.UpdatedAt
		return &store.Change{Expect: expect(store.KindInvestor, &i.Object), Session: &x},
			[]event.Event{s.sessionEvent(sessionCompleted, who, &x, sessionData{x.Title})}, nil
	})
	if repeated != "" {
		return s.Session(ctx, who, repeated, store.Either)
	}
	return x, err
}

// SoftDeleteSession hides an advice session until it is restored, or removed when its time is over. It triggers
// qap.investor.advice.soft_deleted. Errors: store.ErrNotFound, store.ErrVersion when match says no, *Error.
func (s *Service) SoftDeleteSession(ctx context.Context, who Actor, id string, match Match) error {
	_, err := s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		x, i, err := s.open(ctx, who, id, match)
		if err != nil {
			return nil, nil, err
		}
		x.Object = s.next(x.Object)
		x.DeletedAt = x.UpdatedAt
		return &store.Change{Expect: expect(store.KindInvestor, &i.Object), Session: &x},
			[]event.Event{s.sessionEvent(sessionSoftDeleted, who, &x, nil)}, nil
	})
	return err
}

// RestoreSession shows a soft-deleted advice session again. There is no event type for that, and a receiver that
// dropped the session has to learn of it; so it triggers qap.investor.updated of the investor, with advice_sessions as
// what changed and the session's ID. Errors: store.ErrNotFound, store.ErrVersion when match says no, *Error.
func (s *Service) RestoreSession(ctx context.Context, who Actor, id string, match Match, once Once) (
	x store.AdviceSession, err error) {
	repeated, err := s.do(ctx, who, once, func() string { return id }, func() (*store.Change, []event.Event, error) {
		var i store.Investor
		var err error
		if x, i, err = s.open(ctx, who, id, match); err == nil {
			return nil, nil, errNotDeleted
		} else if !errors.Is(err, errDeleted) {
			return nil, nil, err
		}
		x.Object = s.next(x.Object)
		x.DeletedAt = time.Time{}
		data := changedData{Changed: []string{"advice_sessions"}, Session: x.ID}
		return &store.Change{Expect: expect(store.KindInvestor, &i.Object), Session: &x},
			[]event.Event{s.investorEvent(investorUpdated, who, &i, data)}, nil
	})
	if repeated != "" {
		return s.Session(ctx, who, repeated, store.Either)
	}
	return x, err
}

// DeleteSession removes an advice session for good, soft-deleted or not, with its reports. It triggers
// qap.investor.advice.deleted. Errors: store.ErrNotFound, store.ErrVersion when match says no.
func (s *Service) DeleteSession(ctx context.Context, who Actor, id string, match Match) error {
	return s.deleteSession(ctx, who, id, match, func(*store.AdviceSession) bool { return true })
}

// deleteSession removes a session that still is as wanted.
func (s *Service) deleteSession(ctx context.Context, who Actor, id string, match Match,
	wanted func(*store.AdviceSession) bool) error {
	_, err := s.do(ctx, who, Once{}, nil, func() (*store.Change, []event.Event, error) {
		x, i, err := s.session(ctx, who, id, store.Either)
		if err != nil {
			return nil, nil, err
		}
		if err := match.check(&x.Object); err != nil || !wanted(&x) {
			return nil, nil, err
		}
		// The investor too: it may have been given to another advisor.
		return &store.Change{Expect: append(expect(store.KindSession, &x.Object), expect(store.KindInvestor, &i.Object)...), Remove: []store.Removed{{Kind: store.KindSession, ID: id}}},
			[]event.Event{s.sessionEvent(sessionDeleted, who, &x, nil)}, nil
	})
	return err
}
