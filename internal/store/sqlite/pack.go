package sqlite

import (
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// packFrom is the size of an event's data, bytes, from which on it is packed: a commit of large events is as long as
// what it writes, and everybody's next commit waits for it.
const packFrom = 1 << 10

// dataOf is a column that has the data, packed or not; unpack tells which.
const dataOf = `coalesce(e.packed, e.data)`

// packer packs the data of one batch's events.
type packer struct {
	scratch []byte
	packed  []byte // of the batch, one after the other
}

// pack is the packed form of the data, valid until reset; nil: it is kept as it is.
func (p *packer) pack(data []byte) []byte {
	if len(data) < packFrom {
		return nil
	}
	p.scratch = s2.Encode(p.scratch[:cap(p.scratch)], data)
	if len(p.scratch) > len(data)*7/8 {
		return nil
	}
	from := len(p.packed)
	p.packed = append(p.packed, p.scratch...)
	return p.packed[from:]
}

// packKept is the most that is kept for the next batch, bytes.
const packKept = 1 << 20

func (p *packer) reset() {
	if p.packed = p.packed[:0]; cap(p.packed) > packKept {
		p.packed = nil
	}
}

// unpack is the data that a column holds: a JSON object, or its packed form, whose first byte is not ASCII since it is
// the first of a length of at least packFrom.
func unpack(column []byte) ([]byte, error) {
	if len(column) == 0 || column[0] < 0x80 {
		return column, nil
	}
	n, err := s2.DecodedLen(column)
	if err == nil && n > event.MaxSize {
		err = fmt.Errorf("it claims %d bytes", n)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack the data of an event: %w", err)
	}
	data, err := s2.Decode(nil, column)
	if err != nil {
		return nil, fmt.Errorf("unpack the data of an event: %w", err)
	}
	return data, nil
}

// unpackValue is the same for a value as the driver gives it.
func unpackValue(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return unpack(b)
	}
	return []byte(v.(string)), nil
}

// unpackIn has a copied row hold the data as text.
func unpackIn(row store.Row, at int) error {
	data, err := unpackValue(row[at])
	row[at] = string(data)
	return err
}
