package budget

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestTake(t *testing.T) {
	const total = 64 * Least
	b := New(total)
	took := int64(0)
	for b.Take("greedy", Least) {
		took += Least
	}
	if took != total/2 {
		t.Errorf("one tenant alone took %d bytes, want %d", took, total/2)
	}
	if !b.Take("other", total/4) || b.Take("other", Least) {
		t.Error("another tenant does not get exactly half of what was left")
	}
	if b.Take("greedy", 1) {
		t.Error("the first tenant gets more while it has more than is left")
	}
	b.Give("other", total/4)
	b.Give("greedy", took)
	if b.Used() != 0 || len(b.by) != 0 {
		t.Errorf("%d bytes of %d tenants are taken after all was given back, want 0 of 0", b.Used(), len(b.by))
	}
}

// A tenant that holds nothing gets its least until the last byte.
func TestLeast(t *testing.T) {
	const n = 32
	b := New(n * Least)
	for i := range n {
		if !b.Take(strconv.Itoa(i), Least) {
			t.Fatalf("tenant %d of %d did not get its least", i+1, n)
		}
	}
	if b.Take("one more", 1) {
		t.Error("a full budget gave a byte")
	}
	if !b.Take("one more", 0) {
		t.Error("a full budget did not give nothing")
	}
}

// Whatever is taken and given, the budget is never overdrawn, and no tenant holds more than its least and more than
// what was left to others when it took last.
func TestNeverOverdrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(1, 100*Least).Draw(t, "total")
		b, by := New(total), map[string]int64{}
		used := func() (n int64) {
			for _, x := range by {
				n += x
			}
			return n
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			tenant := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant")
			if by[tenant] > 0 && rapid.Bool().Draw(t, "give") {
				n := rapid.Int64Range(1, by[tenant]).Draw(t, "n")
				b.Give(tenant, n)
				by[tenant] -= n
			} else if n := rapid.Int64Range(1, 10*Least).Draw(t, "n"); b.Take(tenant, n) {
				by[tenant] += n
				if free := total - used(); by[tenant] > free && by[tenant] > Least {
					t.Fatalf("%s holds %d bytes while %d are free", tenant, by[tenant], free)
				}
			}
			if b.Used() != used() || b.Used() > total {
				t.Fatalf("%d bytes are used, want %d of at most %d", b.Used(), used(), total)
			}
		}
	})
}
