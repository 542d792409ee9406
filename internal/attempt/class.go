package attempt

import "strings"

// Recorded is the class as it is kept: with its reason, if there is one, behind a colon.
func (r *Result) Recorded() string {
	if r.Reason == "" {
		return r.Class
	}
	return r.Class + ":" + r.Reason
}

// SplitClass takes apart a class as it is on record: the class, and after a colon the reason, where there is one, as in
// tls:expired.
func SplitClass(recorded string) (class, reason string) {
	class, reason, _ = strings.Cut(recorded, ":")
	return class, reason
}
