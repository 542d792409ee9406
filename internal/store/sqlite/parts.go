package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"slices"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	insertPart = `INSERT INTO event_parts (last_seq, filter) VALUES (?, ?)`

	// An event below the last part, which the engine never makes: its part may have anything from now on.
	widenPart = `UPDATE event_parts SET filter = NULL
		WHERE last_seq = (SELECT min(last_seq) FROM event_parts WHERE last_seq >= ?)`

	trimParts = `DELETE FROM event_parts WHERE last_seq < (SELECT min(seq) FROM events)`

	selectPartLast = `SELECT coalesce(max(last_seq), 0) FROM event_parts`

	selectPartTail = `SELECT seq, tenant, type, object_id, object_owner_id, owner_id FROM events
		WHERE seq > (SELECT coalesce(max(last_seq), 0) FROM event_parts) ORDER BY seq`

	selectPartAt = `SELECT coalesce(min(last_seq), 0) FROM event_parts WHERE last_seq >= ?`

	selectParts = `SELECT last_seq, filter FROM event_parts WHERE last_seq <= ? ORDER BY last_seq DESC LIMIT ?`

	partSize  = 1024 // events, at least
	partsRead = 64   // parts in one read
)

// part is the newest part of the history while it grows: the hashes of its events' values. It is only in memory; load
// makes it again from the events.
type part struct {
	hashes      []uint64
	events      int
	first, last store.Seq // first is where the part before it ends
	isCut       bool      // by the batch that is being written

	safe, safeEvents int // how much of hashes and events is committed
	safeLast         store.Seq
}

// field says which column a hash is of.
type field byte

const (
	fieldType field = iota
	fieldObject
	fieldObjectOwner
	fieldOwner
)

