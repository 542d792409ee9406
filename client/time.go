package client

import (
	"fmt"
	"strings"
	"time"
)

// Time is a time as it is in answers: UTC, with milliseconds.
type Time struct{ time.Time }

// At is a time of the wire.
func At(t time.Time) Time { return Time{t} }

// String is the form of the wire, such as 2023-03-15T12:46:00.000Z.
func (t Time) String() string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// MarshalJSON is String in quotes.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// Duration is a time.Duration that JSON shows as text, such as "15s" or "12h".
type Duration time.Duration

// String is the form of time.Duration without the zeros at its end: 2m, not 2m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes what time.ParseDuration takes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = Duration(v)
	return nil
}
