package api

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

// lookups counts the look-ups of keys in the database.
type lookups struct {
	store.Store
	n atomic.Int64
}

func (l *lookups) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	l.n.Add(1)
	return l.Store.APIKeyByHash(ctx, hash)
}

// TestGuessing: who tries keys is slowed down, by address and in all, and costs the database little; who has a key is
// not held up, at the same address neither.
func TestGuessing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	db := &lookups{Store: r.store}
	h, err := New(Config{Engine: r.engine, Store: db, Guard: fakeGuard{}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	call := func(key, remote string) (int, string) {
		req := httptest.NewRequest("GET", "/v1/webhooks", nil)
		req.Header.Set("Authorization", "Bearer "+key)
		req.RemoteAddr = remote
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Code, w.Header().Get("Retry-After")
	}
	guess := func(i int) string { return fmt.Sprint("qhk_guess", i) }
	const mine, evil, elsewhere = "198.51.100.1:1", "203.0.113.5:1", "203.0.113.6:1"
	if code, _ := call(r.keys[viewer], evil); code != 200 {
		t.Fatalf("a good key = %d, want 200", code)
	}
	for i := range guessBurst {
		if code, _ := call(guess(i), evil); code != 401 {
			t.Fatalf("guess %d = %d, want 401", i+1, code)
		}
	}
	read := db.n.Load()
	for i := range 100 {
		if code, wait := call(guess(1000+i), evil); code != 429 || wait != "1" {
			t.Fatalf("guess %d = %d, Retry-After %q, want 429 and 1", guessBurst+1+i, code, wait)
		}
	}
	if db.n.Load() != read {
		t.Errorf("guesses over the limit read the database %d times, want none", db.n.Load()-read)
	}
	other := &rig{t: t, h: h, keys: r.keys}
	other.must(204, admin, "DELETE", "/v1/api-keys/"+other.must(201, admin, "POST", "/v1/api-keys", `{"role":"viewer"}`).str("id"), "")
	if code, _ := call(r.keys[viewer], evil); code != 200 {
		t.Errorf("a good key at the address of one who guesses, once another has been ended = %d, want 200", code)
	}
	now = now.Add(2 * keyLife)
	if code, _ := call(r.keys[viewer], evil); code != 200 {
		t.Errorf("a good key at the address of one who guesses = %d, want 200", code)
	}
	if code, _ := call(r.keys[admin], elsewhere); code != 200 {
		t.Errorf("a good key elsewhere = %d, want 200", code)
	}
	for i := range 2 {
		if code, _ := call(guess(i), mine); code != 401 {
			t.Errorf("a wrong key elsewhere = %d, want 401", code)
		}
	}

	read = db.n.Load()
	for range 10 {
		if code, _ := call(guess(7777), mine); code != 401 {
			t.Errorf("the same wrong key again = %d, want 401", code)
		}
	}
	if n := db.n.Load() - read; n != 1 {
		t.Errorf("the same wrong key reads the database %d times, want once", n)
	}

	limited := 0 // from very many addresses
	for i := range 2 * guessesAll {
		if code, _ := call(guess(10_000+i), fmt.Sprintf("10.%d.%d.1:1", i>>8, i&255)); code == 429 {
			limited++
		}
	}
	if limited < guessesAll/2 {
		t.Errorf("%d of %d guesses from as many addresses are limited, want most of what is over %d", limited,
			2*guessesAll, guessesAll)
	}
	if code, _ := call(r.keys[viewer], mine); code != 200 {
		t.Errorf("a good key meanwhile = %d, want 200", code)
	}
}

// TestGuessingIsBounded: addresses and keys that are remembered have a limit, and the addresses of one IPv6 customer
// are one.
func TestGuessingIsBounded(t *testing.T) {
	t.Parallel()
	g, now := newGuesses(), time.Now()
	for i := range guessAddresses + 10 {
		remote := fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>8, i&255)
		hash := [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}
		now = now.Add(guessesEvery)
		if _, err := g.try(hash, remote, now); err != nil {
			t.Fatal(err)
		}
		g.failed(hash, remote, now)
	}
	if len(g.byAddr) > guessAddresses || len(g.unknown) > unknownKeys {
		t.Errorf("%d addresses and %d keys are remembered, want at most %d and %d", len(g.byAddr), len(g.unknown),
			guessAddresses, unknownKeys)
	}
	if from("[2001:db8::1]:1") != from("[2001:db8::ffff:1]:2") ||
		from("[2001:db8::1]:1") == from("[2001:db8:0:1::1]:1") ||
		from("192.0.2.1:1") != from("[::ffff:192.0.2.1]:9") || from("192.0.2.1:1") == from("192.0.2.2:1") {
		t.Error("what counts as one address is wrong")
	}
}