// hash is FNV-1a, mixed: filters are stored, so it never changes.
func hash(tenant string, f field, value string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range len(tenant) {
		h = (h ^ uint64(tenant[i])) * prime
	}
	h = (h ^ uint64(f)) * prime
	h = (h ^ 0xff) * prime
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// load reads what the part has so far.
func (p *part) load(last, tail *statement) error {
	e := last.query(func(v []driver.Value) error {
		p.first = store.Seq(v[0].(int64))
		return nil
	})
	if e != nil {
		return e
	}
	e = tail.query(func(v []driver.Value) error {
		p.put(store.Seq(v[0].(int64)), v[1].(string), v[2].(string), v[3].(string), v[4].(string), v[5].(string))
		return nil
	})
	p.committed()
	return e
}

func (p *part) put(seq store.Seq, tenant, typ, object, objectOwner, owner string) {
	p.hashes = append(p.hashes, hash(tenant, fieldType, typ), hash(tenant, fieldObject, object),
		hash(tenant, fieldObjectOwner, objectOwner), hash(tenant, fieldOwner, owner))
	p.events++
	p.last = max(p.last, seq)
}

// add takes in an event of the batch.
func (p *part) add(w *writer, tenant string, e *store.Submitted) error {
	x := &e.Event
	p.put(e.Seq, tenant, x.Type, x.ObjectID, x.ObjectOwnerID, x.OwnerID)
	if e.Seq > p.first {
		return nil
	}
	_, err := w.widenPart.set(0, int64(e.Seq)).exec()
	return err
}

// cut writes the part when it is large enough. The next one begins after it once that is committed.
func (p *part) cut(w *writer) error {
	if p.events < partSize || p.last <= p.first {
		return nil
	}
	if _, err := w.insertPart.set(0, int64(p.last)).set(1, newFilter(slices.Clone(p.hashes))).exec(); err != nil {
		return err
	}
	p.isCut = true
	return nil
}

// committed makes what the batch added last.
func (p *part) committed() {
	if p.isCut {
		p.hashes, p.events, p.first, p.isCut = p.hashes[:0], 0, p.last, false
	}
	p.safe, p.safeEvents, p.safeLast = len(p.hashes), p.events, p.last
}

// rollback forgets what a failed batch added.
func (p *part) rollback() {
	p.hashes, p.events, p.last, p.isCut = p.hashes[:p.safe], p.safeEvents, p.safeLast, false
}

// A filter is a Bloom filter: of the bits that a value's hash names, all are set when the value is in it; one value in
// two hundred that is not in it looks as if it were.
const (
	filterBits   = 12 // per value
	filterProbes = 7
)

// newFilter makes the filter of the hashes, and sorts them.
func newFilter(hashes []uint64) []byte {
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	filter := make([]byte, (len(hashes)*filterBits+63)/64*8)
	for _, h := range hashes {
		for i := range filterProbes {
			word, bit := probe(filter, h, i)
			binary.LittleEndian.PutUint64(filter[word:], binary.LittleEndian.Uint64(filter[word:])|bit)
		}
	}
	return filter
}

// probe is where in the filter the i-th bit of a hash is.
func probe(filter []byte, h uint64, i int) (word int, bit uint64) {
	at := (h + uint64(i)*(h>>32|1)) % uint64(len(filter)*8)
	return int(at / 64 * 8), 1 << (at % 64)
}

// mayHave tells whether the filter has one of the hashes.
func mayHave(filter []byte, any []uint64) bool {
	if filter == nil || len(filter)%8 != 0 || len(filter) == 0 {
		return true
	}
	for _, h := range any {
		found := true
		for i := 0; i < filterProbes && found; i++ {
			word, bit := probe(filter, h, i)
			found = binary.LittleEndian.Uint64(filter[word:])&bit != 0
		}
		if found {
			return true
		}
	}
	return false
}

// wanted is what a part must have to be read: of each list, one. No list: the filter selects by nothing that parts
// know.
func wanted(tenant string, f store.EventFilter) (want [][]uint64) {
	for _, x := range []struct {
		field
		value string
	}{{fieldObject, f.ObjectID}, {fieldObjectOwner, f.ObjectOwnerID}, {fieldOwner, f.OwnerID}} {
		if x.value != "" {
			want = append(want, []uint64{hash(tenant, x.field, x.value)})
		}
	}
	if len(f.Types) > 0 {
		var types []uint64
		for _, t := range f.Types {
			types = append(types, hash(tenant, fieldType, t))
		}
		want = append(want, types)
	}
	return want
}

// parts calls read for each part between low and high that may have what is wanted, newest first, until it says no
// more.
func (db *DB) parts(ctx context.Context, want [][]uint64, low, high store.Seq, read func(low, high store.Seq) (
	more bool, err error)) error {
	var top store.Seq
	if err := db.read.partAt.QueryRowContext(ctx, int64(high)).Scan(&top); err != nil {
		return err
	}
	if top == 0 { // high is in the part that still grows
		if err := db.read.partLast.QueryRowContext(ctx).Scan(&top); err != nil {
			return err
		}
		if more, err := read(max(low, top+1), high); err != nil || !more {
			return err
		}
	}
	type span struct {
		last store.Seq
		may  bool
	}
	for top >= low && top > 0 {
		var list []span
		rows, err := db.read.partsDown.QueryContext(ctx, int64(top), partsRead+1)
		err = each(rows, err, func() error {
			var s span
			var filter sql.RawBytes // read in place: there may be ten thousand
			err := rows.Scan(&s.last, &filter)
			s.may = !slices.ContainsFunc(want, func(any []uint64) bool { return !mayHave(filter, any) })
			list = append(list, s)
			return err
		})
		if err != nil {
			return err
		}
		for i, s := range list[:min(len(list), partsRead)] {
			top = 0 // where the part before it ends
			if i+1 < len(list) {
				top = list[i+1].last
			}
			if lo, hi := max(low, top+1), min(high, s.last); s.may && lo <= hi {
				if more, err := read(lo, hi); err != nil || !more {
					return err
				}
			}
		}
		if len(list) == 0 {
			break
		}
	}
	return nil
}
