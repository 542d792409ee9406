package store

import "time"

// RowOp is what a batch leaves of one delivery's waiting row.
type RowOp struct {
	Tenant string
	DeliveryKey
	Attempts int
	DueAt    time.Time
	Held     bool // see Waiting
	Delete   bool // instead of writing it
}

// RowOps collects what a batch does to waiting rows: the last thing counts. The zero value is ready.
type RowOps struct {
	List []RowOp

	index map[DeliveryKey]int
}

// Collect replaces what was collected by what b does: submissions, which are judged, come before Wait, and Wait before
// Outcomes.
func (r *RowOps) Collect(b *Batch) {
	r.List = r.List[:0]
	if r.index == nil {
		r.index = map[DeliveryKey]int{}
	}
	clear(r.index)
	for _, s := range b.Submissions {
		if s.Err != nil {
			continue
		}
		for i := range s.Events {
			e := &s.Events[i]
			if e.Duplicate {
				continue
			}
			for _, num := range e.Spilled {
				r.add(RowOp{Tenant: s.Tenant, DeliveryKey: DeliveryKey{num, e.Seq}, DueAt: b.firstDue(e.Seq)})
			}
		}
	}
	for _, w := range b.Wait {
		r.add(RowOp{Tenant: w.Tenant, DeliveryKey: w.DeliveryKey, Attempts: w.Attempts, DueAt: w.DueAt, Held: w.Held})
	}
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		if o.Kind == Retry {
			r.add(RowOp{Tenant: o.Tenant, DeliveryKey: o.DeliveryKey, Attempts: o.Attempt, DueAt: o.NextAt})
			continue
		}
		if !o.Stored { // then a row can only be in the same batch
			if len(r.List) == 0 {
				continue // the happy path
			}
			if _, ok := r.index[o.DeliveryKey]; !ok {
				continue
			}
		}
		r.add(RowOp{Tenant: o.Tenant, DeliveryKey: o.DeliveryKey, Delete: true})
	}
}

func (r *RowOps) add(op RowOp) {
	if i, ok := r.index[op.DeliveryKey]; ok {
		r.List[i] = op
		return
	}
	r.index[op.DeliveryKey] = len(r.List)
	r.List = append(r.List, op)
}

// firstDue is when a delivery that was never tried is due; see Now.
func (b *Batch) firstDue(seq Seq) time.Time {
	if at := seq.Time(); b.Now.IsZero() || !at.After(b.Now) {
		return at
	}
	return b.Now.UTC().Truncate(time.Millisecond)
}
