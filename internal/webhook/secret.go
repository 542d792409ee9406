package webhook

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that can be used but not printed: fmt, slog and encoding/json all show a fixed text.
// Reveal is the one way to its content.
//
// The content is behind a pointer: fmt calls no method of a value in an unexported field, it prints what it finds, and
// below the top it prints a pointer as an address ("Printing", rules of package fmt). Secrets cannot be compared with
// ==, which would compare the pointers.
type Secret struct {
	_ [0]func()
	v *string // nil: no secret
}

const hidden = "[secret]"

// NewSecret wraps a secret value.
func NewSecret(v string) Secret {
	if v == "" {
		return Secret{}
	}
	return Secret{v: &v}
}

// Reveal returns the content. Only what seals, sends or signs with it calls this.
func (s Secret) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.v == nil }

// String, GoString, MarshalText, MarshalJSON and LogValue hide the content.
func (s Secret) String() string { return hidden }

// GoString hides the content from %#v.
func (s Secret) GoString() string { return hidden }

// MarshalText hides the content from text encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON hides the content from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue hides the content from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format hides the content from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }
