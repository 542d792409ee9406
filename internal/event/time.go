package event

import "time"

// timeForm is RFC 3339 in UTC with exactly three digits of a second.
const timeForm = "2006-01-02T15:04:05.000Z"

// FormatTime is the wire form of an event's time.
func FormatTime(t time.Time) string { return t.UTC().Format(timeForm) }

// parseTime reads the date-time of RFC 3339, section 5.6, and the product page's form without seconds, as UTC cut to
// the millisecond. It is not time.Parse, which takes what the RFC does not have (a comma before the fraction, an hour
// of one digit, an offset of 24 hours) and refuses what it has (t and z in lower case, a leap second). The zero time
// stands for "not given" and is refused.
func parseTime(s string) (time.Time, bool) {
	const shape = "0000-00-00T00:00"
	if len(s) <= len(shape) {
		return time.Time{}, false
	}
	for i := range len(shape) {
		switch c := s[i]; shape[i] {
		case '0':
			if !isDigit(c) {
				return time.Time{}, false
			}
		case 'T':
			if c != 'T' && c != 't' {
				return time.Time{}, false
			}
		default:
			if c != shape[i] {
				return time.Time{}, false
			}
		}
	}
	year, month, day := two(s)*100+two(s[2:]), two(s[5:]), two(s[8:])
	hour, minute := two(s[11:]), two(s[14:])
	second, nanos, rest, ok := parseSecond(s[len(shape):])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := parseOffset(rest)
	if !ok || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if date.Day() != day { // such as February 30
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute-offset, second, nanos, time.UTC)
	if second == 60 && (t.Day() != 1 || t.Hour() != 0 || t.Minute() != 0) {
		return time.Time{}, false // a leap second ends a month, in UTC; it is counted as the next second
	}
	t = t.Truncate(time.Millisecond)
	return t, t.Year() >= 1 && t.Year() <= 9999 && !t.IsZero()
}

// parseSecond reads what may stand between the minute and the offset: nothing, or ":05" with or without a fraction.
func parseSecond(s string) (second, nanos int, rest string, ok bool) {
	if s[0] != ':' {
		return 0, 0, s, true
	}
	if len(s) < 3 || !isDigit(s[1]) || !isDigit(s[2]) {
		return 0, 0, "", false
	}
	second, s = two(s[1:]), s[3:]
	if s == "" || s[0] != '.' {
		return second, 0, s, true
	}
	i, unit := 1, 100_000_000
	for ; i < len(s) && isDigit(s[i]); i++ {
		nanos += int(s[i]-'0') * unit
		unit /= 10 // what is finer than a nanosecond counts nothing
	}
	return second, nanos, s[i:], i > 1
}

// parseOffset reads "Z" or "+01:30", in minutes.
func parseOffset(s string) (minutes int, ok bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != 6 || s[3] != ':' || !isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[4]) || !isDigit(s[5]) {
		return 0, false
	}
	h, m := two(s[1:]), two(s[4:])
	minutes = h*60 + m
	if s[0] == '-' {
		minutes = -minutes
	}
	return minutes, h <= 23 && m <= 59 && (s[0] == '+' || s[0] == '-')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// two is the number of the two digits that s begins with.
func two(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }
