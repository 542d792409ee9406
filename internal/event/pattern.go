package event

import (
	"fmt"
	"slices"
	"strings"
)

// maxPattern is the greatest length of a pattern, bytes.
const maxPattern = 256

// Pattern selects event types: segments matched by '.'; '*' is exactly one segment, '**' one or more.
type Pattern struct {
	text     string
	segments []string
}

// ParsePattern reads a pattern. One that can match nothing in the catalogue is an error that names the nearest types.
func ParsePattern(s string) (Pattern, error) {
	if s == "" || len(s) > maxPattern {
		return Pattern{}, fmt.Errorf("must have 1 to %d characters, like qap.investor.* or **", maxPattern)
	}
	p := Pattern{s, strings.Split(s, ".")}
	for _, seg := range p.segments {
		switch {
		case seg == "*" || seg == "**":
		case seg == "":
			return Pattern{}, fmt.Errorf("has an empty segment; write it like qap.investor.*")
		case strings.Trim(seg, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
			return Pattern{}, fmt.Errorf("has a segment that is neither a name (a-z, 0-9, _) nor * nor **")
		}
	}
	if p.matchesAny() {
		return p, nil
	}
	wider := Pattern{segments: strings.Split(strings.ReplaceAll(strings.ReplaceAll(s, "**", "*"), "*", "**"), ".")}
	if wider.matchesAny() {
		return Pattern{}, fmt.Errorf("matches no event type, since * is exactly one segment, and ** is one or more; did you mean %s?",
			strings.Join(wider.segments, "."))
	}
	return Pattern{}, fmt.Errorf("matches no event type; did you mean %s?", strings.Join(Nearest(s), ", "))
}

func (p Pattern) matchesAny() bool {
	return slices.ContainsFunc(catalogue, func(t Type) bool { return p.Match(t.Name) })
}

// String is the pattern as written.
func (p Pattern) String() string { return p.text }

// Match tells whether the pattern selects the event type.
func (p Pattern) Match(name string) bool { return match(p.segments, strings.Split(name, ".")) }

// match goes through the segments once, going back to the last '**' when they part; its cost is bounded by the product
// of the lengths.
func match(pattern, name []string) bool {
	i, j, star, from := 0, 0, -1, 0
	for j < len(name) {
		switch {
		case i < len(pattern) && pattern[i] == "**":
			star, from = i, j
			i, j = i+1, j+1
		case i < len(pattern) && (pattern[i] == "*" || pattern[i] == name[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from+1
		default:
			return false
		}
	}
	return i == len(pattern)
}

// Resolve lists the event types that any of the patterns selects, in the catalogue's order.
func Resolve(patterns []Pattern) []string {
	var out []string
	for i := range catalogue {
		for _, p := range patterns {
			if p.Match(catalogue[i].Name) {
				out = append(out, catalogue[i].Name)
				break
			}
		}
	}
	return out
}

// Nearest lists the three event types that look most like s.
func Nearest(s string) []string {
	s = s[:min(len(s), maxPattern)]
	var out []string
	used := make([]bool, len(catalogue))
	for range 3 {
		best, at := 1<<30, 0
		for i := range catalogue {
			if d := distance(s, catalogue[i].Name); !used[i] && d < best {
				best, at = d, i
			}
		}
		used[at] = true
		out = append(out, catalogue[at].Name)
	}
	return out
}

// Closest is the name that was probably meant by s; "" when none is near.
func Closest(s string, names []string) (name string) {
	best := 1 + min(len(s), maxPattern)/3
	for _, n := range names {
		if d := distance(s[:min(len(s), maxPattern)], n); d <= best {
			best, name = d-1, n
		}
	}
	return name
}

// distance is the Levenshtein distance of two strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
