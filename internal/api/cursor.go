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
// not taken for another's), up to two numbers, and what times that were so long ago came to at the first page. It is
// base64url text that callers hand back and never look into.
const (
	cursorVersion = 2
	cursorSize    = 1 + 4 + 4*8
)

type cursor struct {
	first, second int64
	since, until  int64 // Unix milliseconds; 0: not said as so long ago
}

// errCursor is the answer to a cursor that is none, or of another list.
func errCursor() error {
	p := newProblem(http.StatusBadRequest,
		"The cursor is not one of this list with this filter. Begin again without it.")
	p.Errors = []client.FieldError{{Location: "query.cursor", Message: "is not one of this list with this filter"}}
	return p
}

// listHash identifies a tenant's list with its filter, of client.Values, and what else the caller's view depends on.
func listHash(list, tenant string, filter any, more ...string) uint32 {
	v := client.Values(filter)
	v.Del("cursor")
	v.Del("limit")
	h := fnv.New32a()
	for _, p := range append(more, list, tenant, v.Encode()) {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return h.Sum32()
}

func encodeCursor(filter uint32, c cursor) string {
	var b [cursorSize]byte
	b[0] = cursorVersion
	binary.BigEndian.PutUint32(b[1:], filter)
	for i, n := range []int64{c.first, c.second, c.since, c.until} {
		binary.BigEndian.PutUint64(b[5+8*i:], uint64(n))
	}
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
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[5+8*i:])) }
	c := cursor{at(0), at(1), at(2), at(3)}
	if c.first <= 0 || c.second < 0 || c.since < 0 || c.until < 0 {
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
