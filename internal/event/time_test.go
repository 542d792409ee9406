package event

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseTime(t *testing.T) {
	for in, want := range map[string]string{
		"2023-03-15T12:46Z":                   "2023-03-15T12:46:00.000Z",
		"2023-03-15T12:46+05:30":              "2023-03-15T07:16:00.000Z",
		"2023-03-15T12:46-00:00":              "2023-03-15T12:46:00.000Z",
		"2023-03-15t12:46:01z":                "2023-03-15T12:46:01.000Z",
		"2023-03-15T12:46:01+02:00":           "2023-03-15T10:46:01.000Z",
		"2023-03-15T12:46:01.123456789-01:00": "2023-03-15T13:46:01.123Z",
		"2023-03-15T12:46:01.9999999999999Z":  "2023-03-15T12:46:01.999Z",
		"1969-12-31T23:59:59.9999Z":           "1969-12-31T23:59:59.999Z",
		"2016-12-31T23:59:60Z":                "2017-01-01T00:00:00.000Z",
		"2016-12-31T15:59:60.5-08:00":         "2017-01-01T00:00:00.500Z",
		"2024-02-29T00:00Z":                   "2024-02-29T00:00:00.000Z",
		"0001-01-01T00:00:00.001Z":            "0001-01-01T00:00:00.001Z",
		"9999-12-31T23:59:59.999Z":            "9999-12-31T23:59:59.999Z",
	} {
		if got, ok := parseTime(in); !ok || FormatTime(got) != want || got.Location() != time.UTC {
			t.Errorf("parseTime(%s) = %v, %v, want %s", in, got, ok, want)
		}
	}
	for _, bad := range []string{
		"", "Z", "2023-03-15", "2023-03-15T12:46", "2023-03-15T12:46:01", "2023-03-15 12:46Z", "2023-03-15T12Z",
		"2023-03-15T1:46:00Z", "2023-03-15T12:46:01,123Z", "2023-03-15T12:46:01.Z", "2023-03-15T12:46.5Z", "2023-03-15T12:46:Z",
		"2023-03-15T12:46:1Z", "2023-03-15T12:46+24:00", "2023-03-15T12:46+01:60", "2023-03-15T12:46+0100", "2023-03-15T12:46+01",
		"2023-03-15T12:46ZZ", "2023-03-15T12:46 01:00", "2023-02-29T00:00Z", "2023-00-01T00:00Z", "2023-13-01T00:00Z",
		"2023-01-00T00:00Z", "2023-01-32T00:00Z", "2023-03-15T24:00Z", "2023-03-15T12:60Z", "2023-03-15T12:46:61Z",
		"2023-03-15T12:46:60Z", "2023-03-15T23:59:60Z", "0000-01-01T00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:01+00:01",
		"9999-12-31T23:59:59-00:01", "+2023-03-15T12:46Z", "2023-03-15T12:46:01.1x", "１023-03-15T12:46Z",
	} {
		if got, ok := parseTime(bad); ok {
			t.Errorf("parseTime(%q) = %v, want it refused", bad, got)
		}
	}
}

// What RFC 3339 and time.Parse both have, they read alike.
func TestParseTimeAgreesWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(low, high int) int { return rapid.IntRange(low, high).Draw(t, "n") }
		s := fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", n(2, 9998), n(0, 13), n(0, 32), n(0, 24), n(0, 60), n(0, 59))
		s += rapid.SampledFrom([]string{"", ".0", ".123", ".1239", ".999999999"}).Draw(t, "fraction")
		s += rapid.SampledFrom([]string{"Z", "+00:00", "-23:59", "+05:30"}).Draw(t, "offset")
		want, err := time.Parse(time.RFC3339Nano, s)
		got, ok := parseTime(s)
		if ok != (err == nil) || ok && !got.Equal(want.Truncate(time.Millisecond)) {
			t.Fatalf("parseTime(%s) = %v, %v, want %v, %v", s, got, ok, want, err)
		}
	})
}
