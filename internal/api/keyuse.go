package api

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// useEvery is how far apart the writes of a key's last use are.
const useEvery = time.Minute

// uses knows when each key was last used, and has it written now and then: a request costs a look at a map, and waits
// for no write.
type uses struct {
	store      store.Directory
	log        *slog.Logger
	background func(func()) bool // nil: nothing is written
	byID       sync.Map          // of *use, by the key's ID

	mu      sync.Mutex
	unsaved []store.KeyUse
	writing bool
}

type use struct {
	seen    atomic.Int64 // Unix seconds of the last use that was looked at
	written atomic.Int64 // and of the last that was handed over to be written
}

// note takes in that the key is used now, from an address as in http.Request.RemoteAddr.
func (u *uses) note(id, remote string, now time.Time) {
	v, ok := u.byID.Load(id)
	if !ok {
		v, _ = u.byID.LoadOrStore(id, new(use))
	}
	x, at := v.(*use), now.Unix()
	if x.seen.Load() == at || x.seen.Swap(at) == at {
		return
	}
	was := x.written.Load()
	if u.background == nil || at >= was && at-was < int64(useEvery/time.Second) || !x.written.CompareAndSwap(was, at) {
		return
	}
	from := ""
	if a, err := netip.ParseAddrPort(remote); err == nil {
		from = a.Addr().Unmap().String()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unsaved = append(u.unsaved, store.KeyUse{ID: id, At: now, From: from})
	if !u.writing {
		u.writing = true
		u.background(u.write)
	}
}

// write writes what is there, and what comes meanwhile.
func (u *uses) write() {
	for {
		u.mu.Lock()
		list := u.unsaved
		u.unsaved, u.writing = nil, len(list) > 0
		u.mu.Unlock()
		if len(list) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		if err := u.store.UseAPIKeys(ctx, list); err != nil {
			u.log.Warn("when API keys were used could not be written", "keys", len(list), "error", err)
		}
		cancel()
	}
}
