package advisory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	// MaxSessions is how many advice sessions an investor can have, so that deleting them all is one bounded commit.
	MaxSessions = 1000

	keyLife     = store.IdempotencyLife
	tick        = time.Minute // how often expired objects are looked for
	expireBatch = 100
	tries       = 10 // of a change that others get in the way of
)

// Engine commits a change with its events; *engine.Engine is one.
type Engine interface {
	// Change returns after the change and its events are committed, both or neither. Errors: store.ErrVersion, the
	// change does not hold on what is stored now; store.ErrFull, engine.ErrStopping. Nothing was changed then.
	Change(ctx context.Context, tenant string, c *store.Change, evs []event.Event) error
}

// Store reads what is there.
type Store interface {
	store.Advisory
	// TenantByID finds the firm. Errors: store.ErrNotFound.
	TenantByID(ctx context.Context, id string) (store.Tenant, error)
}

// Config is what a service is made of. Engine and Store are required; the rest works as zero.
type Config struct {
	Engine    Engine
	Store     Store
	Logger    *slog.Logger
	Now       func() time.Time // default time.Now
	Retention time.Duration    // how long what is soft-deleted can be restored; default 30 days
}

// Service is the platform. Its methods may be called by any number of goroutines. Times are UTC, milliseconds.
type Service struct {
	engine    Engine
	store     Store
	log       *slog.Logger
	clock     func() time.Time
	retention time.Duration

	running context.Context // of the loop; ends when Stop begins
	halt    context.CancelFunc
	loop    sync.WaitGroup
	started sync.Once
}

// New makes a service; nothing runs yet.
func New(cfg Config) *Service {
	s := &Service{engine: cfg.Engine, store: cfg.Store, log: cfg.Logger, clock: cfg.Now, retention: cfg.Retention}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.retention <= 0 {
		s.retention = 30 * 24 * time.Hour
	}
	s.running, s.halt = context.WithCancel(context.Background())
	return s
}

// Start begins to remove what was soft-deleted long enough ago. Safe to call twice; after Stop it does nothing.
func (s *Service) Start() { s.started.Do(func() { s.loop.Go(s.expireLoop) }) }

// Stop ends that, within the commit that is under way. Safe to call twice and unstarted.
func (s *Service) Stop() {
	s.halt()
	s.started.Do(func() {}) // not any more
	s.loop.Wait()
}

// Actor is who acts: an advisor, or (Advisor empty) the firm or one of its automatic rules.
type Actor struct {
	Tenant  string
	Advisor string
}

// owner is whose the events are: the advisor's who acted, else the client's.
func (a Actor) owner() string {
	if a.Advisor != "" {
		return a.Advisor
	}
	return a.Tenant
}

func (a Actor) caller() string { return a.Advisor }

// Once makes a request that is repeated do nothing new.
type Once struct {
	Key     string   // the caller's; empty: every request counts
	Request [32]byte // SHA-256 of what is asked
}

// Match tells whether a version is the one that the caller knows; nil: any is.
type Match func(version int64) bool

func (m Match) check(o *store.Object) error {
	if m != nil && !m(o.Version) {
		return store.ErrVersion
	}
	return nil
}

// plan is a change on what is stored now, with its events. A nil change: there is nothing to do.
type plan func() (*store.Change, []event.Event, error)

// do commits what p plans, and plans again when another change came between. repeated is the ID of the object that an
// earlier request with the same key made or changed; then nothing was done.
func (s *Service) do(ctx context.Context, who Actor, once Once, object func() string, p plan) (
	repeated string, err error) {
	for range tries {
		if repeated, err := s.repeated(ctx, who, once); err != nil || repeated != "" {
			return repeated, err
		}
		c, evs, err := p()
		if err != nil {
			// The same request may have been made in the meantime, and be what is in the way.
			if repeated, e := s.repeated(ctx, who, once); e == nil && repeated != "" {
				return repeated, nil
			}
			return "", err
		}
		if c == nil {
			return "", nil
		}
		if once.Key != "" {
			c.Key = &store.IdempotencyKey{Caller: who.caller(), Key: once.Key, Request: once.Request,
				ObjectID: object(), CreatedAt: s.now()}
		}
		if err := s.engine.Change(ctx, who.Tenant, c, evs); !errors.Is(err, store.ErrVersion) {
			return "", err
		}
	}
	return "", errBusy
}

// repeated is the ID of the object that an earlier request with the same key made or changed; empty: there was none.
func (s *Service) repeated(ctx context.Context, who Actor, once Once) (string, error) {
	if once.Key == "" {
		return "", nil
	}
	k, err := s.store.IdempotencyKey(ctx, who.Tenant, who.caller(), once.Key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case k.Request != once.Request:
		return "", errKeyReused
	}
	return k.ObjectID, nil
}

// now is the time in the resolution that is stored.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Millisecond) }

// fresh is a new object.
func (s *Service) fresh(tenant string) (store.Object, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return store.Object{}, fmt.Errorf("make an ID: %w", err)
	}
	now := s.now()
	return store.Object{Tenant: tenant, ID: id.String(), Version: 1, CreatedAt: now, UpdatedAt: now}, nil
}

// next is the version after o.
func (s *Service) next(o store.Object) store.Object {
	o.Version++
	o.UpdatedAt = s.now()
	return o
}

func expect(k store.Kind, o *store.Object) []store.Expected {
	return []store.Expected{{Kind: k, ID: o.ID, Version: o.Version, Children: -1}}
}
