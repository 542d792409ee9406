package api

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/store"
)

// A cursor says where a page ended: a version byte, a hash of the list and its filter (so that a cursor of one list is
// not taken for another's), and up to two numbers. It is base64url text that callers hand back and never look into.
const (
	cursorVersion = 1
	cursorSize    = 1 + 4 + 8 + 8
)

type cursor struct {
	first, second int64
}

// errCursor is the answer to a cursor that is none, or of another list.
func errCursor() error {
	p := newProblem(http.StatusBadRequest, "The cursor is not one of this list with this filter. Begin again without it.")
	p.Errors = []client.FieldError{{Location: "query.cursor", Message: "is not one of this list with this filter"}}
	return p
}

// filterHash identifies a list with its filter; the parts are kept apart, so that moving text between them shows.
func filterHash(parts ...string) uint32 {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return h.Sum32()
}

func encodeCursor(filter uint32, c cursor) string {
	var b [cursorSize]byte
	b[0] = cursorVersion
	binary.BigEndian.PutUint32(b[1:], filter)
	binary.BigEndian.PutUint64(b[5:], uint64(c.first))
	binary.BigEndian.PutUint64(b[13:], uint64(c.second))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// decodeCursor reads what encodeCursor wrote for the same filter; "" is the beginning.
func decodeCursor(filter uint32, s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	if len(s) != base64.RawURLEncoding.EncodedLen(cursorSize) {
		return cursor{}, errCursor()
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorSize || b[0] != cursorVersion || binary.BigEndian.Uint32(b[1:]) != filter {
		return cursor{}, errCursor()
	}
	c := cursor{int64(binary.BigEndian.Uint64(b[5:])), int64(binary.BigEndian.Uint64(b[13:]))}
	if c.first <= 0 || c.second < 0 {
		return cursor{}, errCursor()
	}
	return c, nil
}

// EncodeDeliveryID is the public name of a delivery: d_, 16 hex digits of the event's number, _, the webhook's in hex.
func EncodeDeliveryID(key store.DeliveryKey) string {
	return fmt.Sprintf("d_%016x_%x", uint64(key.Event), uint64(key.Webhook))
}

// DecodeDeliveryID reads what EncodeDeliveryID wrote; false for anything else.
func DecodeDeliveryID(id string) (store.DeliveryKey, bool) {
	rest, ok := strings.CutPrefix(id, "d_")
	ev, hook, found := strings.Cut(rest, "_")
	if !ok || !found || len(ev) != 16 || len(hook) > 16 {
		return store.DeliveryKey{}, false
	}
	e, err1 := strconv.ParseInt(ev, 16, 64)
	w, err2 := strconv.ParseInt(hook, 16, 64)
	key := store.DeliveryKey{Webhook: w, Event: store.Seq(e)}
	if err1 != nil || err2 != nil || e <= 0 || w <= 0 || EncodeDeliveryID(key) != id {
		return store.DeliveryKey{}, false
	}
	return key, true
}
