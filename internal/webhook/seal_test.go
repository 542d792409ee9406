package webhook

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func mustOpenSealed(t *testing.T, k *Keyring, b []byte, want string) {
	t.Helper()
	if s, err := k.Open(b, "t", "w", "c"); err != nil || s.Reveal() != want {
		t.Errorf("Open = %v, want the secret", err)
	}
}

func mustSeal(t *testing.T, k *Keyring, s string) []byte {
	t.Helper()
	b, err := k.Seal(NewSecret(s), "t", "w", "c")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustLoad(t *testing.T, path string) *Keyring {
	t.Helper()
	k, err := LoadOrCreateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyringRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	k := mustLoad(t, path)
	before := mustSeal(t, k, "one")
	other := mustLoad(t, path) // another process: its key is not lost either
	if err := other.Rotate(); err != nil {
		t.Fatal(err)
	}
	between := mustSeal(t, other, "two")
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := mustSeal(t, k, "three")
	if bytes.Equal(before[:5], after[:5]) { // Tink's prefix: a version byte and the key's ID
		t.Error("the key did not change")
	}
	for _, ring := range []*Keyring{k, mustLoad(t, path)} {
		mustOpenSealed(t, ring, before, "one")
		mustOpenSealed(t, ring, between, "two")
		mustOpenSealed(t, ring, after, "three")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file after a rotation: %v, %v, want mode 0600", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".master-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKeyringRotationThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	k := mustLoad(t, path)
	sealed := mustSeal(t, k, "one")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); err == nil {
		t.Error("Rotate took a key file that others can read")
	}
	if again := mustSeal(t, k, "one"); !bytes.Equal(sealed[:5], again[:5]) {
		t.Error("the key changed although the rotation failed")
	}
	mustOpenSealed(t, k, sealed, "one")
}

func TestConfiguredKeyringIsNotRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	mustLoad(t, path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKeyring(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); !errors.Is(err, ErrFixedKeyring) {
		t.Errorf("Rotate = %v, want ErrFixedKeyring", err)
	}
}

func TestKeyringRotatesWhileInUse(t *testing.T) {
	k, err := NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, k, "one")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if s, err := k.Open(sealed, "t", "w", "c"); err != nil || s.Reveal() != "one" {
					t.Errorf("Open = %v, want the secret", err)
					return
				}
			}
		})
	}
	for range 5 {
		if err := k.Rotate(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestKeyFileMadeByTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	rings := make([]*Keyring, 4)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], err = LoadOrCreateKeyring(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, k := range rings {
		mustOpenSealed(t, rings[0], mustSeal(t, k, "x"), "x")
	}
}

func TestSealedPlacesAreUnambiguous(t *testing.T) {
	k, err := NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Seal(NewSecret("s"), "ab", "c", "d")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][3]string{{"a", "bc", "d"}, {"abc", "", "d"}, {"ab", "cd", ""}, {"", "abc", "d"},
		{"c", "ab", "d"}, {"ab", "c", "D"}} {
		if _, err := k.Open(b, p[0], p[1], p[2]); err == nil {
			t.Errorf("what was sealed for ab, c, d opens at %q", p)
		}
	}
	if s, err := k.Open(nil, "ab", "c", "d"); err != nil || !s.IsZero() {
		t.Errorf("Open of nothing = %v, want no secret", err)
	}
}
