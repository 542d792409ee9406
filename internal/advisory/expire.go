package advisory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

func (s *Service) expireLoop() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		if err := s.Expire(s.running); err != nil && s.running.Err() == nil {
			s.log.Warn("what was soft-deleted long ago could not be removed; it is tried again", "error", err)
		}
		select {
		case <-s.running.Done():
			return
		case <-t.C:
		}
	}
}

// Expire removes for good what was soft-deleted longer ago than the retention time, as the firm, and forgets old
// idempotency keys. The loop calls it; any number of nodes may.
func (s *Service) Expire(ctx context.Context) error {
	now := s.now()
	before := now.Add(-s.retention)
	for {
		found, err := s.store.ListExpired(ctx, before, expireBatch)
		if err != nil {
			return fmt.Errorf("list what is expired: %w", err)
		}
		for _, x := range found {
			if err := s.expire(ctx, x, before); err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("remove %s %s: %w", x.Kind, x.ID, err)
			}
		}
		if len(found) < expireBatch {
			break
		}
	}
	if err := s.store.DropIdempotencyKeys(ctx, now.Add(-keyLife)); err != nil {
		return fmt.Errorf("forget idempotency keys: %w", err)
	}
	return nil
}

// expire removes an object unless it was restored meanwhile.
func (s *Service) expire(ctx context.Context, x store.Expired, before time.Time) error {
	who := Actor{Tenant: x.Tenant}
	due := func(o *store.Object) bool { return o.Deleted() && o.DeletedAt.Before(before) }
	if x.Kind == store.KindInvestor {
		return s.deleteInvestor(ctx, who, x.ID, nil, func(i *store.Investor) bool { return due(&i.Object) })
	}
	return s.deleteSession(ctx, who, x.ID, nil, func(a *store.AdviceSession) bool { return due(&a.Object) })
}
