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

// settle writes what the batch leaves of waiting rows, webhook by webhook.
func (w *writer) settle(b *store.Batch) error {
	w.rows.Collect(b)
	ops := w.rows.List
	slices.SortFunc(ops, func(a, b store.RowOp) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	var gone [settleChunk]store.Seq
	n := 0
	for i, op := range ops {
		if !op.Delete {
			r := w.waiting.row()
			r[0].Value, r[1].Value, r[2].Value, r[3].Value = op.Webhook, int64(op.Event), int64(op.Attempts), op.DueAt.UnixMilli()
			if err := w.waiting.full(); err != nil {
				return err
			}
		} else {
			gone[n] = op.Event
			n++
		}
		if n == settleChunk || n > 0 && (i+1 == len(ops) || ops[i+1].Webhook != op.Webhook) {
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
