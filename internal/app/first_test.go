package app

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
)

// TestFirstStartNeverLocksOut: credentials that nobody used are made anew by each start, also after one that could not
// listen; once they are used they stay, and none are shown.
func TestFirstStartNeverLocksOut(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := Config{Listen: taken.Addr().String(), Data: t.TempDir(), Retention: time.Hour, UndeleteTime: time.Hour,
		Concurrency: 1, StopTimeout: 5 * time.Second}
	open := func() *App {
		t.Helper()
		a, err := New(t.Context(), cfg, discard)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	if err := a.Start(t.Context()); err == nil {
		t.Fatal("a start on a port that is taken did not fail")
	}
	_ = a.Stop(context.Background())
	lost := a.FirstAdminKey()

	cfg.Listen = "127.0.0.1:0"
	serve := func(use func(*App)) {
		t.Helper()
		a := open()
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		use(a)
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	good := func(a *App, key string) bool {
		_, err := client.New(a.URL(), key).Caller(t.Context())
		return err == nil
	}
	var key string
	for range 2 { // and nobody looks at what the first shows
		serve(func(a *App) {
			if a.FirstAdminKey() == "" || a.FirstLink() == "" || a.FirstAdminKey() == key {
				t.Errorf("key %q, link %q, want new ones: nobody used those before", a.FirstAdminKey(), a.FirstLink())
			}
			key = a.FirstAdminKey()
		})
	}
	serve(func(a *App) {
		if good(a, lost) || good(a, key) {
			t.Error("a key that was made anew is good still")
		}
		if key = a.FirstAdminKey(); !good(a, key) {
			t.Error("the key that is shown is not good")
		}
	})
	serve(func(a *App) {
		if a.FirstAdminKey() != "" || a.FirstLink() != "" || !good(a, key) {
			t.Errorf("after its use: key %q, link %q, the one before good: %t; want none, and it good",
				a.FirstAdminKey(), a.FirstLink(), good(a, key))
		}
	})
}

// TestFirstLinkIsAUse: who has signed in by the first link is not shut out by the next start.
func TestFirstLinkIsAUse(t *testing.T) {
	t.Parallel()
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Retention: time.Hour, UndeleteTime: time.Hour,
		Concurrency: 1, StopTimeout: 5 * time.Second}
	var signedIn string
	for range 2 {
		a, err := New(t.Context(), cfg, discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if signedIn == "" {
			_, token, _ := strings.Cut(a.FirstLink(), "token=")
			s, err := client.New(a.URL(), token).SignIn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			signedIn = s.Key
		} else if a.FirstLink() != "" {
			t.Error("another first link is shown")
		}
		if _, err := client.New(a.URL(), signedIn).Tenants(t.Context()); err != nil {
			t.Errorf("the sign-in = %v, want it good", err)
		}
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestWeakAdminKeys: a key that can be guessed opens nothing to other machines.
func TestWeakAdminKeys(t *testing.T) {
	t.Parallel()
	for key, weak := range map[string]bool{
		exampleKey: true, strings.ToUpper(exampleKey): true, strings.Repeat("k",
			40): true, strings.Repeat("12345678", 5): true,
		"please-changeme-please-changeme-1": true, "this-is-my-example-key-for-the-server": true,
		"5f1e0d9c8b7a69584736251403f2e1d0c9b8a796": false, "qhk_kT9vQx2LrW8mZp4NfYc7HbJd3GsAe6Uo": false,
	} {
		for listen, local := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false} {
			c := Config{Listen: listen, AdminKey: key, Concurrency: 1, Retention: time.Hour, UndeleteTime: time.Hour}
			if err := c.check(); (err != nil) != (weak && !local) {
				t.Errorf("the admin key %q on %s = %v, want it refused: %t", key, listen, err, weak && !local)
			} else if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("the error tells the key: %v", err)
			}
		}
	}
}
