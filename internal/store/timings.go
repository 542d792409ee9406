package store

import (
	"encoding/binary"
	"time"
)

// Timings are the phases of an attempt, in whole microseconds on record; zero for those that did not happen, as on a
// connection used again.
type Timings struct{ DNS, Connect, TLS, FirstByte time.Duration }

// Append appends the column: the microseconds as uvarints, without the zeros at the end.
func (t Timings) Append(b []byte) []byte {
	list := [...]time.Duration{t.DNS, t.Connect, t.TLS, t.FirstByte}
	n := len(list)
	for n > 0 && list[n-1] < time.Microsecond {
		n--
	}
	for _, d := range list[:n] {
		b = binary.AppendUvarint(b, uint64(max(d, 0)/time.Microsecond))
	}
	return b
}

// ParseTimings reads what Append wrote; of anything else, as far as it is such.
func ParseTimings(b []byte) (t Timings) {
	for _, to := range []*time.Duration{&t.DNS, &t.Connect, &t.TLS, &t.FirstByte} {
		us, n := binary.Uvarint(b)
		if n <= 0 || us > uint64(time.Hour/time.Microsecond) {
			break
		}
		*to, b = time.Duration(us)*time.Microsecond, b[n:]
	}
	return t
}
