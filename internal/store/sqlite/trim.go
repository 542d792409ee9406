package sqlite

import (
	"database/sql/driver"
	"encoding/json"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	// An event is kept while one of its deliveries waits: in a row, or (no row and no outcome) in memory.
	trimLook = `SELECT seq, webhooks, EXISTS (
			SELECT 1 FROM json_each(e.webhooks) AS w
			WHERE EXISTS (SELECT 1 FROM waiting WHERE webhook = w.value AND event = e.seq)
				OR NOT EXISTS (SELECT 1 FROM outcomes WHERE webhook = w.value AND event = e.seq))
		FROM events AS e WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?`
	trimOutcomes = `DELETE FROM outcomes WHERE webhook = ? AND event = ?`
	trimEvent    = `DELETE FROM events WHERE seq = ?`
)

// trim removes old events with their outcomes. It looks at no more than Limit events, so that a step is bounded also
// where all of them are passed over.
func (w *writer) trim(t *store.Trim) error {
	t.Next, t.Done, t.Removed = t.After, false, 0
	type old struct {
		seq      int64
		webhooks []int64
	}
	var list []old
	looked := 0
	w.trimLook.set(0, int64(t.After)).set(1, int64(t.Before)).set(2, int64(t.Limit))
	err := w.trimLook.query(func(v []driver.Value) error {
		looked++
		x := old{seq: v[0].(int64)}
		t.Next = store.Seq(x.seq)
		if v[2].(int64) != 0 {
			return nil
		}
		if err := json.Unmarshal([]byte(v[1].(string)), &x.webhooks); err != nil {
			return err
		}
		list = append(list, x)
		return nil
	})
	if err != nil {
		return err
	}
	for _, x := range list {
		for _, num := range x.webhooks {
			if _, err := w.trimOutcomes.set(0, num).set(1, x.seq).exec(); err != nil {
				return err
			}
		}
		if _, err := w.trimEvent.set(0, x.seq).exec(); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		if _, err := w.trimParts.exec(); err != nil {
			return err
		}
	}
	t.Removed, t.Done = len(list), looked < t.Limit
	return nil
}
