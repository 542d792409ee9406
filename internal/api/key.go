package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/store"
)

// keyPrefix makes an API key recognisable in a leak.
const keyPrefix = "qhk_"

// NewAPIKey makes an API key with 256 random bits: its text, which is kept nowhere, and its record. An operator's key
// has no tenant.
func NewAPIKey(tenant string, role store.Role, name string, now time.Time) (plain string, k store.APIKey) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	plain = keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	return plain, store.APIKey{
		ID: uuid.NewString(), Tenant: tenant, Role: role, Name: name, Hash: HashKey(plain),
		CreatedAt: now.UTC().Truncate(time.Millisecond),
	}
}

// HashKey is what is stored of an API key: its SHA-256. Keys are looked up by it, so that no comparison's time tells
// anything about a key.
func HashKey(plain string) [32]byte { return sha256.Sum256([]byte(plain)) }
