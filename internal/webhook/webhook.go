package webhook

import (
	"time"
)

// Method is the HTTP method of a webhook's requests.
type Method string

// The two methods of the product page.
const (
	POST Method = "POST"
	GET  Method = "GET"
)

// AuthType says which static authentication a webhook's requests carry.
type AuthType string

// The kinds of static authentication.
const (
	AuthNone   AuthType = "none"
	AuthBasic  AuthType = "basic"
	AuthBearer AuthType = "bearer"
	AuthAPIKey AuthType = "api_key"
)

// Auth is the static authentication of a webhook's requests.
type Auth struct {
	Type     AuthType
	Username string // basic
	Header   string // api_key: the header's name
	Secret   Secret // basic: the password; bearer: the token; api_key: the value
}

// Header is a custom header. Its value is a secret.
type Header struct {
	Name  string
	Value Secret
}

// SigningKey is one signing key of a webhook. During a rotation there are two.
type SigningKey struct {
	ID        string    // public name of the key, recorded on each attempt; never the key
	Key       Secret    // as typed; its bytes are used untrimmed
	SwitchAt  time.Time // from here X-Quantfolio-Signature-256 is made with this key
	ExpiresAt time.Time // from here webhook-signature no longer carries it; zero: never
}

// Webhook is a registration: where the events of some patterns go, and how.
type Webhook struct {
	Num            int64  // the store's number for it; never shown
	ID             string // UUID, public
	Tenant         string
	URL            string // normalised
	Method         Method
	EventTypes     []string // patterns
	OwnerID        string   // if set, only events whose owner_id or object_owner_id is this
	Auth           Auth
	Headers        []Header
	SigningKeys    []SigningKey // newest first; none: unsigned; at most two
	Description    string
	Enabled        bool
	DisabledReason string          // why the product disabled it itself; empty otherwise
	HeldUntil      time.Time       // the receiver asked that nothing is sent before (Retry-After); zero: it did not
	Timeout        time.Duration   // of one attempt
	RetrySchedule  []time.Duration // one delay per retry, before jitter
	Version        int64           // counts changes, for ETag
	CreatedAt      time.Time
	UpdatedAt      time.Time
	DeletedAt      time.Time // zero while it exists
}

// Deleted tells whether the webhook was deleted; its deliveries stay on record.
func (w *Webhook) Deleted() bool { return !w.DeletedAt.IsZero() }

// DefaultTimeout is the time one attempt may take when the webhook does not say.
const DefaultTimeout = 15 * time.Second

// DefaultRetrySchedule survives a weekend: 5 s … 8 h, then every 12 h to about 75 hours in all.
func DefaultRetrySchedule() []time.Duration {
	s := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}
	for range 5 {
		s = append(s, 12*time.Hour)
	}
	return s
}
