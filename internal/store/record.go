package store

import (
	"math"
	"time"
)

// Span is the range of Seq that a time range selects, both ends included; a zero time is no end. Nor is one that is not
// past: what was accepted was accepted before now, also where a clock that was ahead has numbered it later.
func Span(since, until, now time.Time) (low, high Seq) {
	low, high = 1, math.MaxInt64
	if !since.IsZero() {
		low = max(low, seqFrom(since))
	}
	if !until.IsZero() && until.Before(now) {
		high = seqFrom(until) - 1
	}
	return low, high
}

// seqFrom is the smallest Seq at or after t, also for times that no Seq can have.
func seqFrom(t time.Time) Seq {
	ms := ceil(t).UnixMilli()
	return SeqAt(time.UnixMilli(min(max(ms, 0), math.MaxInt64>>SeqShift)))
}

// ceil is the first whole millisecond at or after t: acceptance has no finer time.
func ceil(t time.Time) time.Time {
	if c := t.Truncate(time.Millisecond); !c.Equal(t) {
		return c.Add(time.Millisecond)
	}
	return t
}

// Sum adds up what the outcomes, oldest first, and the waiting row say; due is the row's, zero when there is none.
func (r *DeliveryRecord) Sum(list []Outcome, due, now time.Time) {
	r.Status = StatusWaiting
	for _, o := range list {
		if o.Sent || o.Kind != Cancelled {
			r.Attempts++
			r.LastAt, r.LastCode, r.LastClass = o.At, o.Status, o.Class
		}
	}
	if !due.IsZero() {
		if due.After(now) {
			r.NextAt = due
		}
	} else if len(list) > 0 && list[len(list)-1].Kind != Retry {
		r.Status = Status(list[len(list)-1].Kind)
	}
}
