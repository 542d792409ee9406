// Package store is the contract between the product and what keeps its data, split by consumer: Journal for the
// engine, Webhooks and Directory for configuration, Records for reading what happened, Advisory for the platform's
// objects. The concrete stores are in its subfolders and pass the suite in storetest. It contains no SQL and never
// decides what happens to a delivery or to an object.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Errors that callers decide on.
var (
	ErrNotFound = errors.New("not found")
	ErrVersion  = errors.New("changed by another in the meantime")
	ErrExists   = errors.New("exists already")
	ErrFull     = errors.New("the disk is full")
	ErrBroken   = errors.New("the disk cannot be trusted any more")
	ErrFenced   = errors.New("another node has taken this one's work over")
	ErrAway     = errors.New("the database cannot be reached")
)

// Store is everything a concrete store offers.
type Store interface {
	Journal
	Webhooks
	Directory
	Records
	Stats
	Advisory
	// Ping fails when the store cannot be used now.
	Ping(ctx context.Context) error
	// Close releases it; safe to call twice.
	Close() error
}

// Webhooks keeps the registrations. Secrets are sealed before they are written.
type Webhooks interface {
	// CreateWebhook writes w and sets its Num and Version (1).
	CreateWebhook(ctx context.Context, w *webhook.Webhook) error
	// UpdateWebhook writes w if the stored version is w.Version, and counts w.Version up. Setting DeletedAt is how
	// a webhook is deleted: it is kept for the record but is no longer found by WebhookByID and ListWebhooks.
	// Errors: ErrNotFound (also when deleted), ErrVersion; nothing was written then.
	UpdateWebhook(ctx context.Context, w *webhook.Webhook) error
	// HoldWebhook has the webhook held until then, unless it is for longer. It is no change of the webhook: its Version
	// stays. A webhook that is not there, is deleted, or has another URL by now, is passed over.
	HoldWebhook(ctx context.Context, num int64, url string, until time.Time) error
	// WebhookByID finds the tenant's webhook. Errors: ErrNotFound.
	WebhookByID(ctx context.Context, tenant, id string) (*webhook.Webhook, error)
	// WebhookByNum finds a webhook of whatever tenant, a deleted one too. Errors: ErrNotFound.
	WebhookByNum(ctx context.Context, num int64) (*webhook.Webhook, error)
	// ListWebhooks lists the tenant's webhooks by Num, those after the given Num, up to limit.
	ListWebhooks(ctx context.Context, tenant string, after int64, limit int) ([]*webhook.Webhook, error)
	// AllWebhooks lists every tenant's webhooks, the deleted ones included.
	AllWebhooks(ctx context.Context) ([]*webhook.Webhook, error)
}

// Tenant is an advisory firm on the platform.
type Tenant struct {
	ID        string // [a-z0-9-], chosen by the operator
	Name      string
	CreatedAt time.Time
	Consent   bool      // a webhook is enabled only where its target consents
	EndedAt   time.Time // nothing is taken from it, and nothing sent for it; zero: it has not ended
	DeleteAt  time.Time // from here all of it is removed; zero with EndedAt
}

// Ended tells whether the tenant has ended.
func (t *Tenant) Ended() bool { return !t.EndedAt.IsZero() }

// Role is what an API key may do.
type Role string

// The roles. The operator belongs to no tenant and may do everything in each.
const (
	Publisher   Role = "publisher"
	Viewer      Role = "viewer"
	Admin       Role = "admin"
	AdvisorRole Role = "advisor" // sees and changes one advisor's investors, and nothing else
	Operator    Role = "operator"
)

// KeyKind is what a key is for.
type KeyKind string

// The kinds of keys.
const (
	KindAPIKey KeyKind = ""
	KindLink   KeyKind = "link"    // opens nothing but one sign-in
	KindSignIn KeyKind = "sign_in" // of a person's browser
)

