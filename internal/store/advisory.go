package store

import (
	"context"
	"time"
)

// The kinds of the platform's objects.
const (
	KindAdvisor  Kind = "advisor"
	KindInvestor Kind = "investor"
	KindSession  Kind = "advice session"
	KindReport   Kind = "report"
)

// Kind is a kind of the platform's objects.
type Kind string

// Object is what every object of the platform has.
type Object struct {
	Num       int64  // orders lists; set by the store
	Tenant    string // the firm
	ID        string // UUID
	Version   int64  // 1 for the first, counted up by every change
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // soft-deleted; zero: not. Advisors and reports are never soft-deleted.
}

// Deleted tells whether the object is soft-deleted.
func (o *Object) Deleted() bool { return !o.DeletedAt.IsZero() }

// Advisor advises investors.
type Advisor struct {
	Object
	Name, Email string
}

// Investor is a person or a company that is advised; it belongs to an advisor.
type Investor struct {
	Object
	AdvisorID string
	Type      string // person or company
	Name      string
	Email     string
	Country   string // ISO 3166-1 alpha-2
	Reference string // the firm's own, for example a customer number
}

// AdviceSession is one session of advice to an investor.
type AdviceSession struct {
	Object
	InvestorID     string
	Title          string
	Objective      string
	RiskProfile    string
	HorizonYears   int // 0: not given
	Recommendation string
	CompletedAt    time.Time // zero: not yet
}

// Completed tells whether the session is completed: then it cannot change any more.
func (s *AdviceSession) Completed() bool { return !s.CompletedAt.IsZero() }

// Report is a document made from a completed advice session.
type Report struct {
	Object
	SessionID string
	Size      int    // bytes of Content
	Content   []byte // a PDF; lists leave it out
}

// IdempotencyLife is how long a caller's key is remembered.
const IdempotencyLife = 24 * time.Hour

// IdempotencyKey remembers what a caller's key stood for, so that a repetition does nothing new.
type IdempotencyKey struct {
	Caller    string   // keys of different callers of a tenant do not meet
	Key       string   // as the caller gave it
	Request   [32]byte // SHA-256 of what was asked
	ObjectID  string   // of what it made or changed
	CreatedAt time.Time
}

// Expected is a condition of a Change: the stored object has this version.
type Expected struct {
	Kind    Kind
	ID      string
	Version int64
	// Children, unless negative, is how many children the object has, soft-deleted ones included: an advisor's
	// investors, an investor's advice sessions.
	Children int
}

// Removed names an object that a Change removes for good; with an advice session go its reports.
type Removed struct {
	Kind Kind
	ID   string
}

// Change is what a submission does to the platform's objects, in one transaction with its events. It is written if all
// of it holds: what is expected, that a written object has the version after the stored one (the first one: none is
// stored), and that its idempotency key is not stored. Else the submission's Err is ErrVersion and nothing is written.
type Change struct {
	Expect []Expected
	// What is written; at most one of a kind. A report is only ever made.
	Advisor  *Advisor
	Investor *Investor
	Session  *AdviceSession
	Report   *Report
	Remove   []Removed // children before parents
	Key      *IdempotencyKey
}

// Size is what the change costs in memory, bytes, roughly.
func (c *Change) Size() int64 {
	n := 512 + 64*(len(c.Expect)+len(c.Remove))
	if c.Session != nil {
		n += len(c.Session.Objective) + len(c.Session.Recommendation)
	}
	if c.Report != nil {
		n += len(c.Report.Content)
	}
	return int64(n)
}

// Presence selects by soft deletion.
type Presence int

// The presences.
const (
	Present Presence = iota // not soft-deleted
	Gone                    // soft-deleted
	Either
)

// InvestorFilter selects investors of one tenant; zero fields select all.
type InvestorFilter struct {
	AdvisorID string
	Type      string
	Reference string
	Presence  Presence
}

// SessionFilter selects advice sessions of one investor.
type SessionFilter struct {
	InvestorID string
	Completed  *bool // nil: both
	Presence   Presence
}

// Expired is an object whose time after the soft deletion is over.
type Expired struct {
	Tenant string
	Kind   Kind
	ID     string
}

// Advisory reads the platform's objects; Journal.Commit writes them, with their events. Lists are by Num, ascending, of
// what comes after the given Num, up to limit.
type Advisory interface {
	// AdvisorByID finds the tenant's advisor. Errors: ErrNotFound.
	AdvisorByID(ctx context.Context, tenant, id string) (Advisor, error)
	// ListAdvisors lists the tenant's advisors.
	ListAdvisors(ctx context.Context, tenant string, after int64, limit int) ([]Advisor, error)
	// InvestorByID finds the tenant's investor, soft-deleted or not. Errors: ErrNotFound.
	InvestorByID(ctx context.Context, tenant, id string) (Investor, error)
	// ListInvestors lists the tenant's investors.
	ListInvestors(ctx context.Context, tenant string, f InvestorFilter, after int64, limit int) ([]Investor, error)
	// SessionByID finds the tenant's advice session, soft-deleted or not. Errors: ErrNotFound.
	SessionByID(ctx context.Context, tenant, id string) (AdviceSession, error)
	// ListSessions lists an investor's advice sessions.
	ListSessions(ctx context.Context, tenant string, f SessionFilter, after int64, limit int) ([]AdviceSession, error)
	// SessionVersions lists ID and Version of an investor's advice sessions, soft-deleted or not, up to limit.
	SessionVersions(ctx context.Context, tenant, investor string, limit int) ([]Object, error)
	// ReportByID finds a report of the tenant's advice session, with its content. Errors: ErrNotFound.
	ReportByID(ctx context.Context, tenant, session, id string) (Report, error)
	// ListReports lists the reports of an advice session, without their content.
	ListReports(ctx context.Context, tenant, session string, after int64, limit int) ([]Report, error)
	// ListExpired lists what was soft-deleted before the time, of all tenants: investors first, then advice sessions,
	// each by the time of their deletion.
	ListExpired(ctx context.Context, before time.Time, limit int) ([]Expired, error)
	// IdempotencyKey finds what a caller's key stood for. Errors: ErrNotFound.
	IdempotencyKey(ctx context.Context, tenant, caller, key string) (IdempotencyKey, error)
	// AddIdempotencyKey writes a key for what is made outside the journal, and forgets those that are IdempotencyLife
	// older. Errors: ErrExists.
	AddIdempotencyKey(ctx context.Context, tenant string, k IdempotencyKey) error
	// DropIdempotencyKeys forgets the keys from before the time.
	DropIdempotencyKeys(ctx context.Context, before time.Time) error
}
