package attempt

import "strings"

// SplitClass takes apart a class as it is on record: the class, and after a colon the reason, where there is one, as in
// tls:expired.
func SplitClass(recorded string) (class, reason string) {
	class, reason, _ = strings.Cut(recorded, ":")
	return class, reason
}
