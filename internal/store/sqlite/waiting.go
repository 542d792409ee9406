package sqlite

import (
	"cmp"
	"slices"
	"strings"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	upsertWaiting     = `INSERT INTO waiting (webhook, event, attempts, due_at) VALUES `
	upsertWaitingRow  = `(?, ?, ?, ?)`
	upsertWaitingTail = ` ON CONFLICT (webhook, event) DO UPDATE SET attempts = excluded.attempts, due_at = excluded.due_at`

	settleChunk = 16
)

func deleteWaiting(n int) string {
	return `DELETE FROM waiting WHERE webhook = ? AND event IN (?` + strings.Repeat(", ?", n-1) + `)`
}

// rowKey names a waiting row.
type rowKey store.DeliveryKey

// waitOp is what a batch leaves of one waiting row.
type waitOp struct {
	rowKey
	attempts, dueAt int64
	delete          bool
}

// wait notes that the row is to be written.
func (w *writer) wait(key rowKey, attempts int, dueAt int64) {
	w.op(waitOp{rowKey: key, attempts: int64(attempts), dueAt: dueAt})
}

// unwait notes that the row, if there is one, is to be deleted. A row that was not stored before can only be in the
// same batch.
func (w *writer) unwait(key rowKey, stored bool) {
	if !stored {
		if len(w.ops) == 0 {
			return // the happy path
		}
		if _, ok := w.rows[key]; !ok {
			return
		}
	}
	w.op(waitOp{rowKey: key, delete: true})
}

// op notes what happens to a row; the last one counts.
func (w *writer) op(op waitOp) {
	if i, ok := w.rows[op.rowKey]; ok {
		w.ops[i] = op
		return
	}
	w.rows[op.rowKey] = len(w.ops)
	w.ops = append(w.ops, op)
}

// settle writes what was noted, webhook by webhook.
func (w *writer) settle() error {
	slices.SortFunc(w.ops, func(a, b waitOp) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	var gone [settleChunk]store.Seq
	n := 0
	for i, op := range w.ops {
		if !op.delete {
			r := w.waiting.row()
			r[0].Value, r[1].Value, r[2].Value, r[3].Value = op.Webhook, int64(op.Event), op.attempts, op.dueAt
			if err := w.waiting.full(); err != nil {
				return err
			}
		} else {
			gone[n] = op.Event
			n++
		}
		if n == settleChunk || n > 0 && (i+1 == len(w.ops) || w.ops[i+1].Webhook != op.Webhook) {
			if err := w.remove(op.Webhook, gone[:n]); err != nil {
				return err
			}
			n = 0
		}
	}
	return w.waiting.flush()
}

// remove deletes rows of one webhook.
func (w *writer) remove(webhook int64, events []store.Seq) error {
	if len(events) == settleChunk {
		w.settleMany.set(0, webhook)
		for i, seq := range events {
			w.settleMany.set(1+i, int64(seq))
		}
		_, err := w.settleMany.exec()
		return err
	}
	for _, seq := range events {
		if _, err := w.settleOne.set(0, webhook).set(1, int64(seq)).exec(); err != nil {
			return err
		}
	}
	return nil
}
