// Package budget divides bytes between tenants: none can take so much that others find nothing. It counts; it holds
// nothing itself and never waits. Start at Budget.
package budget

import "sync"

// Least is what a tenant that holds nothing is always given when there is room at all, bytes.
const Least = 64 << 10

// Budget is a number of bytes that tenants take from and give back to. Make it with New. Its methods may be called by
// any number of goroutines.
type Budget struct {
	total int64

	mu   sync.Mutex
	used int64
	by   map[string]int64 // of tenants that hold any
}

// New makes a budget of so many bytes.
func New(total int64) *Budget { return &Budget{total: total, by: map[string]int64{}} }

// Take takes n bytes for a tenant; false: it cannot have them now, and nothing was taken. A tenant never holds more
// than what is then left for all others, so one alone gets at most half.
func (b *Budget) Take(tenant string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	has, used := b.by[tenant], b.used+n
	if used > b.total || has+n > b.total-used && has+n > Least {
		return false
	}
	if n > 0 {
		b.by[tenant], b.used = has+n, used
	}
	return true
}

// Give gives back n bytes that a tenant took.
func (b *Budget) Give(tenant string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if left := b.by[tenant] - n; left > 0 {
		b.by[tenant] = left
	} else {
		delete(b.by, tenant)
	}
}

// Used is how many bytes are taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