// APIKey is the record of an API key, or of one of limited life that was made with one; the key itself is shown once
// and kept nowhere.
type APIKey struct {
	ID        string // UUID
	Tenant    string // empty for the operator's
	Role      Role
	Advisor   string // role advisor only: whose key it is
	Name      string
	Hash      [32]byte // SHA-256 of the key, which has 256 random bits
	CreatedAt time.Time

	Kind        KeyKind
	Parent      string        // ID of the API key that a link or sign-in comes from, and ends with; empty for API keys
	Webhook     string        // ID of the one webhook that the key is bound to; empty: not bound
	ExpiresAt   time.Time     // zero: never
	SignedInFor time.Duration // links: how long the sign-in lasts; milliseconds
	EndsAt      time.Time     // links: when the sign-in that it gives ends at the latest; zero: with SignedInFor

	Maker    string // ID of the key that it was made with, which may be a sign-in's; empty: not known
	Networks string // prefixes (RFC 4632) with commas between, from which it is good; empty: from anywhere
	UsedAt   time.Time
	UsedFrom string // the address of its last use
}

// KeyUse is the last use of a key.
type KeyUse struct {
	ID   string
	At   time.Time
	From string
}

// Expired tells whether the key's time is over.
func (k *APIKey) Expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

// KeyEnds is how the ends of a key are kept: the one column holds when a link or sign-in ends, the other when an API
// key does, or at the latest the sign-in that a link gives.
func KeyEnds(k *APIKey) (expires, ends time.Time) {
	if k.Kind == KindAPIKey {
		return time.Time{}, k.ExpiresAt
	}
	return k.ExpiresAt, k.EndsAt
}

// SetKeyEnds is the way back.
func SetKeyEnds(k *APIKey, expires, ends time.Time) {
	if k.ExpiresAt, k.EndsAt = expires, ends; k.Kind == KindAPIKey {
		k.ExpiresAt, k.EndsAt = ends, time.Time{}
	}
}

// Directory keeps tenants and API keys.
type Directory interface {
	// CreateTenant writes t. Errors: ErrExists.
	CreateTenant(ctx context.Context, t Tenant) error

	// UpdateTenant writes all that may be changed of a tenant. Error: ErrNotFound.
	UpdateTenant(ctx context.Context, t Tenant) error
	// RemoveTenant removes what there is of a tenant that has ended, about limit rows of it, and at last the tenant
	// itself: done. All its webhooks must be deleted. Error: ErrNotFound, also for a tenant that has not ended.
	RemoveTenant(ctx context.Context, id string, limit int) (done bool, err error)
	// TenantByID finds a tenant. Errors: ErrNotFound.
	TenantByID(ctx context.Context, id string) (Tenant, error)
	// ListTenants lists all tenants by ID.
	ListTenants(ctx context.Context) ([]Tenant, error)
	// CreateAPIKey writes k, and removes the links and sign-ins whose time was over when k was made. Errors: ErrExists
	// for a Hash that is stored already, ErrNotFound for an unknown tenant, advisor, parent or maker.
	CreateAPIKey(ctx context.Context, k APIKey) error
	// APIKeyByHash finds a key. Errors: ErrNotFound.
	APIKeyByHash(ctx context.Context, hash [32]byte) (APIKey, error)
	// APIKeyByID finds a key of any tenant. Errors: ErrNotFound.
	APIKeyByID(ctx context.Context, id string) (APIKey, error)
	// ListAPIKeys lists up to limit of the tenant's keys of a kind, oldest first, without the first skip of those that
	// were made at from or later; the tenant "" lists the operator's.
	ListAPIKeys(ctx context.Context, tenant string, kind KeyKind, from time.Time, skip, limit int) ([]APIKey, error)
	// CountAPIKeys is how many the tenant has of a kind.
	CountAPIKeys(ctx context.Context, tenant string, kind KeyKind) (int, error)
	// UpdateAPIKey writes name, networks and end of the tenant's key. Errors: ErrNotFound.
	UpdateAPIKey(ctx context.Context, k APIKey) error
	// UseAPIKeys writes when keys were last used; those that are gone are passed over.
	UseAPIKeys(ctx context.Context, list []KeyUse) error
	// DeleteAPIKey removes the tenant's key, of any kind, and all that was made with it, and with that, and so on; with
	// keep, the API keys that were made stay, as their own. Of several at once one gets nil, the others ErrNotFound.
	DeleteAPIKey(ctx context.Context, tenant, id string, keep bool) error
}

