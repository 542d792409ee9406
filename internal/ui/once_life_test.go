package ui

import (
	"testing"
	"testing/synctest"
	"time"
)

// An answer is given once, to its session, within its time, and there is a bound to how many are kept.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o once
		id := o.put("mine", "a secret")
		if got := o.take("another's", id); got != nil {
			t.Errorf("take by another session = %v, want nothing", got)
		}
		if got := o.take("mine", id); got != "a secret" {
			t.Errorf("take = %v, want the secret", got)
		}
		if got := o.take("mine", id); got != nil {
			t.Errorf("take again = %v, want nothing", got)
		}
		id = o.put("mine", "a secret")
		time.Sleep(onceLife + time.Second)
		synctest.Wait()
		if got := o.take("mine", id); got != nil || len(o.kept) != 0 {
			t.Errorf("take after its time = %v, want nothing, and nothing is kept: %d", got, len(o.kept))
		}
		first := o.put("mine", 0)
		for i := range maxOnce {
			id = o.put("mine", i)
		}
		if len(o.kept) != maxOnce || len(o.ids) > maxOnce || o.take("mine", first) != nil || o.take("mine", id) == nil {
			t.Errorf("of %d answers %d are kept, want the latest %d", maxOnce+1, len(o.kept), maxOnce)
		}
	})
}
