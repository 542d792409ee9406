package event

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Limits of one event.
const (
	MaxSize  = 256 << 10 // bytes of one event as published
	MaxDepth = 64        // nesting of data
	MaxIDLen = 256       // bytes of an object or owner ID
	MaxBatch = 1000      // events in one batch
)

// Event is something that happened; immutable once accepted. Its properties are those of the product page.
type Event struct {
	ID            uuid.UUID       // zero when the publisher gave none and none is made yet
	Type          string          // one of the catalogue
	ObjectID      string          // the affected advice session or investor
	ObjectOwnerID string          // an advice session's investor, an investor's advisor
	OwnerID       string          // the advisor or client that the event belongs to
	Time          time.Time       // UTC, milliseconds; zero when not given and not set yet
	Data          json.RawMessage // a compact JSON object, its tokens byte for byte as given; "{}" when there is none
}

// Violation is one broken rule: the field, as a JSON path ("type", "events[3].data", "headers[0].name"), and a
// sentence that says what to do.
type Violation struct {
	Field   string
	Message string
}

// Violations is the error of a validation: every rule that was broken, in the order of the fields.
type Violations []Violation

// Error joins the violations into one sentence each.
func (v Violations) Error() string {
	var b strings.Builder
	for i, x := range v {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(x.Field)
		b.WriteString(": ")
		b.WriteString(x.Message)
	}
	return b.String()
}

// Add appends a violation.
func (v *Violations) Add(field, message string) { *v = append(*v, Violation{field, message}) }

// Err is nil when nothing was broken.
func (v Violations) Err() error {
	if len(v) == 0 {
		return nil
	}
	return v
}