// EventRecord is a stored event.
type EventRecord struct {
	Seq      Seq
	Event    event.Event
	Webhooks []int64 // the webhooks that it matched
}

// EventFilter selects events of one tenant; zero fields select all.
type EventFilter struct {
	Types         []string // exact names (a pattern is resolved against the catalogue before); empty: all
	ObjectID      string
	ObjectOwnerID string
	OwnerID       string
	Since, Until  time.Time // of acceptance: Since <= t < Until
}

// Status is the state of a delivery: exactly one at any time.
type Status string

// The states of a delivery. The three final ones are the names of the outcomes.
const (
	StatusWaiting   Status = "waiting" // accepted, and not settled for good
	StatusDelivered Status = Status(Delivered)
	StatusExhausted Status = Status(Exhausted)
	StatusCancelled Status = Status(Cancelled)
)

// DeliveryRecord is the state of a delivery.
type DeliveryRecord struct {
	DeliveryKey
	EventID   uuid.UUID
	EventType string
	WebhookID string
	Status    Status
	Attempts  int       // recorded with Sent or a failed try to send; cancelled decisions do not count
	NextAt    time.Time // waiting: when it is due; zero when it is due now or under way
	LastAt    time.Time // the last attempt; zero when there was none
	LastCode  int       // the last attempt's HTTP status
	LastClass string    // the last attempt's error class
}

// DeliveryFilter selects deliveries of one tenant; zero fields select all.
type DeliveryFilter struct {
	Webhook      int64
	Event        Seq
	Status       Status
	Since, Until time.Time // of the event's acceptance
}

// SignedLooked is how many attempts are looked at for the last use of a signing key.
const SignedLooked = 1000

// Records reads what happened. All lists are newest first by Seq (deliveries: then by Webhook, descending).
type Records interface {
	// EventByID finds the tenant's event. Errors: ErrNotFound.
	EventByID(ctx context.Context, tenant string, id uuid.UUID) (EventRecord, error)
	// ListEvents lists up to limit events below before (0: from the newest on).
	ListEvents(ctx context.Context, tenant string, f EventFilter, before Seq, limit int) ([]EventRecord, error)
	// ListDeliveries lists up to limit deliveries below before in the order (Seq, Webhook) descending (zero: from the
	// newest on). What it reads to find them is bounded. Next, unless zero, says that it stopped before there were
	// limit: the list has all down to next, and there may be more below, even if it is empty.
	ListDeliveries(ctx context.Context, tenant string, f DeliveryFilter, before DeliveryKey,
		limit int) (list []DeliveryRecord, next DeliveryKey, err error)
	// CountDeliveries counts the deliveries that a list would have, up to limit. More says that there may be more,
	// since the limit was reached, or the bound of what is read.
	CountDeliveries(ctx context.Context, tenant string, f DeliveryFilter, limit int) (n int, more bool, err error)
	// LastSigned is when an attempt of the webhook was last made with the signing key, among its SignedLooked newest
	// attempts of events before the Seq; the zero time: none of those was.
	LastSigned(ctx context.Context, tenant string, webhook int64, key string, before Seq) (time.Time, error)
	// Delivery finds one delivery with its event and every recorded outcome, oldest first. Errors: ErrNotFound.
	Delivery(ctx context.Context, tenant string, key DeliveryKey) (DeliveryRecord, EventRecord, []Outcome, error)
}
